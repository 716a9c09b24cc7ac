r"""Numbers as answers write them: exact values with their sign, percent, currency and unit.

Everything is a fraction, so nothing is lost: `0.75`, `\frac{3}{4}`, `3/4`, `1 1/2`, `1,234`, `3.2e5` and
`0.\overline{3}` have exact values. What is more than a number is no amount (None), and algebra reads it.
"""

import re
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction

from doubledraft.grading.words import CHANGING, CURRENCY, SHORT, fraction, normal_unit, same_unit

DECIMALS = 6  # that a decimal and a number without so short a decimal form must share
DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)"
DECIMAL = rf"(?:{DIGITS}(?:\.\d*)?|\.\d+)"
POWER = r"[eE](?P<power>[+-]?\d{1,3})"
CURRENCIES = r"(?P<currency>(?:US|[CA])\$|[$€£¥₹]|(?:USD|EUR|GBP|INR|Rs\.?) ?)"
AMOUNTS = tuple(
    re.compile(rf"(?P<sign>[+-]?)(?:{CURRENCIES}(?P<minus>-?))?{amount}(?P<percent>%?)(?P<unit>(?:(?![\d.]).*)?)")
    for amount in (
        r"(?P<whole>\d+) (?P<top>\d+)/(?P<bottom>\d+)",
        rf"(?P<whole>\d+)\\frac\{{(?P<top>{DECIMAL})\}}\{{(?P<bottom>{DECIMAL})\}}",
        rf"\\frac\{{(?P<top>-?{DECIMAL})\}}\{{(?P<bottom>-?{DECIMAL})\}}",
        r"(?P<top>\d*\.\d*)\\overline\{(?P<cycle>\d+)\}",
        rf"(?P<top>{DECIMAL})(?:/(?P<bottom>{DECIMAL})|{POWER})?",
    )
)
TEXT_UNIT = r"\\text\{(?P<text>[^{}]*)\}(?P<power>\^\{?[23]\}?)?"
DEGREE = r"\^\\circ ?(?:\\text\{)?(?P<scale>[CF]?)\}?"
WORDS = r"(?P<words>[A-Za-z][A-Za-z .'-]*(?:/[A-Za-z]+)?(?:\^\{?[23]\}?)?)"
SIGN = r"(?P<mark>[$€£¥₹¢])"
UNIT = re.compile(rf" ?(?:{TEXT_UNIT}|{DEGREE}|{SIGN}|{WORDS})")
WITH_UNIT = re.compile(rf"(?P<body>.*?(?:[\d)}}\]]|\\pi|\\infty))(?P<unit>{TEXT_UNIT}|{DEGREE}|{SIGN}| {WORDS})")
ANGLE = re.compile(r"(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")  # its degrees are no unit of the whole
RATE = re.compile(r"\b(?:m|km|cm|ft|mi|g|l)/(?:s|sec|min|h|hr)\b")
PARTS = ("whole", "top", "bottom", "power", "cycle")  # of a number's text


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
            digits = Context(prec=2000).divide(Decimal(self.value.numerator), Decimal(self.value.denominator))
            return format(digits, "f")
        return f"\\frac{{{self.value.numerator}}}{{{self.value.denominator}}}"


def read_amount(text: str) -> Amount | None:
    """Read a plain text as a number with its unit; None when it is anything else."""
    match = next((match for pattern in AMOUNTS if (match := pattern.fullmatch(text))), None)
    if not match:
        return None
    part = match.groupdict(default="")
    value = _value(**{name: part.get(name, "").replace(",", "") for name in PARTS})
    unit, share = read_unit(part["unit"]), fraction(part["unit"])
    if value is None or (unit is None and not share):
        return None
    value *= Fraction(-1 if (part["sign"] == "-") != (part["minus"] == "-") else 1, share or 1)
    decimal = "." in part["top"] + part.get("bottom", "") and not part.get("cycle")
    unit = f"{CURRENCY.get(part['currency'].strip(), '')} {unit or ''}".strip()
    return Amount(value, decimal=decimal, percent=bool(part["percent"]), unit=unit)


def _value(whole: str, top: str, bottom: str, power: str, cycle: str) -> Fraction | None:
    """Return the exact value; None where it divides by zero."""
    start, divisor = (Fraction(text.removesuffix(".") or default) for text, default in ((top, 0), (bottom, 1)))
    if cycle:
        start += Fraction(int(cycle), (10 ** len(cycle) - 1) * 10 ** len(top.partition(".")[2]))
    return (Fraction(whole or 0) + start / divisor) * Fraction(10) ** int(power or 0) if divisor else None


def read_unit(text: str) -> str | None:
    """Read what follows a number as a unit, "" for nothing; None when it is more than that."""
    if text.strip() in ("", "."):
        return ""
    match = UNIT.fullmatch(text)
    if not match:
        return None
    if match["mark"]:
        return CURRENCY[match["mark"]]
    if not (words := match["text"] or match["words"]):
        return f"degree {match['scale'] or ''}".strip().casefold() if match["text"] is None else ""
    if not re.fullmatch(r"[^\d\\]+(?:\^\{?[23]\}?)?", words) or CHANGING.search(words.casefold()):
        return None
    variables = match["words"] and _may_be_variables(text, words)
    return None if variables else normal_unit(words + (match["power"] or ""))


def _may_be_variables(text: str, words: str) -> bool:
    """Return whether letters may be variables: one alone, or two (three without a space) that are no known unit."""
    first, *others = re.findall("[A-Za-z]+", RATE.sub("rate", words))
    few = 2 if text.startswith(" ") else 3
    short = len(first) <= few and first.casefold() not in SHORT
    return short or any(len(part) == 1 for part in (first, *others) if part != "a")


def split_unit(text: str) -> tuple[str, str]:
    """Split algebra from the unit behind it, "" for none: `5\\pi\\text{ cm}` gives ("5\\pi", "cm")."""
    match = None if ANGLE.search(text) else WITH_UNIT.fullmatch(text)
    unit = read_unit(match["unit"]) if match else None
    return (text, "") if unit is None else (match["body"], unit)


def same_amount(gold: Amount, prediction: Amount) -> bool:
    """Compare two amounts by the rules on precision, percent and units."""
    if not same_unit(gold.unit, prediction.unit):
        return False
    pairs = [(gold.value, prediction.value)]
    if gold.percent != prediction.percent:
        pairs.append((gold.value / (100 if gold.percent else 1), prediction.value / (100 if prediction.percent else 1)))
    return any(same_value(one, other, gold.decimal, prediction.decimal) for one, other in pairs)


def same_value(one: Fraction, other: Fraction, one_decimal: bool, other_decimal: bool) -> bool:
    """Return whether values are equal, or the only decimal, not 0, is the other rounded, which has no short form."""
    if one == other or one_decimal == other_decimal:
        return one == other
    short = ((other if one_decimal else one) * 10**DECIMALS).denominator == 1
    return not short and round(one, DECIMALS) == round(other, DECIMALS) != 0
