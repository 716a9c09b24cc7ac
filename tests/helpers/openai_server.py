"""A server on 127.0.0.1 that speaks OpenAI's chat completions, with faults to order.

`answer` gives the text for a request's messages. `faults` are used up one a request, in the order of arrival, before
anything is answered: a status (429), a status with headers or an error code, or a kind of broken reply.
"""

import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request."""

    status: int = 200
    headers: dict[str, str | Callable[[], str]] = field(default_factory=dict)  # a callable is asked when it is sent
    code: str | None = None  # of the error
    kind: str = ""  # reset | hang | garbage | page, or a finish reason
    body: str | None = None  # is sent as it stands, with status 200


class Server:
    """The server while a `with` block runs; counts what it was asked."""

    def __init__(self, answer: Callable[[list[dict]], str], faults: Iterable[Fault] = (), seconds: float = 0) -> None:
        """Answer each request after `seconds`."""
        self.answer, self.faults, self.seconds = answer, deque(faults), seconds
        self.asked: list[dict] = []  # bodies of requests, in order of arrival
        self.times: list[float] = []
        self.keys: set[str] = set()  # Authorization headers
        self.flying = self.most = 0  # requests in flight, and the most that ever were
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads, self._server.teller = True, self
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> "Server":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        teller = self.server.teller
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with teller.lock:
            teller.asked.append(body)
            teller.times.append(time.monotonic())
            teller.keys.add(self.headers["Authorization"])
            teller.flying += 1
            teller.most = max(teller.most, teller.flying)
            fault = teller.faults.popleft() if teller.faults else Fault()
        try:
            time.sleep(teller.seconds)
            self._reply(body, fault, teller.answer)
        except ConnectionError:  # the client is gone, as it was meant to be
            self.close_connection = True
        finally:
            with teller.lock:
                teller.flying -= 1

    def _reply(self, body: dict, fault: Fault, answer: Callable[[list[dict]], str]) -> None:
        if fault.kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif fault.kind == "hang":
            time.sleep(2)
            self.close_connection = True
        elif fault.status != 200:
            error = {"message": f"fault of {self.headers['Authorization']}", "code": fault.code}
            self._send(fault.status, json.dumps({"error": error}), fault.headers)
        elif fault.kind in ("garbage", "page"):
            page = {"Content-Type": "text/html"} if fault.kind == "page" else {}
            self._send(200, "<html>not JSON", page)
        elif fault.body is not None:
            self._send(200, fault.body)
        else:
            self._send(200, json.dumps(completion(answer(body["messages"]), fault.kind or "stop")))

    def _send(self, status: int, text: str, headers: dict[str, str | Callable[[], str]] | None = None) -> None:
        data = text.encode()
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value() if callable(value) else value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def completion(text: str, finish: str | None = "stop", **changes: object) -> dict:
    """Return a chat completion, its top-level fields changed as named."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    head = {"id": "x", "object": "chat.completion", "created": 0, "model": "tiny"}
    return head | {"choices": [choice], "usage": usage} | changes
