"""The exact value of plain arithmetic such as `2 * (3 + 4) / 5`, by a small grammar: text is never run as code."""

import re
from fractions import Fraction

TOKEN = re.compile(r"\d+(?:\.\d+)?|\.\d+|[-+*/()]")


def value(text: str) -> Fraction | None:
    """Evaluate numbers, `+ - * /` and brackets; None for anything else. `$` and thousands commas are skipped."""
    text = re.sub(r"[\s$]|(?<=\d),(?=\d{3})", "", text)
    tokens = TOKEN.findall(text)
    if "".join(tokens) != text or not tokens:
        return None
    try:
        result = _sum(tokens)
    except (IndexError, ValueError, ZeroDivisionError, RecursionError):
        return None
    return result if not tokens else None


def agree(one: Fraction, other: Fraction) -> bool:
    """Return whether two values are equal but for rounding to three digits."""
    return abs(one - other) <= Fraction(5, 1000) * max(abs(one), abs(other))


def _sum(tokens: list[str]) -> Fraction:
    total = _product(tokens)
    while tokens and tokens[0] in "+-":
        sign = 1 if tokens.pop(0) == "+" else -1
        total += sign * _product(tokens)
    return total


def _product(tokens: list[str]) -> Fraction:
    total = _factor(tokens)
    while tokens and tokens[0] in "*/":
        total = total * _factor(tokens) if tokens.pop(0) == "*" else total / _factor(tokens)
    return total


def _factor(tokens: list[str]) -> Fraction:
    token = tokens.pop(0)
    if token == "-":
        return -_factor(tokens)
    if token != "(":
        return Fraction(token)
    inner = _sum(tokens)
    if tokens.pop(0) != ")":
        raise ValueError("a bracket is not closed")
    return inner
