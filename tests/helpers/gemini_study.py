"""What the tests of the teacher `gemini` share: four questions, a ledger, a clock, and the stand-in server."""

import json
from dataclasses import replace

from doubledraft.traces.teacher import gemini, ledger
from doubledraft.traces.teacher.ledger import Ledger
from doubledraft.traces.teacher.messages import request
from tests.helpers.gemini_server import GeminiServer
from tests.helpers.teacher import SETTINGS

KEY = "AIzaSentinelKey"
START = 1_800_000_000.0
POLL_SECONDS = 3600.0


class Clock:
    """Time that passes only in sleep."""

    def __init__(self, now: float = START) -> None:
        self.now, self.sleeps = now, []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        assert len(self.sleeps) < 10_000, "polls without end"
        self.sleeps.append(seconds)
        self.now += seconds


class Study:
    """Four questions, a ledger and the stand-in server."""

    def __init__(self, folder, server: GeminiServer) -> None:
        self.server, self.path = server, folder / "ledger" / "cot_easy.jsonl"
        self.settings = replace(SETTINGS, base_url=server.url, pending_hours=2, deadline_hours=24)
        self.clock = Clock()

    def requests(self, attempt: int = 1, count: int = 4) -> list:
        messages = [
            [{"role": "system", "content": "Reason."}, {"role": "user", "content": f"{n}?"}] for n in range(count)
        ]
        return [request(f"q{n}", attempt, message, self.settings) for n, message in enumerate(messages)]

    def ask(self, requests: list | None = None, settings=None) -> dict:
        """Ask and give id -> finish (or text), for the requests that have a reply."""
        with Ledger(self.path, self.clock) as book:
            replies = gemini.ask(
                self.requests() if requests is None else requests,
                book,
                settings or self.settings,
                KEY,
                poll_seconds=POLL_SECONDS,
                sleep=self.clock.sleep,
            )
            assert not book.open, "every job is closed"
        return {reply.key.split("/")[0]: reply for reply in replies}

    @property
    def account(self) -> ledger.Account:
        return ledger.read(self.path)

    @property
    def created(self) -> int:
        """Jobs that the ledger says the service created."""
        return sum(json.loads(line)["event"] == "job" for line in self.path.read_text().splitlines())


def finishes(replies: dict) -> dict:
    return {id: str(reply.finish) for id, reply in replies.items()}


GOOD = dict.fromkeys(("q0", "q1", "q2", "q3"), "stop")
