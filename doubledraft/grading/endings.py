r"""The ways in which people and models end an answer, as one small grammar.

    ending  = "####" phrase                 on a line of its own, or inside a line
            | box (joint box)* factor*      `\boxed{3}$ and $\boxed{4}`, `\boxed 9`, `\boxed{6}\pi`
            | "answer is" phrase            also "answers are", "Final Answer:", "**Answer**:"
            | value (joint value)* factor*  the last one of the text
    phrase  = clause                        up to the end of the sentence, a reason, or a remark in brackets
    value   = formula | word with a digit, and what operators, brackets or a fraction join to it
    joint   = "," | ";" | "and" | "or"
    factor  = `\pi`, a root, a power, percent, a unit, "million" ...

The first row of ENDINGS that finds something counts, and in it the last place of the text. Delimiters of formulas are
dropped. What is joined stays together: half of an answer must not pass for the whole.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from doubledraft.grading.notation import FORMULA, formulas_bare

LONGEST = 1000  # characters of a phrase that are read; longer answers are undecided in any case
BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)|[{}]")
BARE_BOX = re.compile(r"\\(?:boxed|fbox)\s*(-?\d[\d,]*(?:\.\d+)?|-?\\frac ?\d ?\d|[A-Za-z](?![A-Za-z]))")
JOINT = re.compile(r"[,;&]|\b(?:and|or|as well as)\b")
BETWEEN_BOXES = re.compile(
    r"(?:[\s$,;&]|\\[()\[\],;: ]|\\q?quad(?![A-Za-z])|\\text\s*\{[\s,]*(?:and|or)?\s*\}|\b(?:and|or|as well as|so)\b"
    r"|[A-Za-z](?:_\w)?\s*=)*"
)
SCALE = r"(?:hundred|thousand|million|billion|trillion|dozen|percent)s?\b"
FACTOR = re.compile(
    r"(?:(?:\s|\\[,;: ])?(?:\\pi(?![A-Za-z])|π|\\sqrt ?\{[^{}]*\}|√\d+|\\?%|\^ ?(?:\{[^{}]*\}|\w)|\\text ?\{ ?[^{} ]*\}"
    r"|(?:\\times|\\cdot|[×·*]) ?10 ?\^ ?\{?-?\d+\}?|\\mathrm ?\{[^{}]*\}|(?<=\})[a-z](?![A-Za-z]))"
    rf"|(?:\$|\\\))?\s?{SCALE})*"
)
HEAD = re.compile(
    r"\banswers?\**(?: (?:to|for|of) [^.:\n]{1,80}?)?(?:\s+(?:is|are|was|were|will be|would be|equals?)\b|\s*[:=])"
    r"[\s:*=]*(?!(?:not )?(?:correct|right|wrong|incorrect|reasonable|below|above|as follows|found|given)\b)(?=\S)",
    re.IGNORECASE,
)
STOP = re.compile(  # ends the clause of an answer
    r"\.(?=\s|$)|[!?](?=\s|$)|\n|,? \((?=[A-Za-z]{2,}\b)|,? (?:because|since|which|where|when|as|so|for|if|but|while"
    r"|given|after|respectively|in total|in all|altogether)\b| of (?:it|them|the|all|these|those|his|her|their)\b"
)
STARTS = re.compile(  # as mathematics does, and not as prose
    r"[-+−–~]?[$€£¥]?\.?\d|[-+−–]?\\|[-−–]|[(\[{|√π∞=]|[A-Za-z]\w?(?:\([a-z]\))?'?\s*[=<>≤≥≠^+*/−–-]"
)
COPULA = re.compile(r" (?:is|are|was|were|equals?|becomes?)\b(?: equal to| given by| therefore| thus| then)?:? ")
HEDGED = re.compile(r"\b(?:not|never|than|least|most|between|negative|minus|half|twice|double|no)\b|n't\b")
CALCULATOR = re.compile(r"<<[^<>]*>>")
WORD = re.compile(  # a formula, or what stands between spaces; brackets keep their spaces, but not their prose
    FORMULA.pattern + r"|(?P<word>[-−(]?(?:US)?\$?"
    r"(?:[(\[](?:[^()\[\]A-Za-z\n]|[A-Za-z]{1,2}(?![A-Za-z])){1,80}[)\]]|(?!\$|\\[(\[])[^\s—\u2e80-\u9fff\uac00-\ud7af])+|\$)",
    re.DOTALL,
)
HAS_VALUE = re.compile(r"\d|[π∞]|\\(?:pi|infty|emptyset|varnothing)(?![A-Za-z])")
KINDS = (  # of words, each a letter of the patterns below; the first that fits
    ("J", re.compile(r"and|&")),
    ("R", re.compile(r"or")),
    ("O", re.compile(r"[-+−–*/×·÷^=<>≤≥≠±:]+")),
    ("N", re.compile(r"[-−]?\d+")),
    ("F", re.compile(r"\d+/\d+")),
    ("L", re.compile(r"[A-Za-z](?:_[A-Za-z]|\([a-z]\))?")),
)
OPERAND = "[LNFVM]"
EXPRESSION = rf"(?:{OPERAND}O){{0,20}}(?:NF|[NFVM])(?:O{OPERAND}){{0,20}}"  # `1 1/2`, `x = 2 + 3`
EQUATION = "LO(?:NF|[NFVM])"
LISTED = re.compile(  # `1, 2 and 3`, `$x$ or $y$`, `x = 1 or x = 2`, and at the end `1, 2`
    rf"(?:{EXPRESSION}C){{0,20}}{EXPRESSION}C?J{EXPRESSION}|M(?:C?[JR]M){{1,20}}|(?:{EXPRESSION}C){{1,20}}{EXPRESSION}(?=S?$)"
    rf"|{EQUATION}(?:C?[JR]{EQUATION}){{1,20}}|{EXPRESSION}"
)
EDGES = "\"'“”‘’`*_,;:!?…"


@dataclass(frozen=True, slots=True)
class Ending:
    """One way to end an answer: its name, the function that reads it, and texts with what is read from each."""

    name: str
    read: Callable[[str], str | None]
    examples: dict[str, str]


def line_mark(text: str) -> str | None:
    """Return what follows `####` on the last line that starts with it."""
    lines = [line.strip() for line in text.split("\n")]
    marked = [line.removeprefix("####").strip() for line in lines if line.startswith("####")]
    return (marked[-1] or None) if marked else None


def _inline_mark(text: str) -> str | None:
    """Return the phrase behind the last `####` inside a line."""
    return _phrase(text.rpartition("####")[2].partition("\n")[0]) if "####" in text else None


def _last_box(text: str) -> str | None:
    """Return the content of the last balanced box, with the boxes that it is joined to and the factors behind it."""
    boxes, opened = [], []  # boxes: (start, end, content); opened: start of the content for a box, None for a brace
    box = None
    for match in BOX.finditer(text):
        if match[0] == "{":
            opened.append((box, match.end()) if box is not None else None)
        elif match[0] == "}" and opened and (begun := opened.pop()):
            boxes.append((begun[0], match.end(), text[begun[1] : match.start()].strip()))
        box = match.start() if match[0][0] == "\\" else None
    boxes += [(match.start(), match.end(), match[1].rstrip(",")) for match in BARE_BOX.finditer(text)]
    boxes.sort(key=lambda box: box[1])
    if not boxes:
        return None
    joined = boxes[-1:]
    for earlier in reversed(boxes[:-1]):
        between = text[earlier[1] : joined[0][0]]
        if not JOINT.search(between) or not BETWEEN_BOXES.fullmatch(between):
            break
        joined.insert(0, earlier)
    factors = FACTOR.match(text, joined[-1][1])[0].replace("$", "").replace("\\)", "")
    return ", ".join(content for _, _, content in joined) + factors or None


def _answer_is(text: str) -> str | None:
    """Return the phrase behind the last "answer is", "answers are", "answer:"."""
    heads = list(HEAD.finditer(text))
    return _phrase(text[heads[-1].end() : heads[-1].end() + LONGEST]) if heads else None


def _phrase(text: str) -> str | None:
    """Return the answer that a phrase gives: the clause, or the one value in a clause of prose."""
    clause = _clause(text)
    if STARTS.match(clause):
        return COPULA.split(clause)[0].strip(" *,")
    clause = COPULA.split(clause)[-1]
    if STARTS.match(clause) or HEDGED.search(clause):
        return clause
    values = sum(bool(HAS_VALUE.search(match[0])) for match in WORD.finditer(clause))
    if values == 1:
        return _last_value(clause)
    return clause if clause and (values or len(clause.split()) <= 5) else None


def _clause(text: str) -> str:
    text = text.strip(" *")
    formulas = [match.span() for match in FORMULA.finditer(text)]
    for stop in STOP.finditer(text):
        if not any(start <= stop.start() < end for start, end in formulas):
            text = text[: stop.start()]
            break
    return formulas_bare(text).strip(" *\n")


def _last_value(text: str) -> str | None:
    """Return the last value of a text with all that is joined to it."""
    text = CALCULATOR.sub("", text)
    kinds, places = [], []
    for word in WORD.finditer(text):
        kinds += _kinds(word)
        places += [word.span()] * (len(kinds) - len(places))
    values = list(LISTED.finditer("".join(kinds)))
    if not values:
        return None
    start, end = places[values[-1].start()][0], places[values[-1].end() - 1][1]
    factors = FACTOR.match(text, end)[0].replace("$", "")
    value = formulas_bare(text[start:end]).strip(EDGES).rstrip(".")
    for pair in ("()", "[]"):
        if value.count(pair[0]) != value.count(pair[1]):
            value = value.strip(pair)
    return value.strip(EDGES) + factors or None


def _kinds(word: re.Match[str]) -> str:
    """Return the kind of a word, with C for a comma behind it or S for the end of a sentence."""
    if word["word"] is None:
        return "M" if HAS_VALUE.search(word[0]) else "X"
    bare = word[0].strip(EDGES).rstrip(".")
    kind = next((kind for kind, pattern in KINDS if pattern.fullmatch(bare or word[0])), None)
    behind = "C" if word[0].endswith(",") else "S" if word[0].endswith((".", ";", "!", "?")) else ""
    return (kind or ("V" if HAS_VALUE.search(bare) else "X")) + behind


ENDINGS = (
    Ending("a line of its own", line_mark, {"3 * 5 = 15 apples\n#### 15": "15"}),
    Ending(
        "a mark inside a line",
        _inline_mark,
        {"Combine the products. #### 21y + 14": "21y + 14", "It is a circle. #### circle": "circle"},
    ),
    Ending(
        "a box",
        _last_box,
        {
            "so \\boxed{\\frac{3}{4}} and 9": "\\frac{3}{4}",
            "$\\boxed{3}$, $\\boxed{5}$, and \\(\\boxed{7}\\)": "3, 5, 7",
            "The count is \\boxed 7, of 12.": "7",
            "\\boxed{6}\\pi": "6\\pi",
            "\\boxed{6} million": "6 million",
        },
    ),
    Ending(
        "a closing sentence",
        _answer_is,
        {
            "The answer is 12 apples. There were 30.": "12 apples",
            "The answer is $x=5$ or $x=6$.": "x=5 or x=6",
            "The answer is $18, but he paid $20.": "$18",
            "The answer is therefore 5.": "5",
            "Final Answer: The final answer is $[3,7)$. I hope it is correct.": "[3,7)",
            "Final Answer: The largest $n$ is 34.": "34",
            "**Answer**: 61 (out of 70)": "61",
            "Answer:\n\n42": "42",
        },
    ),
    Ending(
        "the last value",
        _last_value,
        {
            "Hence $$ x = \\frac{3}{4} $$": "x = \\frac{3}{4}",
            "5 apples and 7 pears make 12, or 1,200 grams.": "1,200",
            "There are about 3.2 × 10^5 of them.": "3.2 × 10^5",
            "We need 1 1/2 cups.": "1 1/2",
            "Thus A = 3i + 6i": "A = 3i + 6i",
            "The roots are 3 and 4.": "3 and 4",
            "So x = 3 or x = 4": "x = 3 or x = 4",
            "The solution is [-3, 2].": "[-3, 2]",
            "It is 5 million.": "5 million",
            "<<48/2=24>>24 clips": "24",
        },
    ),
)
