r"""Take an answer apart: its name, the items of a list, tuple, set, ratio or union, the solutions of inequalities.

The texts are those of doubledraft.grading.notation.plain. Nothing is computed here: a part is again a text, which
doubledraft.grading.equivalence compares.
"""

import re
from itertools import pairwise

from doubledraft.grading.amounts import read_amount
from doubledraft.grading.notation import closing
from doubledraft.grading.words import NUMBERS, Undecided

SHORT_NAME = (  # of a value: `x`, `f(2)`, `AB`, `|AB|`, `S_{ABC}`, `\angle ABC`, `\text{Area}`
    r"[A-Za-z]'?(?:_(?:\{(?:\\triangle ?)?\w+\}|\w+))?(?:\([^()=]*\))?|[A-Z]{2,4}|\|[A-Z]{2}\||\\overline\{[A-Z]{2}\}"
    r"|\\(?:angle|triangle) ?[A-Z]{1,3}"
    r"|\\(?:theta|alpha|beta|lambda|mu|phi)|\\text\{[^{}]*\}"
)
NAME = (  # also `total cost`, and quotients and ratios of names: `\frac{AB}{CD}`, `S_1:S`
    rf"{SHORT_NAME}|\\frac\{{[A-Z]{{2}}\}}\{{[A-Z]{{2}}\}}|[A-Z]{{2}}/[A-Z]{{2}}|(?:{SHORT_NAME}):(?:{SHORT_NAME})"
    r"|(?=[^=]*[A-Za-z]{4})[A-Za-z ]+"
)
NAMED = re.compile(rf"({NAME}) ?(?:=|\\in(?![A-Za-z]) ?)([^=]+)")
IN_WORDS = re.compile(r"(\d+) ?\(([A-Za-z]+)\)")  # `15 (fifteen)`
NAMED_TUPLE = re.compile(r"\((\w(?:,\w)+)\)=\((.*)\)")
CALCULATION = re.compile(r"(?:\\(?:times|cdot|div|frac|sqrt)|[^A-Za-z\\=])+=(?:\\(?:frac|sqrt|pi)|[^A-Za-z\\])+")
RELATIONS = {"ne": "≠", "le": "≤", "ge": "≥", "lt": "<", "gt": ">", "<=": "≤", ">=": "≥"}
RELATION_NAME = re.compile(r"\\(ne|le|ge|lt|gt)q?(?![A-Za-z]) ?|([<>]=)")
RELATION = re.compile(r"[<>≤≥≠]")
FLIPPED = str.maketrans("<>≤≥", "><≥≤")
VARIABLE = re.compile(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])")
BOUNDED = re.compile(r"[A-Za-z](?:\([a-z]\))?")
SEPARATOR = re.compile(r",? ?\\text\{ ?(?:and|or) ?\} ?|,? ?(?<![A-Za-z\\])(?:and|or)(?![A-Za-z]) ?|[,;] ?")
COLON, UNION = re.compile(r":"), re.compile(r"\\cup(?![A-Za-z]) ?")
UNION_SIGN = "\\cup"
BRACKETS = ("()", "[]", "(]", "[)", "{}")
REALS = re.compile(r"\\(?:mathbb\{R\}|R(?![A-Za-z]))|(?:all |the )*real numbers", re.IGNORECASE)
NOT_IN = re.compile(r"(\w)\\notin ?\\\{([^{},;]*)\\\}")
PLUS_MINUS = re.compile(r"\\pm(?![A-Za-z]) ?")


def rewritten(text: str) -> str:
    """Write each relation as one sign, a calculation as its result, `3=x` as `x=3`, `(x,y)=(1,2)` as `x=1,y=2`."""
    text = RELATION_NAME.sub(lambda match: RELATIONS[match[1] or match[2]], text)
    text = NOT_IN.sub(r"\1≠\2", text).removeprefix("=")
    if (match := NAMED_TUPLE.fullmatch(text)) and len(names := match[1].split(",")) == len(values := split(match[2])):
        return ",".join(f"{name}={value}" for name, value in zip(names, values, strict=True))
    if (match := IN_WORDS.fullmatch(text)) and NUMBERS.get(match[2].casefold()) == int(match[1]):
        return match[1]
    if tuples := _named_tuples(text):
        return ",".join(tuples)
    if match := re.fullmatch(r"([^=]+)=([A-Za-z])", text):
        return text if VARIABLE.fullmatch(match[1]) else f"{match[2]}={match[1]}"
    name, *values = text.split("=")
    if len(values) > 1 and len(split(text)) == 1 and re.fullmatch(NAME, name):  # `x=2+3=5`
        return f"{name}={values[-1]}"
    text = REALS.sub(r"(-\\infty,\\infty)", text)
    return text.rpartition("=")[2] if CALCULATION.fullmatch(text) else text


def _named_tuples(text: str) -> list[str]:
    """Return the tuples of `p=5,q=2;p=7,q=2`, which is `(5,2),(7,2)`; none of any other text."""
    rows = [[named(item) for item in row.split(",")] for row in text.split(";")]
    names = [name for name, _ in rows[0]]
    if len(rows) == 1 or len(names) == 1 or None in names or any([name for name, _ in row] != names for row in rows):
        return []
    return [f"({','.join(value for _, value in row)})" for row in rows]


def named(text: str) -> tuple[str | None, str]:
    """Return (name, value) of `x=5`, (None, text) of a text without a name."""
    match = NAMED.fullmatch(text)
    return (match[1], match[2]) if match else (None, text)


def name_several(items: list[str]) -> bool:
    """Return whether the items name different variables, as in `x = 1, y = 2`."""
    return len({match[1] for item in items if (match := NAMED.fullmatch(item))}) > 1


def parts(text: str) -> tuple[str, list[str]]:
    """Split into (kind, items): `(1,2]` gives ("(]", ["1", "2"]), a bare list or a single thing "" for its kind."""
    if read_amount(text):
        return "", [text]
    items = [branch for item in split(text) for branch in _branches(item)]
    if len(items) > 1:
        return "", items
    for kind, separator in ((UNION_SIGN, UNION), (":", COLON)):
        if len(items := split(text, separator)) > 1:
            return kind, items
    body = text.replace("\\{", "{").replace("\\}", "}")
    kind = body[:1] + body[-1:]
    if kind not in BRACKETS or closing(body, 0) != len(body) - 1:
        return "", [text]
    items = split(body[1:-1])
    if kind == "{}":
        items = [branch for item in items for branch in _branches(item)]
    if len(items) == 1 and kind in ("()", "[]", "{}"):
        return parts(items[0])
    return (kind, items) if len(items) > 1 else ("", [text])


def split(text: str, separator: re.Pattern[str] = SEPARATOR) -> list[str]:
    """Split at the separators that stand in no bracket."""
    depths, depth = [], 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        depths.append(depth)
    items, start = [], 0
    for match in separator.finditer(text):
        if depths[match.start()] == 0:
            items.append(text[start : match.start()])
            start = match.end()
    return [item.strip() for item in [*items, text[start:]] if item.strip()]


def _branches(item: str) -> list[str]:
    r"""Return the two values of `a \pm b`; a set is split later."""
    signs = len(PLUS_MINUS.findall(item))
    if not signs or item.startswith(("{", "\\{")):
        return [item]
    if signs > 1:
        raise Undecided("several signs ± in one value")
    return [PLUS_MINUS.sub(sign, item) for sign in "+-"]


def solutions(text: str) -> tuple[str | None, str] | None:
    r"""Return (variable, set): `x<1 or x≥3` is ("x", "(-\infty,1)\cup[3,\infty)"); None for other relations."""
    if not RELATION.search(text):
        return named(text)
    words = {re.sub(r"[^a-z]|text", "", match[0]) for match in SEPARATOR.finditer(text)}
    found = [_interval(part) for part in split(text)]
    if None in found or len({variable for variable, _ in found}) > 1 or not words <= {"or"}:
        return None
    return found[0][0], UNION_SIGN.join(interval for _, interval in found)


def _without(points: str) -> str | None:
    r"""Return the reals without some points as a union: `1` gives `(-\infty,1)\cup(1,\infty)`."""
    points = split(points)
    amounts = [read_amount(point) for point in points]
    if len(points) > 1:
        if not all(amounts):
            return None
        points = [point for _, point in sorted(zip([one.value for one in amounts], points, strict=True))]
    ends = ["-\\infty", *points, "\\infty"]
    return UNION_SIGN.join(f"({low},{high})" for low, high in pairwise(ends))


def _interval(part: str) -> tuple[str, str] | None:
    r"""Return (variable, interval) of `x<3`, `3>x` or `1<x≤3`; None when it is none of these."""
    tokens = re.split("([<>≤≥≠])", part)
    if len(tokens) == 3 and tokens[1] == "≠":
        name, point = tokens[::2] if VARIABLE.fullmatch(tokens[0]) else tokens[::-2]
        left = _without(point) if VARIABLE.fullmatch(name) and not VARIABLE.search(point) else None
        return (name, left) if left else None
    if len(tokens) in (3, 5) and tokens[1] in ">≥":
        tokens = [token.translate(FLIPPED) for token in reversed(tokens)]
    if len(tokens) == 3:
        tokens = ["-\\infty", "<", *tokens] if VARIABLE.fullmatch(tokens[0]) else [*tokens, "<", "\\infty"]
    if len(tokens) != 5 or not set(tokens[1::2]) <= {"<", "≤"} or not BOUNDED.fullmatch(tokens[2]):
        return None
    low, opening, variable, ending, high = tokens
    if not low or not high or VARIABLE.search(low + " " + high):
        return None
    return variable, f"{'[' if opening == '≤' else '('}{low},{high}{']' if ending == '≤' else ')'}"
