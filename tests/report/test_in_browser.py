"""The report in a real browser: hostile text runs nothing and fetches nothing.

Needs Chromium; without it the tests are skipped, and say so. The same text unescaped in a bare page does run and fetch,
which shows that the browser would.
"""

import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.helpers import made_up
from tests.helpers.browser import CHROMIUM
from tests.helpers.build_report import build

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: the report was not opened in a browser")
HOSTILE = (
    "'\"></code></style></title></script><script>document.body.append('RAN')</script>"
    "<img src='{at}/image' onerror=\"document.body.append('RAN')\"><svg onload=\"document.body.append('RAN')\"></svg>"
    "<link rel=stylesheet href='{at}/style'><iframe src='{at}/frame'></iframe><style>@import '{at}/import';</style>"
    "<object data='{at}/object'></object>"
)
ELSEWHERE = "<meta http-equiv=refresh content='0;url={at}/elsewhere'>"  # a policy does not keep a page from leaving


class Canary:
    """A server that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_error(404)

            def log_message(self, *arguments: object) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def canary() -> Iterator[Canary]:
    canary = Canary()
    yield canary
    canary.server.shutdown()
    canary.server.server_close()


def opened(page: Path, folder: Path) -> str:
    """Open a page for some seconds and give the text of its elements as they are then."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    command += [
        "--disable-background-networking",
        f"--user-data-dir={folder / 'profile'}",
        "--virtual-time-budget=3000",
    ]
    result = subprocess.run(
        [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, check=True, timeout=300
    )
    assert "<html" in result.stdout
    return result.stdout


def poisoned(value: object, text: str) -> object:
    """Return metrics whose every text, and every name that is not a field, is `text`."""
    if isinstance(value, dict):
        named = {"libraries", "level", "subject"}
        return {
            key: {text: next(iter(part.values()))} if key in named else poisoned(part, text)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [poisoned(item, text) for item in value]
    return text if isinstance(value, str) else value


def hostile_report(folder: Path, text: str) -> Path:
    """Build a report whose names, metrics and logs are all hostile; return its page."""
    names = {"cell": f"{text}_{text}", "type": text, "scenario": text}
    path = folder / "metrics.json"
    metrics = poisoned(made_up.trained("cod", "easy"), text) | names
    metrics["provenance"]["config_hash"] = made_up.CONFIG_HASH  # else the cell is of other settings, and left out
    made_up.write_json(path, metrics)
    return build(folder, [path], expected=[names["cell"], f"gone_{text}"], study=text, drawn=True) / "report.html"


def ran(dom: str) -> bool:
    """Return whether a script of the hostile text ran: then its word stands alone, and not only in the text."""
    return "RAN" in dom.replace("append('RAN')", "")


@pytest.mark.slow
def test_hostile_text_in_a_bare_page_runs_and_fetches(tmp_path, canary):
    page = tmp_path / "bare.html"
    page.write_text(f"<!doctype html><html><body>{HOSTILE.format(at=canary.address)}</body></html>")
    dom = opened(page, tmp_path)
    assert ran(dom) and {"/image", "/style", "/frame"} <= set(canary.asked)


@pytest.mark.slow
def test_the_report_of_hostile_text_runs_and_fetches_nothing(tmp_path, canary):
    page = hostile_report(tmp_path, (HOSTILE + ELSEWHERE).format(at=canary.address))
    dom = opened(page, tmp_path)
    assert "document.body.append" in dom, "the text is shown"
    assert not ran(dom) and canary.asked == []


@pytest.mark.slow
def test_the_policy_of_the_page_holds_even_where_escaping_would_fail(tmp_path, canary):
    page = hostile_report(tmp_path, "harmless")
    page.write_text(page.read_text().replace("<main>", f"<main>{HOSTILE.format(at=canary.address)}"))
    dom = opened(page, tmp_path)
    assert not ran(dom) and canary.asked == []
