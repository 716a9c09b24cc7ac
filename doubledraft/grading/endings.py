"""The ways in which people and models end an answer: the grammar of docs/grading.md, which has an example of each.

The first row of ENDINGS that finds something counts, and in it the last place of the text. Delimiters of formulas are
dropped. What is joined stays together: half of an answer must not pass for the whole.
"""

import re

from doubledraft.grading.notation import FORMULA, FUNCTIONS, depths, formulas_bare
from doubledraft.grading.words import SHORT

LONGEST = 1000  # characters of a phrase that are read; longer answers are undecided in any case
BOX = re.compile(
    r"(?P<box>(?P<minus>(?<![\w)}])(?<![\d)}] )-)?\\(?:boxed|fbox)\s*)"
    r"(?:\{|(?P<bare>-?\d[\d,]*(?:\.\d+)?|-?\\frac ?\d ?\d|[A-Za-z](?![A-Za-z])))|[{}]"
)
JOINT = r"[,;&]|\b(?:and(?: also)?|or(?: else)?|as well as)\b"
BETWEEN_BOXES = re.compile(  # on one line, or joined by a word
    rf"(?:(?=.*(?:{JOINT}))|(?!.*\n))"
    rf"(?:[\s${{}}]|{JOINT}|\\[()\[\],;: ]|\\(?:q?quad|text)(?![A-Za-z])|[A-Za-z](?:_\w)?\s*=)*",
    re.DOTALL,
)
SCALE = r"(?:hundred|thousand|million|billion|trillion|dozen|percent)s?\b"
FACTOR = re.compile(
    r"(?:(?:\s|\\[,;: ])?(?:\\pi(?![A-Za-z])|π|√\d+|\\?%|\\sqrt ?\{[^{}]*\}|\^ ?(?:\{[^{}]*\}|-?\w+)"
    r"|\\(?:text|mathrm) ?\{ ?[^{} ]*\}|(?:\\times|\\cdot|[×·*]) ?10 ?(?=\^)|(?<=\})[a-z](?![A-Za-z]))"
    rf"|(?:\$|\\\))?\s?{SCALE})*"
)
OPERATION = (
    rf"(?:\\(?:[dtc]?frac|[dt]?binom|sqrt|times|cdot|div|pm|mp|over|[bp]?mod|[lr]vert|{FUNCTIONS})(?![A-Za-z])|[√×·÷±]"
    r"|\b(?:plus|minus|mod)\b)"
)
OPERAND = r"(?:\d|\\pi|(?<![A-Za-z])[A-Za-z]|(?<!\\)\))"
COMPARED = r"(?:[≤≥≠]|\\(?:ne|le|ge|lt|gt)q?(?:slant)?(?![A-Za-z]))"  # not `<` and `>`, which are also signs of markup
APPLIED = re.compile(  # arithmetic or a relation before a box
    rf"(?:{OPERATION}(?:\[\w*\]|\{{[^{{}}]*\}}|\d)*\s*|(?:{OPERAND}|\}})\$?(?: [-+−–*/] |[-+−–*/])|[=$(\[{{] ?[-−] ?"
    rf"|[\^_|]|\}}\}}\{{|{OPERAND}|(?:{COMPARED}|(?:\d|(?<![A-Za-z</])[A-Za-z]|[)}}$&]|(?<=\S) )[<>]=?)[\s$]{{0,3}})"
    rf"\$?(?:(?:\\left)?[({{]\s*)*\Z"
)
CONTINUED = re.compile(  # arithmetic or a relation behind a box
    rf"(?:[ $)}}]|\*\*|\\[,;:!)\]]|\\right[)\]]?)*(?:{OPERATION}|[²³]|_\{{?\d|\^(?!\{{?\\circ)|!(?=\$|\\[)\]])"
    rf"|[-+−–*/:] ?\$?(?:\d|[(\\]|[A-Za-z](?![A-Za-z]))|(?<=\}})(?:\\left)?\((?![A-Za-z]{{2}})"
    rf"|(?:{COMPARED}|[<>]=?) ?\$?(?:-?\d|\(|\\(?![)\]])|[A-Za-z](?![A-Za-z>]))"
    r"|(?:divided|multiplied|squared|cubed)\b)"
)
HEAD = re.compile(
    r"\banswers?\**(?: (?:to|for|of) [^.:\n]{1,80}?)?(?:\s+(?:is|are|was|were|will be|would be|equals?)\b|\s*[:=])"
    r"[\s:*=]*(?!(?:not )?(?:correct|right|wrong|incorrect|reasonable|below|above|as follows|found|given)\b)(?=\S)",
    re.IGNORECASE,
)
STOP = re.compile(  # what ends the clause of an answer, or a formula, in which nothing does
    rf"{FORMULA.pattern}|"
    r"(?P<stop>[.!?](?=\s|$)|\n|,? \((?=[A-Za-z]{2,}\b)| of (?:it|them|the|all|these|those|his|her|their)\b"
    r"|,? (?:because|since|which|where|when|as|so|for|if|but|while|given|after|respectively"
    r"|in total|in all|altogether)\b)",
    re.DOTALL,
)
STARTS = re.compile(  # as mathematics does, and not as prose
    r"[-+−–~]?[$€£¥]?\.?\d|[-+−–]?\\|[-−–]|[(\[{|√π∞=]|[A-Za-z]\w?(?:\([a-z]\))?'?\s*[=<>≤≥≠^+*/−–-]"
)
COPULA = re.compile(r" (?:is|are|was|were|equals?|becomes?)\b(?: equal to| given by| therefore| thus| then)?:? ")
HEDGED = re.compile(r"\b(?:not|never|than|least|most|between|negative|minus|half|twice|double|no)\b|n't\b")
CALCULATOR = re.compile(r"<<[^<>]*>>")
SPACED_AS = {" π": "π", " x 10^": " × 10^", ":": ": "}
SPACED = re.compile(r"(?<=\d)(?: π| x 10\^)|(?<=[A-Za-z]{2}):(?=[$\d-])")
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
    ("L", re.compile(r"[A-Za-z](?:_[A-Za-z]|\([a-z]\))?|\|[a-z]\|")),
    ("G", re.compile(r"(?:arc)?(?:sin|cos|tan)|ln|log|exp|sqrt")),
    ("X", re.compile(rf"(?:{'|'.join(unit for unit in SHORT if len(unit) > 1)})(?:\^\{{?[23]\}}?|[²³])")),
)
TERM = "G?[LNFVM]"
EXPRESSION = rf"(?:{TERM}O){{0,20}}G?(?:NF|[NFVM])(?:O{TERM}){{0,20}}"  # `1 1/2`, `x = 2 + log 3`
EQUATION = "LO(?:NF|[NFVM])"
LISTED = re.compile(  # `1, 2 and 3`, `$x$ or $y$`, `x = 1 or x = 2`, and at the end `1, 2`
    rf"(?:{EXPRESSION}C){{0,20}}{EXPRESSION}C?J{EXPRESSION}|M(?:C?[JR]M){{1,20}}|(?:{EXPRESSION}C){{1,20}}{EXPRESSION}(?=S?$)"
    rf"|{EQUATION}(?:C?[JR]{EQUATION}){{1,20}}|{EXPRESSION}"
)
EDGES = "\"'“”‘’`*_,;:!?…"


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
    boxes, opened = [], []  # boxes: (start, end, content)
    for match in BOX.finditer(text):
        if match["bare"]:
            boxes.append((*match.span(), (match["minus"] or "") + match["bare"].rstrip(",")))
        elif match[0] != "}":
            opened.append(match)
        elif opened and (opening := opened.pop())["box"]:
            content = text[opening.end() : match.start()].strip()
            boxes.append((opening.start(), match.end(), (opening["minus"] or "") + content))
    if not boxes:
        return None
    joined = boxes[-1:]
    for earlier in reversed(boxes[:-1]):
        if not BETWEEN_BOXES.fullmatch(text, earlier[1], joined[0][0]):
            break
        joined.insert(0, earlier)
    start, factors = joined[0][0], FACTOR.match(text, joined[-1][1])
    before, behind = APPLIED.search(text[max(0, start - LONGEST) : start]), CONTINUED.match(text, factors.end())
    if before or behind:  # kept with the box, so that the comparison is undecided
        return (before[0].lstrip() if before else "") + text[start : (behind or factors).end()]
    factors = factors[0].replace("$", "").replace("\\)", "")
    return ", ".join(content for _, _, content in joined) + factors or None


def _tagged(text: str) -> str | None:
    """Return the phrase between the last pair of `<answer>` tags."""
    before = text.rpartition("</answer>")[0]
    return _phrase(before.rpartition("<answer>")[2][:LONGEST].strip()) if "<answer>" in before else None


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
    end = next((match.start() for match in STOP.finditer(text) if match["stop"]), len(text))
    return formulas_bare(text[:end]).strip(" *\n")


def _last_value(text: str) -> str | None:
    """Return the last value of a text with all that is joined to it."""
    text = SPACED.sub(lambda match: SPACED_AS[match[0]], CALCULATOR.sub("", text))
    kinds = [(kind, word) for word in WORD.finditer(text) for kind in _kinds(word)]
    values = list(LISTED.finditer("".join(kind for kind, _ in kinds)))
    if not values:
        return None
    start, end = kinds[values[-1].start()][1].start(), kinds[values[-1].end() - 1][1].end()
    factors = FACTOR.match(text, end)[0].replace("$", "")
    value = formulas_bare(text[start:end]).strip(EDGES).rstrip(".")
    if depths(value)[-1:] not in ([], [0]):
        value = value.strip("()[]")
    return value.strip(EDGES) + factors or None


def _kinds(word: re.Match[str]) -> str:
    """Return the kind of a word, with C for a comma behind it or S for the end of a sentence."""
    if word["word"] is None:
        return "M" if HAS_VALUE.search(word[0]) else "X"
    bare = word[0].strip(EDGES).rstrip(".")
    kind = next((kind for kind, pattern in KINDS if pattern.fullmatch(bare or word[0])), None)
    behind = "C" if word[0].endswith(",") else "S" if word[0].endswith((".", ";", "!", "?")) else ""
    return (kind or ("V" if HAS_VALUE.search(bare) else "X")) + behind


ENDINGS = {  # in this order; the names are those of the page
    "a line of its own": line_mark,
    "a mark inside a line": _inline_mark,
    "a box": _last_box,
    "a pair of tags": _tagged,
    "a closing sentence": _answer_is,
    "the last value": _last_value,
}
