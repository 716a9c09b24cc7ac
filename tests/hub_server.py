"""A small stand-in for the Hugging Face hub: enough of its HTTP for the real `datasets` client to fetch a data set."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

Files = Mapping[str, bytes]  # path in the repository: content


def listing(files: Files, folder: str) -> list[dict]:
    """Give what lies in a folder, as the hub lists it: files with their size, folders without."""
    below = {path: len(content) for path, content in files.items() if path.startswith(folder)}
    folders = {path.rpartition("/")[0] for path in below} - {folder}
    found = [{"type": "file", "oid": "0" * 40, "size": size, "path": path} for path, size in below.items()]
    return found + [{"type": "directory", "oid": "0" * 40, "size": 0, "path": path} for path in sorted(folders)]


@contextmanager
def serve(repositories: Mapping[str, Files], commit: str) -> Iterator[str]:
    """Serve data sets by name, each with one commit, which `main` is too; give the address."""

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
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
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
