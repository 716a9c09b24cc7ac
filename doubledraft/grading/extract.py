"""The final answer in a text: strict (the line that was asked for) or lenient (any recognisable final answer)."""

import re

BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)|[{}]")
BETWEEN_BOXES = re.compile(r"[\s$,;]*(?:\\text\s*\{)?\s*(?:and|or)?\s*\}?[\s$]*(?:[A-Za-z]\s*=\s*)?")
ANSWER_IS = re.compile(r"answers?(?: is| are|:| =)[\s:*]*(\S.*)", re.IGNORECASE)
PROSE = re.compile(r"\.(?:\s|$)|,? (?:because|since|which|where|when|as|so|for|if)\b")  # ends the answer of a sentence
FORMULA = re.compile(r"\$(?=\S)([^$]*[^$\s])\$(?!\d)|\\\(((?:[^\\]|\\(?![()]))+)\\\)|\\\[((?:[^\\]|\\(?![\[\]]))+)\\\]")
NUMBER = re.compile(r"(?:(?<![\w.])[-−]?\$?)?\d[\d,]*(?:\.\d+)?(?:(?:e[+-]?|/)\d+)?%?", re.IGNORECASE)


def without_thoughts(text: str) -> str:
    """Give what follows the last `</think>`, up to a `<think>` that is not closed."""
    return text.rpartition("</think>")[2].partition("<think>")[0]


def extract_strict(text: str) -> str | None:
    """Give the text after `####` on the last line that starts with it, None when there is none."""
    lines = [line.strip() for line in without_thoughts(text).split("\n")]
    marked = [line.removeprefix("####").strip() for line in lines if line.startswith("####")]
    return (marked[-1] or None) if marked else None


def extract_lenient(text: str) -> str | None:
    """Give any recognisable final answer, None when there is none."""
    text = without_thoughts(text)
    return extract_strict(text) or _last_box(text) or _answer_is(text) or _last_value(text)


def _last_box(text: str) -> str | None:
    """Give the content of the last balanced box, with those of the boxes that it is listed with, in one pass."""
    boxes, opened = [], []  # boxes: (start, end, content); opened: start of the content for a box, None for a brace
    box = None
    for match in BOX.finditer(text):
        if match[0] == "{":
            opened.append((box, match.end()) if box is not None else None)
        elif match[0] == "}" and opened and (begun := opened.pop()):
            boxes.append((begun[0], match.end(), text[begun[1] : match.start()].strip()))
        box = match.start() if match[0][0] == "\\" else None
    listed = boxes[-1:]
    for earlier in reversed(boxes[:-1]):
        between = text[earlier[1] : listed[0][0]]
        if not between.strip(" $\n") or not BETWEEN_BOXES.fullmatch(between):
            break
        listed.insert(0, earlier)
    return ", ".join(content for _, _, content in listed) or None


def _answer_is(text: str) -> str | None:
    found = ANSWER_IS.findall(text)
    if not found:
        return None
    rest = found[-1].strip(" *")
    if math := FORMULA.match(rest):
        return next(filter(None, math.groups())).strip()
    return PROSE.split(rest, maxsplit=1)[0].strip(" *") or None


def _last_value(text: str) -> str | None:
    """Give the formula or number that stands last."""
    numbers = list(NUMBER.finditer(text))
    formulas = [match for match in FORMULA.finditer(text) if re.search(r"\d", match[0])]
    if formulas and numbers[-1].end() <= formulas[-1].end():
        return next(filter(None, formulas[-1].groups())).strip()
    return numbers[-1][0].rstrip(",") if numbers else None
