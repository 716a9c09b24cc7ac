"""The package's logger, and an error as one line."""

import logging

log = logging.getLogger("doubledraft")


def error_text(error: BaseException) -> str:
    """Return an error as one line: its class, its message, and the notes that were added to it."""
    words = " ".join([str(error), *getattr(error, "__notes__", [])]).split()
    return f"{type(error).__name__}: {' '.join(words)}"
