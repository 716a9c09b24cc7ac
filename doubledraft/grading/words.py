"""The words behind a number: units and currencies, which may be left out, and words that change the number."""

import re

TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
TEENS = ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
NUMBERS = {word: value for value, word in enumerate(ONES + TEENS)} | {
    word: 10 * ten for ten, word in enumerate(TENS, 2)
}
FRACTIONS = {f"{word}th": value for word, value in NUMBERS.items() if value > 3}
FRACTIONS |= {f"{word[:-1]}ieth": NUMBERS[word] for word in TENS}
FRACTIONS |= {"half": 2, "halve": 2, "third": 3, "fifth": 5, "eighth": 8, "ninth": 9, "twelfth": 12}
FRACTIONS |= {"hundredth": 100, "thousandth": 1000}
CHANGING = re.compile(  # words that change the number before them, or join it to another: no units
    rf"\b(?:{'|'.join([*NUMBERS, *(f'{word}s?' for word in FRACTIONS)])}|\w*(?:[bmr]illion|dred|sand)ths?"
    r"|\w*[bmrt]illions?|hundreds?|thousands?|tens|dozens?|scores?|gross|couples?|quarters?|myriads?|lakhs?|crores?"
    r"|googol\w*|mln|bn|double|twice|thrice|and|or|not|no|to|of|below|above|plus|minus|negative|positive|less|fewer|than"
    r"|at|times(?! as\b|$)|over|by|versus|vs|point|basis|bps|percentage|reciprocals?|inverses?|remainder|modulo|mod"
    r"|choose|factorials?|squared|cubed|root|power|imaginary|complex|pi|sqrt|sin|cos|tan|cot|log|exp"
    r"|(?:co)?(?:sine|tangent|secant)s?|logarithms?|negatives"
    r"|alpha|beta|gamma|delta|theta|lambda|sigma|phi|omega)\b"
)
PLURAL = re.compile(r"[a-z]{2,}(?<![sui])s\b")  # `apples`, but no `gross`, `minus`, `basis`
CURRENCY = {
    "$": "dollar", "€": "euro", "£": "pound", "¥": "yen", "₹": "rupee", "¢": "cent",
    "C$": "canadian dollar", "A$": "australian dollar",
    "US$": "dollar", "USD": "dollar", "EUR": "euro", "GBP": "pound", "Rs": "rupee", "Rs.": "rupee", "INR": "rupee",
}  # fmt: skip
SYMBOLS = {
    name: symbol
    for symbol, names in {
        "mm": "millimeter millimetre", "cm": "centimeter centimetre", "m": "meter metre", "km": "kilometer kilometre",
        "in": "inch", "ft": "foot feet", "yd": "yard", "mi": "mile", "mg": "milligram", "g": "gram", "kg": "kilogram",
        "oz": "ounce", "l": "liter litre", "ml": "milliliter millilitre", "s": "sec second", "min": "minute",
        "h": "hr hour", "dollar": "usd", "euro": "eur", "c": "celsius", "f": "fahrenheit", "degree": "deg",
        "mi per h": "mph", "km per h": "kph kmh",
    }.items()
    for name in names.split()
}  # fmt: skip
SHORT_UNITS = {"lb", "lbs", "hrs", "mph", "am", "pm", "sq", "cu", "kw", "mw", "hz", "kb", "mb", "gb", "ms", "pt", "rs"}
SHORT = SHORT_UNITS | set(CURRENCY.values()) | SYMBOLS.keys() | set(SYMBOLS.values())
SINGULAR = re.compile(  # units that do not end in s, and words that follow a number without changing it
    r"unit|square|cubic|day|week|month|year|decade|century|percent|cent|yen|acre|gallon|cup|pint|quart|ton|person"
    r"|people|men|women|children|fish|sheep|each|every|daily|total|left|long|tall|wide|high|deep|old"
)
MEGA = re.compile(r"M(?:Wh?|Hz|J|V|Pa|g|L|N)")  # a megawatt is no milliwatt: the only case that counts


class Undecided(Exception):
    """The rules cannot decide whether two answers are equal; the message is the reason."""


def same_unit(one: str, other: str) -> bool:
    """Return whether two units are the same word; words behind the same unit do not count.

    A missing unit fits any known one. Raise Undecided for a missing unit against unknown words, which may change the
    number.
    """
    if not one or not other:
        if (one or other) and not _known(one or other):
            raise Undecided("unknown words behind a number")
        return True
    ones, others = one.split(), other.split()
    if len(ones) != len(others) and "per" in ones + others:
        return False
    return all(_same_word(a, b) for a, b in zip(ones, others, strict=False))


def _same_word(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return one == other or (len(short) > 2 and long in (f"{short}s", f"{short}es"))  # but no `ms` for `m`


def _known(unit: str) -> bool:
    """Return whether the last word is a unit, or looks like one: `red balls`, but not `in the red`."""
    word = (re.findall(r"[A-Za-z]+", unit) or [""])[-1]
    return word in SHORT or any(pattern.fullmatch(word) for pattern in (SINGULAR, PLURAL, MEGA))


def normal_unit(words: str) -> str:
    """Return a unit in its one spelling: `Square feet` and `ft^{2}` both as `ft^2`."""
    words = re.sub(r"[{}]", "", words).replace("/", " per ").replace(".", " ")
    words = " ".join(word if MEGA.fullmatch(word) else word.casefold() for word in words.split())
    words = re.sub(r"\b(?:square|sq) (\w+)", r"\1^2", re.sub(r"\bcubic (\w+)", r"\1^3", words))
    return re.sub(r"[a-z]{2,}", lambda match: _symbol(match[0]), words)


def _symbol(word: str) -> str:
    stems = (word.removesuffix(ending) for ending in ("", "s", "es"))
    return next((SYMBOLS[stem] for stem in stems if stem in SYMBOLS), word)


def fraction(text: str) -> int | None:
    r"""Return the denominator that a word behind a number stands for: 4 of `\text{ fourths}`."""
    word = re.sub(r"\\text\{|\}", "", text).strip().casefold()
    return FRACTIONS.get(word.removesuffix("s"))
