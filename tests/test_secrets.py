"""Keys stay out of everything that is written.  pytest tests/test_secrets.py"""

import base64
import logging
import os
import traceback
from urllib.parse import quote

import pytest

from doubledraft import secrets

SENTINEL = "AIza+Sentinel/7f3a91c2"


@pytest.fixture
def clean(monkeypatch, tmp_path):
    """Go to an empty folder, without keys in the environment, and forget at the end what was hidden."""
    monkeypatch.chdir(tmp_path)
    for variables in secrets.VARIABLES.values():
        for variable in variables:
            monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(secrets, "_forms", set())
    factory = logging.getLogRecordFactory()
    yield tmp_path
    logging.setLogRecordFactory(factory)


def test_a_key_comes_from_the_environment_or_the_file_and_never_spreads(clean, monkeypatch):
    (clean / ".env").write_text(f"GEMINI_API_KEY='{SENTINEL}'\nOPENAI_API_KEY=sk-$HOME-file\n")
    assert secrets.key("gemini") == SENTINEL
    assert secrets.key("openai") == "sk-$HOME-file", "a dollar in a key is no variable"
    assert "GEMINI_API_KEY" not in os.environ
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    assert secrets.key("openai") == "sk-environment", "the environment wins over the file"


def test_the_order_of_two_variables_is_that_of_googles_client(clean, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "gemini-key")
    assert secrets.key("gemini") == "gemini-key"
    monkeypatch.setenv("GOOGLE_API_KEY", "google-key")
    assert secrets.key("gemini") == "google-key"


@pytest.mark.parametrize(
    ("name", "told"), [("gemini", "GOOGLE_API_KEY or GEMINI_API_KEY"), ("openai", "OPENAI_API_KEY")]
)
def test_a_missing_key_is_named_with_the_ways_to_give_it(clean, name, told):
    with pytest.raises(secrets.MissingKey, match=rf"{told}.*\.env"):
        secrets.key(name)


@pytest.mark.parametrize("value", ["two words", "line\nbreak", "schlüssel", "nul\x7f", "   "])
def test_a_value_that_no_header_can_carry_is_refused_without_showing_it(clean, monkeypatch, value):
    monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(secrets.MissingKey, match="OPENAI_API_KEY") as caught:
        secrets.key("openai")
    assert value.strip() == "" or value not in str(caught.value)


def test_no_log_message_shows_a_key(clean, monkeypatch, caplog):
    monkeypatch.setenv("GOOGLE_API_KEY", SENTINEL)
    key = secrets.key("gemini")
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
    assert caplog.text.count(secrets.HIDDEN) >= 4
    assert "Traceback" in caplog.text and "Illegal header value ***" in caplog.text


def test_a_traceback_with_variables_does_not_show_a_key(clean, monkeypatch):
    monkeypatch.setenv("GOOGLE_API_KEY", SENTINEL)
    key = secrets.key("gemini")
    try:
        [][len(key)]
    except IndexError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "key = ***" in shown and SENTINEL not in shown


def test_a_stand_in_for_a_key_does_not_blank_the_log(clean, monkeypatch, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    secrets.key("openai")
    logging.getLogger("some.client").warning("the answer is EMPTY")
    assert "the answer is EMPTY" in caplog.text
