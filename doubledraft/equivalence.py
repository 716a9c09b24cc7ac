r"""Decide whether two answers are equal, by the rules that doubledraft.answers states.

Numbers, units, words, lists, tuples and inequalities are taken apart here, exactly and fast. What is left of an answer,
one piece of algebra at a time, is put to a function `algebra(gold, prediction)` that the caller gives: in the worker
process that is doubledraft.algebra, in the parent it raises NeedsAlgebra, so that nothing slow or hostile runs there.
"""

import re
from collections.abc import Callable

from doubledraft.amounts import read_amount, same_amount, same_unit, split_unit
from doubledraft.notation import closing, plain, to_latex

Algebra = Callable[[str, str], bool]  # (gold, prediction), LaTeX without dollar signs

WORD = re.compile(
    r"(?<![\\A-Za-z])(?!(?:sinh|cosh|tanh)(?![A-Za-z]))[A-Za-z]{4,}|^(?:yes|no|all|odd|not)$", re.IGNORECASE
)
ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[a-z]+\}")
NAME = (  # of a value: `x`, `f(2)`, `AB`, `\angle ABC`, `\text{Area}`, `total cost`
    r"[A-Za-z]'?(?:_\{?\w+\}?)?(?:\([^()=]*\))?|[A-Z]{2,3}|\\angle ?[A-Z]{1,3}|\\(?:theta|alpha|beta|lambda|mu|phi)"
    r"|\\(?:text|mathrm)\{[^{}]*\}|(?=[^=]*[A-Za-z]{4})[A-Za-z ]+"
)
NAMED = re.compile(rf"({NAME}) ?(?:=|\\in(?![A-Za-z]) ?)([^=]+)")
NAMED_TUPLE = re.compile(r"\((\w(?:,\w)+)\)=\((.*)\)")
CALCULATION = re.compile(r"(?:\\(?:times|cdot|div|frac|sqrt)|[^A-Za-z\\=])+=(?:\\(?:frac|sqrt|pi)|[^A-Za-z\\])+")
RELATIONS = {"\\leq": "≤", "\\le": "≤", "<=": "≤", "\\geq": "≥", "\\ge": "≥", ">=": "≥", "\\lt": "<", "\\gt": ">"}
RELATION = re.compile(r"[<>≤≥]|\\neq?(?![A-Za-z])")
FLIPPED = str.maketrans("<>≤≥", "><≥≤")
VARIABLE = re.compile(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])")
SEPARATOR = re.compile(r",? ?\\text\{ ?(?:and|or) ?\} ?|,? ?(?<![A-Za-z\\])(?:and|or)(?![A-Za-z]) ?|[,;] ?")
COLON, UNION = re.compile(r":"), re.compile(r"\\cup(?![A-Za-z]) ?")
UNION_SIGN = "\\cup"
BRACKETS = ("()", "[]", "(]", "[)", "{}")
REALS = re.compile(r"\\(?:mathbb\{R\}|R(?![A-Za-z]))|(?:all |the )*real numbers", re.IGNORECASE)
AMBIGUOUS = re.compile(r"/(?:\d+|[A-Za-z])(?:[A-Za-z(]|\\(?:pi|sqrt|frac)|(?<=[A-Za-z])\d)")  # `2/3x`, `a/bc`
BASE = re.compile(r"(\d[\dA-F]*)_\{?(?:\\text\{)?(\w+)\}*")
PLUS_MINUS, MINUS_PLUS = re.compile(r"\\pm(?![A-Za-z]) ?"), re.compile(r"\\mp(?![A-Za-z]) ?")


class Undecided(Exception):
    """The rules cannot tell; the message is the reason."""


class NeedsAlgebra(Exception):
    """The pieces are no plain numbers or words."""


def same(gold: str, prediction: str, algebra: Algebra) -> bool:
    """Compare two answers; raises Undecided, and whatever `algebra` raises."""
    return _same(plain(gold), plain(prediction), algebra)


def _same(gold: str, prediction: str, algebra: Algebra) -> bool:
    if not gold or not prediction or gold == prediction:
        return bool(gold) and gold == prediction
    gold, prediction = _with_signs(gold), _with_signs(prediction)
    if RELATION.search(gold) or RELATION.search(prediction):
        return _same_relations(gold, prediction, algebra)
    (gold_name, gold_value), (name, value) = _named(gold), _named(prediction)
    if gold_name and name and gold_name != name:
        if read_amount(gold_value) or read_amount(value):
            return False
        return _same_algebra(gold, prediction, algebra)  # two equations: `y=2x` and `x=y/2`
    if bool(gold_name) != bool(name) and "=" in (prediction if gold_name else gold):
        return _same_algebra(gold, prediction, algebra)  # `y=2x` and `2x-y=0`
    return _same_parts(gold_value, value, algebra)


def _with_signs(text: str) -> str:
    """Write each relation as one sign, a calculation as its result, `3=x` as `x=3`, `(x,y)=(1,2)` as `x=1,y=2`."""
    text = re.sub(r"\\(?:leq?|geq?|lt|gt)(?![A-Za-z]) ?|[<>]=", lambda match: RELATIONS[match[0].strip()], text)
    if (match := NAMED_TUPLE.fullmatch(text)) and len(names := match[1].split(",")) == len(values := _split(match[2])):
        return ",".join(f"{name}={value}" for name, value in zip(names, values, strict=True))
    if match := re.fullmatch(r"([^=]+)=([A-Za-z])", text):
        return text if VARIABLE.fullmatch(match[1]) else f"{match[2]}={match[1]}"
    name, *values = text.split("=")
    if len(values) > 1 and len(_split(text)) == 1 and re.fullmatch(NAME, name):  # `x=2+3=5`
        return f"{name}={values[-1]}"
    text = REALS.sub(r"(-\\infty,\\infty)", text)
    return text.rpartition("=")[2] if CALCULATION.fullmatch(text) else text


def _named(text: str) -> tuple[str | None, str]:
    match = NAMED.fullmatch(text)
    return (match[1], match[2]) if match else (None, text)


# lists, tuples, sets


def _same_parts(gold: str, prediction: str, algebra: Algebra) -> bool:
    (gold_kind, gold_items), (kind, items) = _parts(gold), _parts(prediction)
    if UNION_SIGN in (gold_kind, kind):
        same_parts = gold_kind == kind and len(gold_items) == len(items) and _same_items(gold_items, items, algebra)
        return same_parts or _same_algebra(gold, prediction, algebra)
    if len(gold_items) != len(items):
        return False
    if len(items) == 1:
        return _same_one(gold_items[0], items[0], algebra)
    if gold_kind != kind and not ("" in (gold_kind, kind) and (gold_kind or kind) in ("()", "[]", "{}")):
        return False  # a set against a tuple, a ratio against a list
    if {gold_kind, kind} <= {"", "{}"} and _names_order(gold_items) == _names_order(items):
        return _same_items(gold_items, items, algebra)
    return all(_same(one, other, algebra) for one, other in zip(gold_items, items, strict=True))


def _same_items(gold: list[str], items: list[str], algebra: Algebra) -> bool:
    """Compare without regard to order."""
    left, undecided = list(items), None
    for one in gold:
        for other in left:
            try:
                if _same(one, other, algebra):
                    left.remove(other)
                    break
            except Undecided as reason:  # another may fit
                undecided = reason
        else:
            if undecided:
                raise undecided
            return False
    return True


def _names_order(items: list[str]) -> bool:
    """Tell whether the items name different variables, as in `x = 1, y = 2`."""
    return len({match[1] for item in items if (match := NAMED.fullmatch(item))}) > 1


def _parts(text: str) -> tuple[str, list[str]]:
    """Split into (kind, items): `(1,2]` gives ("(]", ["1", "2"]), a bare list or a single thing "" for its kind."""
    if read_amount(text):
        return "", [text]
    items = [branch for item in _split(text) for branch in _branches(item)]
    if len(items) > 1:
        return "", items
    for kind, separator in ((UNION_SIGN, UNION), (":", COLON)):
        if len(items := _split(text, separator)) > 1:
            return kind, items
    body = text.replace("\\{", "{").replace("\\}", "}")
    kind = body[:1] + body[-1:]
    if kind not in BRACKETS or closing(body, 0) != len(body) - 1:
        return "", [text]
    items = _split(body[1:-1])
    if kind == "{}":
        items = [branch for item in items for branch in _branches(item)]
    if len(items) == 1 and kind in ("()", "[]", "{}"):
        return _parts(items[0])
    return (kind, items) if len(items) > 1 else ("", [text])


def _split(text: str, separator: re.Pattern[str] = SEPARATOR) -> list[str]:
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
    r"""Give the two values of `a \pm b`; those of a set are its own matter."""
    signs = len(PLUS_MINUS.findall(item))
    if not signs or item.startswith(("{", "\\{")):
        return [item]
    if signs > 1:
        raise Undecided("several signs ± in one value")
    return [PLUS_MINUS.sub(one, MINUS_PLUS.sub(other, item)) for one, other in ("+-", "-+")]


# inequalities


def _same_relations(gold: str, prediction: str, algebra: Algebra) -> bool:
    """Compare inequalities as the sets of their solutions, where they have one variable on a side of its own."""
    sets = _solutions(gold), _solutions(prediction)
    if all(sets):
        (gold_name, gold), (name, prediction) = sets
        return (not gold_name or not name or gold_name == name) and _same(gold, prediction, algebra)
    if len(_split(gold)) > 1 or len(_split(prediction)) > 1:
        raise Undecided("several inequalities that cannot be joined")
    return bool(RELATION.search(gold)) == bool(RELATION.search(prediction)) and _same_algebra(gold, prediction, algebra)


def _solutions(text: str) -> tuple[str | None, str] | None:
    r"""Give (variable, set): `x<1 or x≥3` is ("x", "(-\infty,1)\cup[3,\infty)"); None when that cannot be said."""
    if not RELATION.search(text):
        return _named(text)
    words = {re.sub(r"[^a-z]|text", "", match[0]) for match in SEPARATOR.finditer(text)}
    found = [_interval(part) for part in _split(text)]
    if None in found or len({variable for variable, _ in found}) > 1 or not words <= {"or"}:
        return None
    return found[0][0], UNION_SIGN.join(interval for _, interval in found)


def _interval(part: str) -> tuple[str, str] | None:
    r"""Give (variable, interval) of `x<3`, `3>x` or `1<x≤3`; None when it is none of these."""
    tokens = re.split("([<>≤≥])", part)
    if len(tokens) in (3, 5) and tokens[1] in ">≥":
        tokens = [token.translate(FLIPPED) for token in reversed(tokens)]
    if len(tokens) == 3:
        tokens = ["-\\infty", "<", *tokens] if VARIABLE.fullmatch(tokens[0]) else [*tokens, "<", "\\infty"]
    if len(tokens) != 5 or not set(tokens[1::2]) <= {"<", "≤"} or not VARIABLE.fullmatch(tokens[2]):
        return None
    low, opening, variable, ending, high = tokens
    if not low or not high or VARIABLE.search(low + " " + high):
        return None
    return variable, f"{'[' if opening == '≤' else '('}{low},{high}{']' if ending == '≤' else ')'}"


# single things


def _same_one(gold: str, prediction: str, algebra: Algebra) -> bool:
    texts = (gold, prediction)
    if any(bases := [BASE.fullmatch(text) for text in texts]):
        if not all(bases):
            raise Undecided("a number base on one side only")
        return bases[0].groups() == bases[1].groups()
    amounts = [read_amount(text) for text in texts]
    if all(amounts):
        return same_amount(*amounts)
    pieces = [(one.latex(), one.unit) if one else split_unit(text) for one, text in zip(amounts, texts, strict=True)]
    if not same_unit(pieces[0][1], pieces[1][1]):
        return False
    return _same_algebra(pieces[0][0], pieces[1][0], algebra)


def _same_algebra(gold: str, prediction: str, algebra: Algebra) -> bool:
    """Compare words as words, and put everything else to `algebra`."""
    if all(text.isalpha() or _has_words(text) for text in (gold, prediction)):
        return _same_words(gold, prediction)
    for name, text in (("gold answer", gold), ("prediction", prediction)):
        if _has_words(text) or re.search(r"\d \d", text):
            raise Undecided(f"the {name} cannot be parsed")
    equations = ["=" in re.sub(r"\{[^{}]*\}", "", text) for text in (gold, prediction)]  # not the one of \sum_{n=1}
    if equations[0] != equations[1]:
        return False
    gold, prediction = to_latex(gold), to_latex(prediction)
    if gold != prediction and (AMBIGUOUS.search(gold) or AMBIGUOUS.search(prediction)):
        raise Undecided("a product behind a slash, without brackets")
    return gold == prediction or algebra(gold, prediction)


def _has_words(text: str) -> bool:
    return bool(WORD.search(ENVIRONMENT.sub("", text)))


def _same_words(gold: str, prediction: str) -> bool:
    ones, others = _words(gold), _words(prediction)
    if ones == others:
        return True
    if set(ones) < set(others) or set(others) < set(ones):
        raise Undecided("one answer has more words than the other")
    if sorted("".join(ones)) == sorted("".join(others)):
        raise Undecided("the same letters in another order")  # a word, or a product of variables
    return False


def _words(text: str) -> list[str]:
    words = re.findall(r"[a-z0-9]+", re.sub(r"\\[a-z]+", " ", text).casefold())
    return [word for word in words if word not in ("the", "a", "an")] or words
