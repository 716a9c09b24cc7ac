"""Keys of paid services: read from the environment or from `.env`, and kept out of everything that is written.

A key is an argument of the one call that needs it: never a parameter of a rule, never a field of a record, and a key
from `.env` is not put into the environment, so no other process inherits it. Clients do not log it, but a server may
send it back in an error message, and a traceback may print local variables. So every log message is searched for known
keys, error messages of clients are passed through `redact`, and the `repr` of a key is three stars.
"""

import base64
import logging
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

VARIABLES = {  # by service; the first that is set wins
    "gemini": ("GOOGLE_API_KEY", "GEMINI_API_KEY"),  # in the order of Google's own client
    "openai": ("OPENAI_API_KEY",),
    "hub": ("HF_TOKEN",),
    "wandb": ("WANDB_API_KEY",),
}
HIDDEN = "***"
SHORTEST = 8  # characters of a key that is hidden; shorter ones are placeholders for servers that want none

_forms: set[str] = set()  # text to replace: keys, and their percent-encoded and base64 forms


class MissingKey(RuntimeError):
    """No usable key; the message names the variable and never the value."""


class BadKey(MissingKey):
    """A key that is set but cannot be sent in an HTTP header."""


class Key(str):
    """A key whose `repr` hides it, since debuggers and tracebacks print that of local variables."""

    def __repr__(self) -> str:
        return HIDDEN


def key(name: str) -> str:
    """Return the key of a service from the environment, else from `.env` in the working directory.

    From then on it is hidden in all log messages of this process. Raise MissingKey, or BadKey for an impossible value.
    """
    from dotenv import dotenv_values

    variables = VARIABLES[name]
    file = dotenv_values(Path(".env"), interpolate=False)
    candidates = [
        (variable, source[variable]) for source in (os.environ, file) for variable in variables if source.get(variable)
    ]
    if not candidates:
        raise MissingKey(
            f"{name} needs a key: set {' or '.join(variables)} in the environment, "
            f"or write the line {variables[0]}=key into {Path('.env').resolve()}, which git ignores"
        )
    variable, value = candidates[0][0], candidates[0][1].strip()
    if not value.isascii() or not value.isprintable() or " " in value or not value:
        raise BadKey(f"{variable} is no key: it is empty or has characters that no key has (a space, a line break)")
    hide(value)
    return Key(value)


def hide(value: str) -> None:
    """Replace a value, and its percent-encoded and base64 forms, in all later log messages of this process."""
    if len(value) < SHORTEST:
        return
    if not _forms:
        logging.setLogRecordFactory(_searched(logging.getLogRecordFactory()))
    _forms.update((value, quote(value, safe=""), base64.b64encode(value.encode()).decode().rstrip("=")))


def redact(text: str) -> str:
    """Replace every hidden value of a text by three stars."""
    for form in sorted(_forms, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return text


def _searched(make: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    """Return a factory of log records that redacts them, so that loggers and handlers added later are covered too."""

    def made(*args: object, **kwargs: object) -> logging.LogRecord:
        record = make(*args, **kwargs)
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # the caller's format is wrong; logging says so when it prints
            return record
        if (clean := redact(message)) != message:
            record.msg, record.args = clean, None
        if record.exc_info and record.exc_info[0]:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return record

    return made
