r"""Decide whether two answers are equal, by the rules that doubledraft.grading.grader states.

Answers are taken apart (doubledraft.grading.parts); numbers, units and words are compared exactly and fast. What is
left, one piece of algebra at a time, goes to a function `algebra(gold, prediction)` of the caller. In the worker
process that is doubledraft.grading.algebra.compare; in the parent it raises NeedsAlgebra: nothing slow or hostile runs
there.
"""

import re
from collections import Counter
from collections.abc import Callable
from itertools import permutations

from doubledraft.grading.amounts import read_amount, same_amount, split_unit
from doubledraft.grading.notation import plain, to_latex
from doubledraft.grading.parts import RELATION, SUM, UNION_SIGN, name_several, named, parts, rewritten, solutions, split
from doubledraft.grading.words import Undecided, same_unit

Algebra = Callable[[str, str], bool]  # (gold, prediction), LaTeX without dollar signs

WORD = re.compile(
    r"(?<![\\A-Za-z])(?!(?:sinh|cosh|tanh)(?![A-Za-z]))[A-Za-z]{4,}|^(?:yes|no|all|odd|not|one|two|six|ten)$",
    re.IGNORECASE,
)
ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[a-z]+\}")
TOKEN = re.compile(r"\\?[a-z]+|\d+(?:\.\d+)?|[^\w\s.,;!?'\"{}$]|_")
AMBIGUOUS = re.compile(r"/(?:\d+|[A-Za-z])(?:[A-Za-z(]|\\(?:pi|sqrt|frac)|(?<=[A-Za-z])\d)")  # `2/3x`, `a/bc`
END_TOKEN = re.compile(r"</?s>|<\|?[a-z_]+\|?>|<(?:eos|end_of_turn)>")
DATE = re.compile(r"(\d{4})[-/](\d\d?)[-/](\d\d?)|(\d\d?)/(\d\d?)/(\d{4})")  # else a difference, or a fraction
BASE = re.compile(r"(-?)\(?(\d[\dA-F]*)\)?_\{?(?:\\text\{)?(\w+)\}*")
PRODUCTS = re.compile(r"(?!no|on|[a-z]{2} (?:no|on))[a-z]{2} [a-z]{2}")  # `xy` and `yx`
MOST_ITEMS = 20  # of an unordered list that have no equal text on the other side
THOUSANDS = re.compile(r"\d{1,3}(?:,[1-9]\d\d)+")  # which may also be a list
COUNT = re.compile(r"[CP]\(\d+,\d+\)")  # of combinations or permutations, unless it is a point
BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])")
CLOSED_INFINITY = re.compile(r"\[-\\infty|\\infty\]")


class NeedsAlgebra(Exception):
    """The pieces are no plain numbers or words."""


def same(gold: str, prediction: str, algebra: Algebra) -> bool:
    """Compare two answers; raise Undecided where the rules do not decide, and whatever `algebra` raises."""
    if gold != prediction and (END_TOKEN.search(gold) or END_TOKEN.search(prediction)):
        raise Undecided("a special token of a model")
    return _same(plain(gold), plain(prediction), algebra)


def _same(gold: str, prediction: str, algebra: Algebra) -> bool:
    if not gold or not prediction or gold == prediction:
        return bool(gold) and gold == prediction
    gold, prediction = rewritten(gold), rewritten(prediction)
    if RELATION.search(gold) or RELATION.search(prediction):
        return _same_relations(gold, prediction, algebra)
    if any(COUNT.fullmatch(one) and read_amount(other) for one, other in permutations((gold, prediction))):
        raise Undecided("a point against a number, which may be a number of combinations")
    (gold_name, gold_value), (name, value) = named(gold), named(prediction)
    if gold_name and name and gold_name != name:
        if (read_amount(gold_value) or read_amount(value)) and not SUM.search(gold_name + name):
            return False
        return _same_algebra(gold, prediction, algebra)  # two equations: `y=2x` and `x=y/2`
    if bool(gold_name) != bool(name) and "=" in (prediction if gold_name else gold):
        return _same_algebra(gold, prediction, algebra)  # `y=2x` and `2x-y=0`
    return _same_parts(gold_value, value, algebra)


def _same_parts(gold: str, prediction: str, algebra: Algebra) -> bool:
    (gold_kind, gold_items), (kind, items) = parts(gold), parts(prediction)
    if UNION_SIGN in (gold_kind, kind):
        same_parts = gold_kind == kind and len(gold_items) == len(items) and _same_items(gold_items, items, algebra)
        closed = [bool(CLOSED_INFINITY.search(text)) for text in (gold, prediction)]
        return same_parts or (closed[0] == closed[1] and _same_algebra(gold, prediction, algebra))
    if len(gold_items) != len(items):
        gold_items, items = _as_list(gold_items, len(items)), _as_list(items, len(gold_items))
    if len(gold_items) != len(items):
        return False
    if len(items) == 1:
        return _same_one(gold_items[0], items[0], algebra)
    if gold_kind != kind and not ("" in (gold_kind, kind) and (gold_kind or kind) in ("()", "[]", "{}")):
        return False  # a set against a tuple, a ratio against a list
    if {gold_kind, kind} <= {"", "{}"} and name_several(gold_items) == name_several(items):
        return _same_items(gold_items, items, algebra)
    names = [name for item in gold_items + items if (name := named(item)[0])]
    if set(names) <= set("xyz") and len(names) == len(items) and names != sorted(names):
        raise Undecided("coordinates named in another order")
    return _same_in_order(gold_items, items, algebra)


def _as_list(items: list[str], length: int) -> list[str]:
    """Read `81,256` as a list of two where the other side is one, and as a number elsewhere."""
    numbers = items[0].split(",") if len(items) == 1 and THOUSANDS.fullmatch(items[0]) else []
    return numbers if len(numbers) == length else items


def _same_items(gold: list[str], items: list[str], algebra: Algebra) -> bool:
    """Compare without regard to order: each item needs a partner of its own."""
    gold, items = list((Counter(gold) - Counter(items)).elements()), list((Counter(items) - Counter(gold)).elements())
    if len(gold) > MOST_ITEMS:
        raise Undecided(f"a list of more than {MOST_ITEMS} values")
    outcomes = [[_outcome(one, other, algebra) for other in items] for one in gold]
    if _partners([[outcome is True for outcome in row] for row in outcomes]):
        return True
    if not _partners([[outcome is not False for outcome in row] for row in outcomes]):
        return False
    raise _most_open([outcome for row in outcomes for outcome in row])


def _same_in_order(gold: list[str], items: list[str], algebra: Algebra) -> bool:
    outcomes = [_outcome(one, other, algebra) for one, other in zip(gold, items, strict=True)]
    if False in outcomes or all(outcome is True for outcome in outcomes):
        return False not in outcomes
    raise _most_open(outcomes)


def _outcome(one: str, other: str, algebra: Algebra) -> bool | Exception:
    """Return whether two items are equal, or the exception that says why this is open."""
    try:
        return _same(one, other, algebra)
    except (Undecided, NeedsAlgebra) as reason:
        return reason


def _most_open(outcomes: list[bool | Exception]) -> Exception:
    """Return the exception to raise for several items: algebra may still decide what the rules cannot."""
    return max((one for one in outcomes if isinstance(one, Exception)), key=lambda one: isinstance(one, NeedsAlgebra))


def _partners(fits: list[list[bool]]) -> bool:
    """Return whether each row can have a column of its own that fits it (bipartite matching)."""
    row_of: dict[int, int] = {}

    def place(row: int, tried: set[int]) -> bool:
        for column in {column for column, fit in enumerate(fits[row]) if fit} - tried:
            tried.add(column)
            if column not in row_of or place(row_of[column], tried):
                row_of[column] = row
                return True
        return False

    return all(place(row, set()) for row in range(len(fits)))


def _same_relations(gold: str, prediction: str, algebra: Algebra) -> bool:
    """Compare inequalities as the sets of their solutions, where they have one variable on a side of its own."""
    if BOX.search(gold) or BOX.search(prediction):  # whose answer may be the box, or the whole
        raise Undecided("a box in a relation")
    sets = solutions(gold), solutions(prediction)
    if all(sets):
        (gold_name, gold), (name, prediction) = sets
        return (not gold_name or not name or gold_name == name) and _same(gold, prediction, algebra)
    if len(split(gold)) > 1 or len(split(prediction)) > 1:
        raise Undecided("several inequalities that cannot be joined")
    return bool(RELATION.search(gold)) == bool(RELATION.search(prediction)) and _same_algebra(gold, prediction, algebra)


def _same_one(gold: str, prediction: str, algebra: Algebra) -> bool:
    texts = (gold, prediction)
    for pattern, what in ((BASE, "number base"), (DATE, "date")):
        if any(matches := [pattern.fullmatch(text) for text in texts]):
            if not all(matches):
                raise Undecided(f"a {what} on one side only")
            return matches[0].groups() == matches[1].groups()
    amounts = [read_amount(text) for text in texts]
    if all(amounts):
        return same_amount(*amounts)
    pieces = [(one.latex(), one.unit) if one else split_unit(text) for one, text in zip(amounts, texts, strict=True)]
    if not same_unit(pieces[0][1], pieces[1][1]):
        return False
    return _same_algebra(pieces[0][0], pieces[1][0], algebra)


def _same_algebra(gold: str, prediction: str, algebra: Algebra) -> bool:
    """Compare words as words, and put everything else to `algebra`."""
    if not PRODUCTS.fullmatch(gold + " " + prediction) and all(
        text.isalpha() or _has_words(text) for text in (gold, prediction)
    ):
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
    gold_words, words = _words(gold), _words(prediction)
    if gold_words == words:
        return True
    if set(gold_words) < set(words) or set(words) < set(gold_words):
        raise Undecided("one answer has more words than the other")
    if sorted("".join(gold_words)) == sorted("".join(words)):
        raise Undecided("the same letters in another order")  # a word, or a product of variables
    return False


def _words(text: str) -> list[str]:
    """Return the words, numbers and signs of a text, without articles and punctuation."""
    words = TOKEN.findall(re.sub(r"\\(?:text|mathrm|mbox)\b", " ", text).casefold())
    return [word for word in words if word not in ("the", "a", "an")] or words
