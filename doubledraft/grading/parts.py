r"""Take an answer apart: its name, the items of a list, tuple, set, ratio or union, the solutions of inequalities.

The texts are those of doubledraft.grading.notation.plain. Nothing is computed here: a part is again a text, which
doubledraft.grading.equivalence compares.
"""

import re

from doubledraft.grading.amounts import read_amount
from doubledraft.grading.notation import depths, enclosed
from doubledraft.grading.words import NUMBERS, Undecided

SHORT_NAME = (  # of a value: `x`, `f(2)`, `AB`, `|AB|`, `|z|` (but not `|x|`), `[ABC]`, `\angle ABC`, `\text{Area}`
    r"[A-Za-z]'?(?:_(?:\{(?:\\triangle ?)?\w+\}|\w+))?(?:\([^()=]*\))?|[A-Z]{2,4}|\\overline\{[A-Z]{2}\}"
    r"|\|(?:[A-Z]{2}|[zw]|\\(?:vec|overrightarrow) ?(?:\{\w+\}|\w))\||\\\|[a-z]\\\||\[[A-Z]{3,4}\]"
    r"|\\(?:sin|cos|tan) ?(?:\\[a-z]+|[A-Za-z])"
    r"|m?\\(?:angle|triangle) ?[A-Z]{1,3}"
    r"|\\(?:theta|alpha|beta|lambda|mu|phi)|\\text\{[^{}]*\}"
)
SUM = re.compile(r"[A-Za-z]_\{\w+\}(?:[-+][A-Za-z]_\{\w+\})+")  # of indexed values, which are no unknowns as in `x+y=5`
NAME = (  # also `total cost`, sums, and quotients and ratios of names: `\frac{AB}{CD}`, `S_1:S`
    rf"{SHORT_NAME}|\\frac\{{[A-Z]{{2}}\}}\{{[A-Z]{{2}}\}}|[A-Z]{{2}}/[A-Z]{{2}}|(?:{SHORT_NAME}):(?:{SHORT_NAME})"
    rf"|(?=[^=]*[A-Za-z]{{4}})[A-Za-z ]+|{SUM.pattern}"
)
NAMED = re.compile(rf"({NAME}) ?(?:=|\\in(?![A-Za-z]) ?|(?<=^[A-Z])(?=\([^()]+,[^()]+\)$))([^=]+)")  # also `P(3,4)`
IN_WORDS = re.compile(r"(\d+) ?\(([A-Za-z]+)\)")  # `15 (fifteen)`
NAMED_TUPLE = re.compile(r"\((\w(?:,\w)+)\)=\((.*)\)")
CALCULATION = re.compile(r"(?:\\(?:times|cdot|div|frac|sqrt)|[^A-Za-z\\=])+=(?:\\(?:frac|sqrt|pi)|[^A-Za-z\\])+")
RELATIONS = {"ne": "≠", "le": "≤", "ge": "≥", "lt": "<", "gt": ">", "<=": "≤", ">=": "≥"}
RELATION_NAME = re.compile(r"\\(ne|le|ge|lt|gt)q?(?![A-Za-z]) ?|([<>]=)")
RELATION = re.compile(r"[<>≤≥≠]")
FLIPPED = str.maketrans("<>≤≥", "><≥≤")
VARIABLE = re.compile(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])")
BOUNDED = re.compile(r"(?:([^<>≤≥≠]+)([<≤]))?([A-Za-z](?:\([a-z]\))?)(?:([<≤])([^<>≤≥≠]+))?")
LEFT_OUT = re.compile(r"([A-Za-z])≠")
LOWEST, HIGHEST = "-\\infty", "\\infty"
ALL_REALS = f"({LOWEST},{HIGHEST})"
SEPARATOR = re.compile(r",? ?\\text\{ ?(?:and|or) ?\} ?|,? ?(?<![A-Za-z\\])(?:and|or)(?![A-Za-z]) ?|[,;] ?")
COLON, UNION = re.compile(r":"), re.compile(r"\\cup(?![A-Za-z]) ?")
UNION_SIGN = "\\cup"
REALS = re.compile(r"\\(?:mathbb\{R\}|R(?![A-Za-z]))|(?:all |the )*real numbers", re.IGNORECASE)
NOT_IN = re.compile(r"(\w)\\notin ?\\\{([^{}]*)\\\}")
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
    text = REALS.sub(lambda _: ALL_REALS, text)
    return text.rpartition("=")[2] if CALCULATION.fullmatch(text) else text


def _named_tuples(text: str) -> list[str]:
    """Return the tuples of `p=5,q=2;p=7,q=2`, which is `(5,2),(7,2)`; none of any other text."""
    rows = [[named(item) for item in row.split(",")] for row in text.split(";")]
    names = [name for name, _ in rows[0]]
    if len(rows) == 1 or None in names or any([name for name, _ in row] != names for row in rows):
        return []
    return [f"({','.join(value for _, value in row)})" for row in rows]


def named(text: str) -> tuple[str | None, str]:
    """Return (name, value) of `x=5`, (None, text) of a text without a name."""
    match = NAMED.fullmatch(text)
    return (match[1], match[2]) if match else (None, text)


def name_several(items: list[str]) -> bool:
    """Return whether the items name different variables, as in `x = 1, y = 2`."""
    return len({name for item in items if (name := named(item)[0])}) > 1


def parts(text: str) -> tuple[str, list[str]]:
    """Split into (kind, items): `(1,2]` gives ("(]", ["1", "2"]), a bare list or a single thing "" for its kind."""
    if read_amount(text):
        return "", [text]
    if len(items := _listed(text)) > 1:
        return "", items
    for kind, separator in ((UNION_SIGN, UNION), (":", COLON)):
        if len(items := split(text, separator)) > 1:
            return kind, items
    body = text.replace("\\{", "{").replace("\\}", "}")
    kind = body[:1] + body[-1:]
    if not enclosed(body):
        return "", [text]
    items = _listed(body[1:-1])
    if len(items) == 1 and items[0] != "\\emptyset":
        return parts(items[0])
    return (kind, items) if len(items) > 1 else ("", [text])


def split(text: str, separator: re.Pattern[str] = SEPARATOR) -> list[str]:
    """Split at the separators that stand in no bracket."""
    spans = [match.span() for match in separator.finditer(text)]
    if spans:
        depth = depths(text)
        spans = [span for span in spans if depth[span[0]] == 0]
    starts, ends = [0, *(end for _, end in spans)], [*(start for start, _ in spans), len(text)]
    return [item for start, end in zip(starts, ends, strict=True) if (item := text[start:end])]


def _listed(text: str) -> list[str]:
    r"""Return the items of a list, two for `a \pm b`; a set among them is split later."""
    items = []
    for item in split(text):
        signs = 0 if item.startswith(("{", "\\{")) else len(PLUS_MINUS.findall(item))
        if signs > 1:
            raise Undecided("several signs ± in one value")
        items += [PLUS_MINUS.sub(sign, item) for sign in "+-"] if signs else [item]
    return items


def solutions(text: str) -> tuple[str | None, str] | None:
    r"""Return (variable, set): `x<1 or x≥3` is ("x", "(-\infty,1)\cup[3,\infty)"); None for other relations."""
    if not RELATION.search(text):
        return named(text)
    joints = {re.sub(r"[^a-z]|text", "", match[0]) for match in SEPARATOR.finditer(text)}
    if (left_out := LEFT_OUT.match(text)) and "or" not in joints:
        points = ",".join(_listed(",".join(item.removeprefix(left_out[0]) for item in split(text))))
        plain_points = not (RELATION.search(points) or VARIABLE.search(points))
        return (left_out[1], f"{ALL_REALS}\\setminus\\{{{points}\\}}") if plain_points else None
    intervals = [_interval(item) for item in split(text)]
    if None in intervals or len({variable for variable, _ in intervals}) > 1 or not joints <= {"or"}:
        return None
    return intervals[0][0], UNION_SIGN.join(interval for _, interval in intervals)


def _interval(text: str) -> tuple[str, str] | None:
    r"""Return (variable, interval) of `x<3`, `3>x` or `1<x≤3`; None when it is none of these."""
    if re.search("[>≥]", text):
        text = "".join(reversed(re.split("([<>≤≥])", text.translate(FLIPPED))))
    match = BOUNDED.fullmatch(text)
    if not match or VARIABLE.search(f"{match[1]} {match[5]}"):
        return None
    low, opening, variable, ending, high = match.groups()
    return variable, f"{'[' if opening == '≤' else '('}{low or LOWEST},{high or HIGHEST}{']' if ending == '≤' else ')'}"
