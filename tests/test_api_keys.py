"""Keys stay out of everything that is written."""

import base64
import json
import logging
import os
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from doubledraft import api_keys
from tests.helpers.gemini_server import Fault, GeminiServer

ROOT = Path(__file__).parents[1]

SENTINEL = "AIza+Sentinel/7f3a91c2"


@pytest.fixture
def clean(monkeypatch, tmp_path):
    """Go to an empty folder, without keys in the environment, and forget at the end what was hidden."""
    monkeypatch.chdir(tmp_path)
    for variables in api_keys.VARIABLES.values():
        for variable in variables:
            monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(api_keys, "_forms", set())
    factory = logging.getLogRecordFactory()
    yield tmp_path
    logging.setLogRecordFactory(factory)


def test_a_key_comes_from_the_environment_or_the_file_and_never_spreads(clean, monkeypatch):
    (clean / ".env").write_text(f"GEMINI_API_KEY='{SENTINEL}'\nOPENAI_API_KEY=sk-$HOME-file\n")
    assert api_keys.key("gemini") == SENTINEL
    assert api_keys.key("openai") == "sk-$HOME-file", "a dollar in a key is no variable"
    assert "GEMINI_API_KEY" not in os.environ
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    assert api_keys.key("openai") == "sk-environment", "the environment wins over the file"


def test_the_order_of_two_variables_is_that_of_googles_client(clean, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "gemini-key")
    assert api_keys.key("gemini") == "gemini-key"
    monkeypatch.setenv("GOOGLE_API_KEY", "google-key")
    assert api_keys.key("gemini") == "google-key"


@pytest.mark.parametrize(
    ("name", "told"), [("gemini", "GOOGLE_API_KEY or GEMINI_API_KEY"), ("openai", "OPENAI_API_KEY")]
)
def test_a_missing_key_is_named_with_the_ways_to_give_it(clean, name, told):
    with pytest.raises(api_keys.MissingKey, match=rf"{told}.*\.env"):
        api_keys.key(name)


@pytest.mark.parametrize("value", ["two words", "line\nbreak", "schlüssel", "nul\x7f", "   "])
def test_a_value_that_no_header_can_carry_is_refused_without_showing_it(clean, monkeypatch, value):
    monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(api_keys.MissingKey, match="OPENAI_API_KEY") as caught:
        api_keys.key("openai")
    assert value.strip() == "" or value not in str(caught.value)


def test_no_log_message_shows_a_key(clean, monkeypatch, caplog):
    monkeypatch.setenv("GOOGLE_API_KEY", SENTINEL)
    key = api_keys.key("gemini")
    log = logging.getLogger("some.client")
    log.setLevel(logging.DEBUG)
    encoded = base64.b64encode(SENTINEL.encode()).decode()
    log.debug("headers %s", {"x-goog-api-key": str(key)})
    log.debug(f"GET https://host/?key={quote(SENTINEL, safe='')} basic {encoded}")
    try:
        raise ValueError(f"Illegal header value {SENTINEL}")
    except ValueError:
        log.exception("failed")
    for form in (SENTINEL, quote(SENTINEL, safe=""), encoded):
        assert form not in caplog.text
    assert caplog.text.count(api_keys.HIDDEN) >= 4
    assert "Traceback" in caplog.text and "Illegal header value ***" in caplog.text


def test_a_traceback_with_variables_does_not_show_a_key(clean, monkeypatch):
    monkeypatch.setenv("GOOGLE_API_KEY", SENTINEL)
    key = api_keys.key("gemini")
    try:
        [][len(key)]
    except IndexError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "key = ***" in shown and SENTINEL not in shown


def test_a_stand_in_for_a_key_does_not_blank_the_log(clean, monkeypatch, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    api_keys.key("openai")
    logging.getLogger("some.client").warning("the answer is EMPTY")
    assert "the answer is EMPTY" in caplog.text


# ---- a real client, all that it logs, and a server that sends the key back

ASK = """
import logging, sys, traceback
from dataclasses import replace
from doubledraft import api_keys
from doubledraft.log import log
from doubledraft.traces.teacher import gemini
from doubledraft.traces.teacher.messages import request
from doubledraft.traces.teacher.ledger import Ledger
from tests.helpers.teacher import SETTINGS

logging.basicConfig(level=logging.DEBUG)
settings = replace(SETTINGS, base_url=sys.argv[1], pending_hours=1, deadline_hours=1)
requests = [request("q0", 1, [{"role": "user", "content": "0?"}], settings)]


def sleep(seconds):
    if sys.argv[2] == "crash":
        raise RuntimeError("crash in the middle")


def show_variables(kind, error, trace):
    print("".join(traceback.TracebackException(kind, error, trace, capture_locals=True).format()), file=sys.stderr)


if sys.argv[2] != "plain":
    sys.excepthook = show_variables
with Ledger("ledger.jsonl") as book:
    key = api_keys.key("gemini")
    log.debug("the key is %s", key)
    print(gemini.ask(requests, book, settings, key, poll_seconds=0.01, sleep=sleep))
"""
ECHO = json.dumps({"error": {"code": 401, "status": "UNAUTHENTICATED", "message": f"no such key: {SENTINEL}"}}).encode()
# how -> faults of the server, where the key is, exit status, what the output has at least
RUNS = {
    "success": ({}, "environment", 0, "finish=<Finish.stop"),
    "success from .env": ({}, "file", 0, "finish=<Finish.stop"),
    "plain": ({"create": [Fault(401, body=ECHO)]}, "environment", 1, "no such key: ***"),
    "variables": ({"create": [Fault(401, body=ECHO)]}, "environment", 1, "no such key: ***"),
    "lost": ({"get": [Fault(drop=True)] * 30}, "environment", 1, "stays open"),
    "crash": ({}, "environment", 1, "crash in the middle"),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", RUNS)
def test_a_key_is_found_in_nothing_that_a_run_writes(tmp_path, how):
    faults, place, status, said = RUNS[how]
    environment = {name: value for name, value in os.environ.items() if name not in api_keys.VARIABLES["gemini"]}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    if place == "environment":
        environment["GEMINI_API_KEY"] = SENTINEL
    else:
        (tmp_path / ".env").write_text(f"GEMINI_API_KEY={SENTINEL}\n")
    with GeminiServer() as server:
        server.faults |= faults
        command = [sys.executable, "-c", ASK, server.url, how]
        with open(tmp_path / "output", "wb") as file:
            run = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=file, stderr=subprocess.STDOUT)
            arguments = _arguments_while(run)
        assert server.keys == {SENTINEL}, "the service got the key"
    (tmp_path / ".env").unlink(missing_ok=True)
    written = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    written["arguments"] = arguments
    output = written["output"].decode()
    assert run.returncode == status and said in output, output
    assert "DEBUG:httpcore" in output and "the key is ***" in output, "all is logged"
    assert "ledger.jsonl" in written and ASK.encode() in arguments
    encoded = base64.b64encode(SENTINEL.encode()).rstrip(b"=")
    for form in (SENTINEL.encode(), quote(SENTINEL, safe="").encode(), encoded):
        assert [name for name, content in written.items() if form in content] == []


def _arguments_while(run: subprocess.Popen) -> bytes:
    """Collect the command lines of all processes while one runs."""
    seen = set()
    while run.poll() is None:
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # it has ended meanwhile
                seen.add(file.read_bytes())
        time.sleep(0.05)
    return b"\n".join(seen)
