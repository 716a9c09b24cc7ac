r"""Decide whether two answers are equal, by the rules that doubledraft.answers states.

Numbers, units, words, lists and tuples are taken apart here, exactly and fast. What is left of an answer, one piece of
algebra at a time, is put to a function `algebra(gold, prediction)` that the caller gives: in the worker process that is
math-verify, in the parent it raises NeedsAlgebra, so that nothing slow or hostile runs there.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

Algebra = Callable[[str, str], bool]  # (gold, prediction), LaTeX without dollar signs

PLAIN = str.maketrans(
    {"\u2212": "-", "\u2013": "-", "×": "*", "·": "*", "÷": "/", "²": "^2", "³": "^3", "°": "^\\circ", "\u00a0": " "}
    | {"π": "\\pi ", "∞": "\\infty ", "≤": "\\le ", "≥": "\\ge ", "±": "\\pm ", "∪": "\\cup "}
)
SPACING = re.compile(r"\\(?:left|right|displaystyle|limits)(?![A-Za-z])|\\[!]")
WIDE = re.compile(r"\\(?:[,;: ]|quad(?![A-Za-z])|qquad(?![A-Za-z]))|~|\s+")
WRAPPED = re.compile(r"\\(?:boxed|fbox|text|mathrm|mbox|textbf|mathbf)\s*\{(.*)\}", re.DOTALL)
DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
DECIMAL = rf"(?:{DIGITS}(?:\.\d*)?|\.\d+)"
AMOUNTS = tuple(
    re.compile(rf"(?P<sign>[+-]?)(?P<currency>[$€£¥]?)(?P<minus>-?){amount}(?P<percent> ?%)?(?P<unit>.*)")
    for amount in (
        r"(?P<whole>\d+) (?P<top>\d+)/(?P<bottom>\d+)(?![\d.])",
        rf"(?P<whole>\d+)?\\frac\{{(?P<top>-?{DECIMAL})\}}\{{(?P<bottom>-?{DECIMAL})\}}",
        rf"(?P<whole>)(?P<top>{DECIMAL})(?:/(?P<bottom>{DECIMAL}))?(?![\d.])",
    )
)
UNIT = re.compile(r"[A-Za-z][A-Za-z .'-]*(?:/ ?[A-Za-z]+)?(?:\^\{?[23]\}?)?")
TEXT_UNIT = re.compile(r"\\(?:text|mathrm|mbox)\{([^{}]*)\}(\^\{?[23]\}?)?$|\^\{?\\circ\}?$")
NOT_UNITS = re.compile(
    r"\b(?:and|or|not|to|of|plus|minus|times|over|by|pi|sqrt|root|squared|cubed|percent|half|dozen|hundred|thousand|million"
    r"|billion|trillion)\b"
)
CURRENCY = {"$": "dollar", "€": "euro", "£": "pound", "¥": "yen"}
WORD = re.compile(
    r"(?<![\\A-Za-z])(?!(?:sqrt|sinh|cosh|tanh|frac)(?![A-Za-z]))[A-Za-z]{4,}|^(?:yes|no|all|odd|not)$", re.I
)
NAMED = re.compile(r"([A-Za-z](?:\([A-Za-z]\)|_\{?\w\}?)?)(?:=|\\in(?![A-Za-z]) ?)([^=]+)")
RELATION = re.compile(r"<|>|\\(?:leq?|geq?|lt|gt|neq?)(?![A-Za-z])")
PLUS_MINUS, MINUS_PLUS = re.compile(r"\\pm(?![A-Za-z]) ?"), re.compile(r"\\mp(?![A-Za-z]) ?")
SEPARATOR = re.compile(r",? ?\\text\{ ?(?:and|or) ?\} ?|,? ?(?<![A-Za-z\\])(?:and|or)(?![A-Za-z]) ?|[,;] ?")


class Undecided(Exception):
    """The rules cannot tell; the message is the reason."""


class NeedsAlgebra(Exception):
    """The pieces are no plain numbers or words."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A number as written: exact value, and what the rules need to know about its writing."""

    value: Fraction
    decimal: bool
    percent: bool
    unit: str

    def latex(self) -> str:
        """Write the value without its unit, decimals as decimals, since rounding is allowed for those only."""
        if self.decimal:
            return format(float(self.value), ".15g")
        return f"\\frac{{{self.value.numerator}}}{{{self.value.denominator}}}"


def same(gold: str, prediction: str, algebra: Algebra) -> bool:
    """Compare two answers; raises Undecided, and whatever `algebra` raises."""
    gold, prediction = clean(gold), clean(prediction)
    return _same(gold, prediction, algebra)


def clean(text: str) -> str:
    """Bring an answer to one way of writing: plain signs and digits, no wrappers, no spaces but between words."""
    text = "".join(str(unicodedata.digit(char)) if unicodedata.category(char) == "Nd" else char for char in text)
    text = SPACING.sub("", text.translate(PLAIN)).replace("{,}", ",")
    text = WIDE.sub(" ", text).replace("\\$", "$").replace("\\%", "%").strip(" *")
    while (inner := _unwrap(text)) != text:
        text = inner
    text = re.sub(r"\\[dtc]frac(?![A-Za-z])", r"\\frac", text)
    text = re.sub(r"\\frac ?(\w) ?(\w)", r"\\frac{\1}{\2}", text)
    text = re.sub(r"\\sqrt ?(\w)", r"\\sqrt{\1}", text)
    text = re.sub(r" ?([^\w\s\\}]|\}(?!\w)) ?", r"\1", re.sub(r" (?=\\)", "", text))
    return text.strip()


def _unwrap(text: str) -> str:
    text = text.strip()
    if text.endswith(".") or text.endswith(","):
        return text[:-1]
    for start, end in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
        inner = text[len(start) : len(text) - len(end)]
        if len(text) > len(start + end) and text.startswith(start) and text.endswith(end) and "$" not in inner:
            return inner
    if (match := WRAPPED.fullmatch(text)) and _closes_at_end("{" + match[1] + "}"):
        return match[1]
    return text


def _same(gold: str, prediction: str, algebra: Algebra) -> bool:
    if not gold or not prediction or gold == prediction:
        return bool(gold) and gold == prediction
    (gold_name, gold), (name, prediction) = _named(gold), _named(prediction)
    if gold_name and name and gold_name != name:
        return False
    if bool(RELATION.search(gold)) != bool(RELATION.search(prediction)):
        return algebra(to_latex(gold), to_latex(prediction))  # x > 3 against (3, \infty)
    (gold_brackets, gold_items), (brackets, items) = _parts(gold), _parts(prediction)
    if len(gold_items) != len(items):
        return False
    if len(items) == 1:
        return _same_one(gold_items[0], items[0], algebra)
    if "{}" in (gold_brackets, brackets) and gold_brackets + brackets not in ("{}", "{}{}"):
        return False  # a set against a tuple
    if gold_brackets and brackets and gold_brackets != brackets:
        return False
    if {gold_brackets, brackets} - {"", "{}"} or _names_order(gold_items) != _names_order(items):
        return all(_same(one, other, algebra) for one, other in zip(gold_items, items, strict=True))
    return _same_unordered(gold_items, items, algebra)


def _same_unordered(gold: list[str], items: list[str], algebra: Algebra) -> bool:
    left = list(items)
    for one in gold:
        match = next((other for other in left if _same(one, other, algebra)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _names_order(items: list[str]) -> bool:
    """Tell whether the items name different variables, as in `x = 1, y = 2`."""
    return len({match[1] for item in items if (match := NAMED.fullmatch(item))}) > 1


def _parts(text: str) -> tuple[str, list[str]]:
    """Split into (brackets, items): `(1,2]` gives ("(]", ["1", "2"]), a bare list "" for brackets."""
    if _amount(text):
        return "", [text]
    body = text.replace("\\{", "{").replace("\\}", "}")
    brackets = ""
    if body[:1] in tuple("([{") and body[-1:] in tuple(")]}") and _closes_at_end(body):
        brackets, body = body[0] + body[-1], body[1:-1]
    items = [branch for item in _split(body) for branch in _branches(item)]
    if len(items) == 1 and brackets in ("()", "[]", "{}", ""):
        return "", items
    return (brackets, items) if len(items) > 1 else ("", [text])


def _closes_at_end(text: str) -> bool:
    depth = 0
    for index, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if depth <= 0:
            return index == len(text) - 1 and depth == 0
    return False


def _split(text: str) -> list[str]:
    depths, depth = [], 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        depths.append(depth)
    items, start = [], 0
    for match in SEPARATOR.finditer(text):
        if depths[match.start()] == 0:
            items.append(text[start : match.start()])
            start = match.end()
    return [item.strip() for item in [*items, text[start:]] if item.strip()]


def _branches(item: str) -> list[str]:
    if not PLUS_MINUS.search(item):
        return [item]
    return [PLUS_MINUS.sub(one, MINUS_PLUS.sub(other, item)) for one, other in ("+-", "-+")]


def _same_one(gold: str, prediction: str, algebra: Algebra) -> bool:
    if re.fullmatch(r"[^A-Za-z\\<>]*=[^=]*", prediction) and "=" not in gold:
        return _same(gold, prediction.rpartition("=")[2], algebra)  # 3 * 5 = 15
    amounts = _amount(gold), _amount(prediction)
    if all(amounts):
        return _same_amount(*amounts)
    if WORD.search(_without_unit(gold)):
        return gold.casefold() == prediction.casefold()
    if re.search(r"\d \d", gold):
        raise Undecided("the gold answer cannot be parsed")
    if WORD.search(_without_unit(prediction)) or re.search(r"\d \d", prediction):
        raise Undecided("the prediction cannot be parsed")
    if _is_equation(gold) != _is_equation(prediction):
        return False
    gold, prediction = (
        amount.latex() if amount else to_latex(_without_unit(text))
        for amount, text in zip(amounts, (gold, prediction), strict=True)
    )
    return gold == prediction or algebra(gold, prediction)


def _is_equation(text: str) -> bool:
    return "=" in re.sub(r"\{[^{}]*\}", "", text)  # not the one of \sum_{n=1}


def _named(text: str) -> tuple[str | None, str]:
    match = NAMED.fullmatch(text)
    return (match[1], match[2]) if match else (None, text)


def _without_unit(text: str) -> str:
    return TEXT_UNIT.sub("", text) or text


def _amount(text: str) -> Amount | None:
    match = next((match for pattern in AMOUNTS if (match := pattern.fullmatch(text))), None)
    unit = _unit(match["unit"]) if match else None
    if unit is None:
        return None
    written = [match["whole"] or "0", match["top"], match["bottom"] or "1"]
    whole, top, bottom = (Fraction(part.replace(",", "").removesuffix(".")) for part in written)
    if bottom == 0:
        return None
    value = (whole + top / bottom) * (-1 if "-" in match["sign"] + match["minus"] else 1)
    unit = f"{CURRENCY.get(match['currency'], '')} {unit}".strip()
    return Amount(value, decimal="." in "".join(written), percent=bool(match["percent"]), unit=unit)


def _unit(text: str) -> str | None:
    """Read what follows a number as a unit, "" for nothing; None when it is more than that."""
    if text.strip() in ("", "."):
        return ""
    if match := TEXT_UNIT.fullmatch(text.strip()):
        return f"{match[1].strip()}{match[2] or ''}".casefold() if match[1] else "degree"
    words = text.strip().casefold()
    variables = re.search(r"\b[b-z]\b|^a$", words)  # a letter of its own may be one
    return words if UNIT.fullmatch(words) and not variables and not NOT_UNITS.search(words) else None


def _same_amount(gold: Amount, prediction: Amount) -> bool:
    if gold.unit and prediction.unit and not _same_unit(gold.unit, prediction.unit):
        return False
    rounded = gold.decimal != prediction.decimal
    pairs = [(gold.value, prediction.value)]
    if gold.percent != prediction.percent:
        pairs.append((gold.value / (100 if gold.percent else 1), prediction.value / (100 if prediction.percent else 1)))
    return any(a == b or (rounded and round(a, 6) == round(b, 6) != 0) for a, b in pairs)


def _same_unit(one: str, other: str) -> bool:
    return all(
        a == b or a + "s" == b or b + "s" == a or a + "es" == b or b + "es" == a
        for a, b in zip(one.split(), other.split(), strict=False)
    )


def to_latex(text: str) -> str:
    """Write plain algebra (`sqrt(2)`, `x**10`, `3*x`) as LaTeX; LaTeX stays as it is."""
    text = text.replace("**", "^").replace("*", "\\cdot ")
    text = re.sub(r"(?<![\\A-Za-z])(sqrt|pi|sin|cos|tan|log|ln|exp)(?![A-Za-z])", r"\\\1 ", text)
    text = re.sub(r"\\sqrt ?\(([^()]*)\)", r"\\sqrt{\1}", text)
    return re.sub(r"\^(-?\d+|\([^()]*\))", r"^{\1}", text)
