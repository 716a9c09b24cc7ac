"""A small stand-in for the Hugging Face hub: enough HTTP for the real clients to fetch data sets and push models.

What is pushed lands in a `Shelf`: repositories by name, small files in the commit itself, weights through Git LFS.
"""

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

Files = Mapping[str, bytes]  # path in the repository: content


def listing(files: Files, folder: str) -> list[dict]:
    """Return what lies in a folder, as the hub lists it: files with their size, folders without."""
    below = {path: len(content) for path, content in files.items() if path.startswith(folder)}
    folders = {path.rpartition("/")[0] for path in below} - {folder}
    found = [{"type": "file", "oid": "0" * 40, "size": size, "path": path} for path, size in below.items()]
    return found + [{"type": "directory", "oid": "0" * 40, "size": 0, "path": path} for path in sorted(folders)]


@dataclass
class Shelf:
    """Model repositories that were pushed, for one token."""

    token: str
    private: dict[str, bool] = field(default_factory=dict)  # by repository
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)  # by repository, then path
    large: dict[str, bytes] = field(default_factory=dict)  # what came through LFS, by sha256

    def post(self, path: str, body: bytes, address: str) -> tuple[int, object]:
        """Answer a POST as the hub does."""
        asked = [json.loads(line) for line in body.splitlines()]
        if path == "/api/repos/create":
            name = f"{asked[0]['organization']}/{asked[0]['name']}"
            known = name in self.private
            self.private.setdefault(name, asked[0]["visibility"] == "private")
            self.files.setdefault(name, {})
            return 409 if known else 200, {"url": f"{address}/{name}"}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path.endswith("/preupload/main"):
            modes = {True: "lfs", False: "regular"}
            names = [file["path"] for file in asked[0]["files"]]
            files = [
                {"path": name, "uploadMode": modes[name.endswith(".safetensors")], "shouldIgnore": False}
                for name in names
            ]
            return 200, {"files": files}
        if path.endswith(".git/info/lfs/objects/batch"):
            actions = [
                {**wanted, "actions": {"upload": {"href": f"{address}/lfs/{wanted['oid']}"}}}
                for wanted in asked[0]["objects"]
            ]
            return 200, {"transfer": "basic", "objects": actions}
        if path.endswith("/commit/main"):
            name = path.removeprefix("/api/models/").removesuffix("/commit/main")
            for line in asked[1:]:
                value = line["value"]
                inside = line["key"] == "file"
                content = base64.b64decode(value["content"]) if inside else self.large[value["oid"]]
                self.files[name][value["path"]] = content
            return 200, {"commitUrl": f"{address}/{name}/commit/{'c' * 40}", "commitOid": "c" * 40}
        return 404, {}


def hub_environment(address: str, home: str | Path) -> dict[str, str]:
    """Return the environment of a process whose client uses the hub at an address and caches below `home`.

    No setting of the machine that tests run on is left in it, and the client waits longer than its ten seconds: a
    server that shares a core with other tests may be late.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    return kept | {
        "HF_ENDPOINT": address,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "120",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


@contextmanager
def serve(repositories: Mapping[str, Files], commit: str, shelf: Shelf | None = None) -> Iterator[str]:
    """Serve data sets by name, each with one commit, which `main` is too, and take models; yield the address."""

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.body()
            if self.headers["Authorization"] != f"Bearer {shelf.token}":
                self.answer(401, b'{"error": "Invalid credentials"}')
            else:
                status, value = shelf.post(urlsplit(self.path).path, body, address)
                self.answer(status, json.dumps(value).encode())

        def do_PUT(self) -> None:
            content, digest = self.body(), self.path.rpartition("/")[2]
            assert hashlib.sha256(content).hexdigest() == digest
            shelf.large[digest] = content
            self.answer(200, b"")

        def body(self) -> bytes:
            if "Content-Length" in self.headers:
                return self.rfile.read(int(self.headers["Content-Length"]))
            content = b""
            while size := int(self.rfile.readline(), 16):  # chunked
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content

        def do_GET(self) -> None:
            name = self.path.removeprefix("/api/models/")
            if shelf and name in shelf.private:
                return self.answer(200, json.dumps({"id": name, "private": shelf.private[name]}).encode())
            path = unquote(urlsplit(self.path).path).removeprefix("/api").removeprefix("/datasets/")
            owner, name, verb, revision, *rest = path.split("/") + [""] * 4
            files, place = repositories.get(f"{owner}/{name}", {}), "/".join(rest).rstrip("/")
            if not files or revision not in (commit, "main"):
                self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound" if files else "RepoNotFound"})
            elif verb == "resolve" and place in files:
                digest = hashlib.sha1(files[place]).hexdigest()
                self.answer(200, files[place], {"ETag": f'"{digest}"', "X-Repo-Commit": commit})
            elif verb == "revision":
                self.answer(200, json.dumps({"id": f"{owner}/{name}", "sha": commit}).encode())
            elif verb == "tree":
                self.answer(200, json.dumps(listing(files, place)).encode())
            else:
                self.answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})

        do_HEAD = do_GET

        def answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    address = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()
