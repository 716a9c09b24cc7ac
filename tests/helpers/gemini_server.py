"""A stand-in for Gemini's Batch API on 127.0.0.1: its wire format, and every fault that a test asks for.

Faults of an operation (start_upload, upload, create, list, get, cancel, download, delete) are taken one a call, in
order. A job shows its `states` one a call of get, and the last one from then on. `rows` turns the request lines of a
job into its result file.
"""

import json
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
STATUS |= {429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}
ENDED_WITH_FILE = {"BATCH_STATE_SUCCEEDED", "BATCH_STATE_PARTIALLY_SUCCEEDED"}


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one call."""

    status: int | None = None  # the answer
    headers: dict = field(default_factory=dict)
    details: list = field(default_factory=list)
    body: bytes | None = None  # instead of the answer's body, with status 200 where none is given
    accepted: bool = False  # the call takes effect all the same
    drop: bool = False  # no answer: the connection is closed
    stall: float = 0.0  # seconds before the answer
    cut: int | None = None  # bytes of the body that are sent before the connection is closed
    then: Callable[[], None] | None = None  # called before the answer


def answer(number: int, text: str | None = None, **candidate: object) -> dict:
    """Return the response to a request as the service does, 30 tokens in, 15 out."""
    parts = [{"text": text or f"{number} + 0 = {number}\n#### {number}"}]
    candidates = [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0} | candidate]
    usage = {"promptTokenCount": 30, "candidatesTokenCount": 10, "thoughtsTokenCount": 5, "totalTokenCount": 45}
    return {"candidates": candidates, "usageMetadata": usage, "modelVersion": "stand-in"}


def good_rows(requests: list[dict]) -> list[dict]:
    """Return a good result row for every request, in order."""
    return [{"key": request["key"], "response": answer(number)} for number, request in enumerate(requests)]


def lines(rows: list[dict]) -> bytes:
    """Write rows as the lines of a file."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


class GeminiServer(ThreadingHTTPServer):
    """The stand-in; use it as a context manager, and `url` as the client's base URL."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.states = ["BATCH_STATE_PENDING", "BATCH_STATE_RUNNING", "BATCH_STATE_SUCCEEDED"]
        self.output = True  # whether a job that succeeded names a result file
        self.rows: Callable[[list[dict]], bytes] = lambda requests: lines(good_rows(requests))
        self.others: list[dict] = []  # operations of other users of the account
        self.files: dict[str, bytes] = {}
        self.jobs: dict[str, dict] = {}  # name -> displayName, file, polls; one each that was created
        self.calls: Counter = Counter()
        self.keys: set[str] = set()

    def __enter__(self) -> "GeminiServer":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def asked(self) -> list[str]:
        """Return the keys of all requests of all jobs, in order."""
        return [json.loads(line)["key"] for job in self.jobs.values() for line in job["lines"].splitlines()]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement
    routes = (
        ("POST", r"/upload/v1beta/files", "start_upload"),
        ("POST", r"/upload/(?P<file>\w+)", "upload"),
        ("POST", r"/v1beta/models/(?P<model>[^:]+):batchGenerateContent", "create"),
        ("GET", r"/v1beta/batches/(?P<job>\w+)", "get"),
        ("GET", r"/v1beta/batches", "list"),
        ("POST", r"/v1beta/batches/(?P<job>\w+):cancel", "cancel"),
        ("GET", r"/v1beta/files/(?P<file>\w+):download", "download"),
        ("DELETE", r"/v1beta/files/(?P<file>\w+)", "delete"),
    )

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if key := self.headers.get("x-goog-api-key"):  # the address of an upload is a permission in itself
            self.server.keys.add(key)
        path = self.path.partition("?")[0]
        found = ((name, re.fullmatch(pattern, path)) for method, pattern, name in self.routes if method == self.command)
        name, match = next((name, match) for name, match in found if match)
        self.server.calls[name] += 1
        fault = self.server.faults[name].pop(0) if self.server.faults[name] else None
        if fault is None or fault.accepted or (fault.status is None and fault.body is None):
            status, answer, headers = getattr(self, f"_{name}")(body, **match.groupdict())
        if fault is None:
            return self._answer(status, answer, headers)
        time.sleep(fault.stall)
        if fault.then:
            fault.then()
        if fault.drop:
            self.close_connection = True
            return self.connection.close()
        if fault.status or fault.body is not None:
            status, headers = fault.status or 200, fault.headers
            answer = fault.body if fault.body is not None else _error(fault.status, fault.details)
        self._answer(status, answer, headers, fault.cut)

    do_GET = do_POST = do_DELETE = _handle

    def _answer(self, status: int, body: bytes, headers: dict | None = None, cut: int | None = None) -> None:
        try:
            self.send_response(status)
            for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:cut])
            self.wfile.flush()
        except OSError:  # the client is gone, as it was meant to be
            self.close_connection = True
        if cut is not None:
            self.close_connection = True

    def _start_upload(self, body: bytes) -> tuple:
        return 200, b"{}", {"X-Goog-Upload-URL": f"{self.server.url}/upload/f{self.server.calls['start_upload']}"}

    def _upload(self, body: bytes, file: str) -> tuple:
        self.server.files[f"files/{file}"] = body
        told = {"name": f"files/{file}", "state": "ACTIVE", "mimeType": "jsonl", "sizeBytes": str(len(body))}
        return 200, json.dumps({"file": told}).encode(), {"X-Goog-Upload-Status": "final"}

    def _create(self, body: bytes, model: str) -> tuple:
        batch = json.loads(body)["batch"]
        name = f"batches/b{len(self.server.jobs) + 1}"
        self.server.jobs[name] = {
            "model": model,
            "displayName": batch["displayName"],
            "lines": self.server.files[batch["inputConfig"]["fileName"]],
            "states": list(self.server.states),
        }
        return self._told(name, "BATCH_STATE_PENDING")

    def _get(self, body: bytes, job: str) -> tuple:
        name = f"batches/{job}"
        states = self.server.jobs[name]["states"]
        return self._told(name, states.pop(0) if len(states) > 1 else states[0])

    def _list(self, body: bytes) -> tuple:
        """Return one job a page, the newest first, as the real service splits long lists."""
        own = (json.loads(self._told(name, "BATCH_STATE_RUNNING")[1]) for name in self.server.jobs)
        operations = [*self.server.others, *own][::-1]
        page = int(match[1]) if (match := re.search(r"pageToken=(\d+)", self.path)) else 0
        told = {"operations": operations[page : page + 1]}
        if page + 1 < len(operations):
            told["nextPageToken"] = str(page + 1)
        return 200, json.dumps(told).encode(), {}

    def _cancel(self, body: bytes, job: str) -> tuple:
        self.server.jobs[f"batches/{job}"]["states"] = ["JOB_STATE_CANCELLING", "BATCH_STATE_CANCELLED"]
        return 200, b"{}", {}

    def _download(self, body: bytes, file: str) -> tuple:
        return 200, self.server.files[f"files/{file}"], {"Content-Type": "application/octet-stream"}

    def _delete(self, body: bytes, file: str) -> tuple:
        del self.server.files[f"files/{file}"]
        return 200, b"{}", {}

    def _told(self, name: str, state: str) -> tuple:
        job = self.server.jobs[name]
        metadata = {"model": f"models/{job['model']}", "displayName": job["displayName"], "state": state}
        metadata |= {"createTime": "2026-11-22T08:00:00Z", "updateTime": "2026-11-22T08:00:00Z"}
        if state in ENDED_WITH_FILE and self.server.output:
            file = name.replace("batches/", "files/r")
            requests = [json.loads(line) for line in job["lines"].splitlines()]
            self.server.files.setdefault(file, self.server.rows(requests))
            metadata["output"] = {"responsesFile": file}
        return 200, json.dumps({"name": name, "metadata": metadata}).encode(), {}


def _error(status: int, details: list) -> bytes:
    error = {"code": status, "message": f"injected {status}", "status": STATUS.get(status, "UNKNOWN")}
    return json.dumps({"error": error | ({"details": details} if details else {})}).encode()
