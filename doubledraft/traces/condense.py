"""Condense a worked solution to short steps by rule, without a model: the same numbers in few words.

A line becomes its last equation with the noun behind it; a line without one becomes its key words, numbers always kept.
Too many short steps: those without an equation are dropped first, then neighbours are merged by substituting the
expression of the earlier result (`3 * 5 = 15`, `15 + 2 = 17` to `3 * 5 + 2 = 17`). Too few: a line's other equations,
then the words before its equation, become short steps too. A solution that still breaks the rule is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from doubledraft.grading.extract import without_thoughts
from doubledraft.records import Trace
from doubledraft.traces.arithmetic import agree, value
from doubledraft.traces.draft_rule import OPERATORS, Rule, count_words, steps_of
from doubledraft.traces.verify import Dropped

ASCII = str.maketrans({"×": "*", "÷": "/", "−": "-", "·": "*", "–": "-"})
UNIT_INSIDE = re.compile(r"(?<![\w.])(\$?\d[\d.,]*)(?: ?[A-Za-z]{2,}(?:/[A-Za-z]+)?){1,2}(?= [-+*/=] )")
OPERAND = re.compile(r"[-+($]*(?:\d|[A-Za-z](?![A-Za-z])|\.\d)[\w.,^*/+()%$-]*")
ENDS = tuple(".,;:?!")
STOP_WORD = re.compile(
    r"a|an|the|this|that|these|those|there|here|is|are|was|were|be|been|being|am|do|does|did|has|have|had|it|its|he|she|they"
    r"|them|his|her|their|our|we|you|i|us|me|of|to|in|on|at|for|from|with|by|and|or|but|so|as|than|then|into|onto|about"
    r"|after|before|over|under|up|out|off|when|where|which|who|what|how|if|because|since|while|will|would|can|could|should"
    r"|must|may|might|let|also|just|now|still|only|very|gives?|given|gets?|got|makes?|becomes?|equals?|means?|says?|both"
    r"|same|own|one",
    re.IGNORECASE,
)


class NotCondensable(ValueError):
    """A solution that cannot be condensed within the rule; the message is the reason."""


@dataclass(frozen=True, slots=True)
class ShortStep:
    """One short step: the sides of an equation (none for key words) and the words behind it."""

    sides: tuple[str, ...]
    words: str = ""

    def __str__(self) -> str:
        return f"{' = '.join(self.sides)} {self.words}".strip()


def condense_lines(lines: list[str], rule: Rule) -> list[str]:
    """Condense a solution, one line per step, to lines that keep the rule; raise NotCondensable with the reason."""
    lines = [_spaced(line) for line in lines if line.strip()]
    steps = [_short_step(line, rule.max_words) for line in lines]
    if sum(step is not None for step in steps) < rule.min_steps:
        steps = _expanded(lines, steps, rule)
    steps = _shortened([step for step in steps if step], rule)
    if not rule.min_steps <= len(steps) <= rule.max_steps:
        raise NotCondensable(f"{len(steps)} steps where the rule asks for {rule.min_steps} to {rule.max_steps}")
    return [str(step) for step in steps]


def _spaced(line: str) -> str:
    """Write ASCII operators, spaces round every `=`, and `5 miles + 3 miles =` as `5 + 3 =`."""
    line = re.sub(r"(?<=\d) x (?=[$\d])", " * ", line.translate(ASCII))
    line = re.sub(r"\s*(?<![<>!=])=(?!=)\s*", " = ", line).strip()
    return UNIT_INSIDE.sub(r"\1", line) if " = " in line else line


def _short_step(line: str, max_words: int) -> ShortStep | None:
    """Return the short step of a line, None for a line without numbers or key words."""
    equations = _equations(line)
    if not equations and " = " in line:
        raise NotCondensable("an equation that is mixed with words")
    return _fitted(equations[-1][2], max_words) if equations else _key_words(line, max_words)


def _expanded(lines: list[str], steps: list[ShortStep | None], rule: Rule) -> list[ShortStep | None]:
    """Add short steps until there are enough: a line's earlier equations, then the words before its equation."""
    groups = [[step] if step else [] for step in steps]
    for more in (_earlier_equations, _words_before):
        for line, group in zip(lines, groups, strict=True):
            if sum(map(len, groups)) < rule.min_steps and group:
                group[:0] = more(line, rule.max_words)
    return [step for group in groups for step in group]


def _earlier_equations(line: str, max_words: int) -> list[ShortStep]:
    return [_fitted(step, max_words) for _, _, step in _equations(line)[:-1]]


def _words_before(line: str, max_words: int) -> list[ShortStep]:
    equations = _equations(line)
    if not equations:
        return []
    step = _key_words(" ".join(line.split()[: equations[0][0]]), max_words)
    return [step] if step and count_words(step.words) > 1 else []


def _equations(line: str) -> list[tuple[int, int, ShortStep]]:
    """List the equations of a line as (first token, token after the last, short step with the nouns behind it)."""
    tokens, equations, start = line.split(), [], 0
    while start < len(tokens):
        end = start
        if _is_operand(tokens[start]):
            while (
                end + 2 < len(tokens)
                and not tokens[end].endswith(ENDS)
                and tokens[end + 1] in OPERATORS
                and _is_operand(tokens[end + 2])
            ):
                end += 2
        text = _balanced(" ".join(tokens[start : end + 1]).rstrip("".join(ENDS)))
        sides = tuple(text.split(" = ")) if text else ()
        cut = start > 0 and tokens[start - 1] in OPERATORS - {"=", ":"}  # `his age * 3 = 15` is no `3 = 15`
        if len(sides) > 1 and not cut and _is_true(sides) and ("/" in sides[0] or not _is_number(sides[0])):
            nouns = "" if tokens[end].endswith(ENDS) else _nouns(tokens[end + 1 :])
            equations.append((start, end + 1, ShortStep(sides, nouns)))
        start = end + 1
    return equations


def _is_true(sides: tuple[str, ...]) -> bool:
    """Whether the numeric sides agree, as those of `3 + 4 = 10` do not, cut out of `twice 3 + 4 = 10`."""
    values = [number for side in sides if (number := value(side)) is not None]
    return all(agree(values[0], other) for other in values[1:])


def _is_operand(token: str) -> bool:
    core = token.rstrip("".join(ENDS))
    return bool(OPERAND.fullmatch(core)) and not re.search(r"(?<!\d)[A-Za-z]{2,}", core)


def _balanced(text: str) -> str:
    """Drop a closing bracket whose opening one stands before the equation; "" when brackets do not match otherwise."""
    if text.endswith(")") and text.count(")") == text.count("(") + 1:
        text = text[:-1]
    return text if text.count("(") == text.count(")") else ""


def _nouns(tokens: list[str]) -> str:
    """Return the one or two words behind an equation that name what was counted."""
    nouns = []
    for token in tokens[:2]:
        word = token.strip("".join(ENDS) + "()")
        if not word.isalpha() or STOP_WORD.fullmatch(word):
            break
        nouns.append(word)
        if token.endswith(ENDS):
            break
    return " ".join(nouns)


def _fitted(step: ShortStep, max_words: int) -> ShortStep:
    """Shorten an equation: fewer nouns first, then the middle of a chain of equalities."""
    candidates = [step, replace(step, words=step.words.rpartition(" ")[2]), replace(step, words="")]
    if len(step.sides) > 2:
        candidates += [ShortStep((step.sides[0], step.sides[-1])), ShortStep(step.sides[-2:])]
    for candidate in candidates:
        if count_words(str(candidate)) <= max_words:
            return candidate
    raise NotCondensable(f"an equation has more than {max_words} words")


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"[-+$(]*[\d.,/]+\)?%?", text))


def _key_words(line: str, max_words: int) -> ShortStep | None:
    """Keep the numbers, the words beside them, and as many other words as fit, in their order."""
    tokens = []
    for token in line.split():
        word = token.strip(".,;:?!()")
        if tokens and (word.casefold() == "and" or not word):
            tokens[-1] = tokens[-1].rstrip(",") + ","
        elif word and word not in OPERATORS and not STOP_WORD.fullmatch(word):
            tokens.append(word + ("," if token.endswith(",") else ""))
    numbers = [index for index, token in enumerate(tokens) if any(char.isdigit() for char in token)]
    if len(numbers) > max_words:
        raise NotCondensable(f"a step without equation has more than {max_words} numbers")
    beside = [index + offset for offset in (1, -1) for index in numbers if 0 <= index + offset < len(tokens)]
    places = list(dict.fromkeys([*numbers, *beside, *range(len(tokens))]))[:max_words]
    text = " ".join(tokens[index] for index in sorted(places)).rstrip(",")
    return ShortStep((), text) if text else None


def _shortened(steps: list[ShortStep], rule: Rule) -> list[ShortStep]:
    """Drop short steps without an equation, then merge neighbours, until there are no more than the rule allows."""
    while len(steps) > rule.max_steps:
        plain = next((index for index, step in enumerate(steps) if not step.sides), None)
        if plain is not None:
            steps = steps[:plain] + steps[plain + 1 :]
            continue
        merged = [_merged(first, second, rule.max_words) for first, second in zip(steps, steps[1:], strict=False)]
        index = next((index for index, step in enumerate(merged) if step), None)
        if index is None:
            raise NotCondensable(f"{len(steps)} steps, none of which merge, where the rule allows {rule.max_steps}")
        steps = [*steps[:index], merged[index], *steps[index + 2 :]]
    return steps


def _merged(first: ShortStep, second: ShortStep, max_words: int) -> ShortStep | None:
    """Substitute the expression of one equation for its result in the next; None where that is not exact."""
    *_, expression, result = first.sides
    *before, target, total = second.sides
    tokens = target.split()
    places = [index for index, token in enumerate(tokens) if token.strip("()") == result.strip("()")]
    operators = {token for token in expression.split() if token in OPERATORS}
    if len(places) != 1 or not operators or not _is_number(result):
        return None
    place = places[0]
    previous = tokens[place - 1] if place else ""
    following = tokens[place + 1] if place + 1 < len(tokens) else ""
    needs_brackets = (
        operators & {"+", "-"} and (previous in {"-", "*", "/", "^"} or following in {"*", "/", "^"})
    ) or (previous in {"/", "^"} or following == "^")
    tokens[place] = f"({expression})" if needs_brackets else expression
    merged = ShortStep((*before, " ".join(tokens), total), second.words)
    for candidate in (merged, replace(merged, words="")):
        if count_words(str(candidate)) <= max_words:
            return candidate
    return None


def condense(trace: Trace, type: str, rule: Rule) -> Trace:
    """Condense one trace within the rule, answer line unchanged; raise NotCondensable with the reason."""
    lines = [line.strip() for line in without_thoughts(trace.text).split("\n")]
    answer = [line for line in lines if line.startswith("####")][-1:]
    if not answer:
        raise NotCondensable("no answer line")
    return replace(trace, type=type, text="\n".join(condense_lines(steps_of(trace.text), rule) + answer))


def condense_all(traces: Sequence[Trace], type: str, rule: Rule) -> tuple[list[Trace], list[Dropped]]:
    """Condense every trace that can be condensed within the rule; the others are dropped with the reason."""
    kept, dropped = [], []
    for trace in traces:
        try:
            kept.append(condense(trace, type, rule))
        except NotCondensable as reason:
            dropped.append(Dropped(id=trace.id, reason=str(reason)))
    return kept, dropped
