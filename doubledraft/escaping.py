"""Escapes text from models and files for terminals, CSV and Markdown; HTML pages are escaped by their templates.

Untrusted text must not move a cursor, forge a log line, add markup or run as a formula of a spreadsheet.
"""

import re
import unicodedata
from html import escape

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")  # OWASP, "CSV Injection"
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # Unicode categories that print nothing or move what is printed


def visible(text: str) -> str:
    """Return the text with every invisible or control character written as an escape; line feeds stay."""
    return "".join(
        character.encode("unicode_escape").decode()
        if character != "\n" and unicodedata.category(character) in HIDDEN
        else character
        for character in text
    )


def csv_cell(value: object) -> object:
    """Return a value as a CSV cell that no spreadsheet takes for a formula; None is an empty cell."""
    if not isinstance(value, str):
        return "" if value is None else value
    text = visible(value)
    risky = value.lstrip(" \n\u00a0\u3000").startswith(FORMULA) and not NUMBER.fullmatch(value)
    return "'" + text if risky else text


def markdown(text: object) -> str:
    """Return text that Markdown shows literally: without HTML, links or table cells of its own."""
    text = re.sub(r"\s+", " ", str(text))
    return re.sub(r"([\\`*\[\]|~])", r"\\\1", escape(text, quote=False))
