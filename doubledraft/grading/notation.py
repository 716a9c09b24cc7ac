r"""One way of writing for answers: what people, LaTeX and models write differently and mean alike becomes one text.

Only the writing changes here, never the meaning: signs and digits of any script, spaces and wrappers, `\dfrac`, `½`,
`x²`, `√12` and `sqrt(12)` get the form that the rest of the comparison reads.
"""

import re
import unicodedata

FULL_WIDTH = {0xFF01 + index: 0x21 + index for index in range(94)}  # the block that repeats printable ASCII
SIGNS = (
    {"−": "-", "–": "-", "×": "*", "·": "*", "÷": "/", "°": "^\\circ ", "٫": ".", "٬": ",", "\u00a0": " "}
    | {"π": "\\pi ", "∞": "\\infty ", "≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ", "±": "\\pm ", "∪": "\\cup "}
    | {"∩": "\\cap ", "∈": "\\in ", "≈": "\\approx ", "∠": "\\angle ", "θ": "\\theta ", "α": "\\alpha ", "β": "\\beta "}
)
PLAIN = FULL_WIDTH | str.maketrans(SIGNS)
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
THOUSANDS = re.compile(r"(?<=\d)(?:(?<!\\)\\[,!]|\u2009|\u202f|\u00a0)(?=\d{3}(?!\d))")  # `10\,000`, but not `10 000`
LISTED = re.compile(r"(?<=\d) ?, +(?=[1-9]\d\d(?!\d))")  # `2, 345` are two numbers, but `10, 000` is one
NO_SPACE = re.compile(r"\\(?:left|right|displaystyle|limits)(?![A-Za-z])|(?<!\\)\\!")
SPACE = re.compile(r"(?<!\\)\\(?:[,;: ]|q?quad(?![A-Za-z]))|~|\s+")
WRAPPED = re.compile(r"\\(?:boxed|fbox|text|mathrm|mbox|textbf|mathbf)\s*\{(.*)\}", re.DOTALL)
PERCENT = re.compile(r" ?(?:\\(?:text|mathrm) ?\{ ?per ?cent ?\}|(?<![A-Za-z])per ?cent(?![A-Za-z])|\\%)")
ROOT = re.compile(r"(?:√|(?<![\\A-Za-z])sqrt) ?(?:(\d+(?:\.\d+)?|[A-Za-z](?![A-Za-z]))|(?=[({]))")
IN_BRACKETS = re.compile(r"(?:\\sqrt|\^) ?\(")
REWRITTEN = (  # (pattern, replacement), in this order
    (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
    (r"\\frac ?(\w) ?(\w)", r"\\frac{\1}{\2}"),
    (r"\\frac ?(\w) ?\{", r"\\frac{\1}{"),
    (r"(\\frac ?\{[^{}]*\}) ?(\w)", r"\1{\2}"),
    (r"\\sqrt ?(\w)", r"\\sqrt{\1}"),
    (r"\\(begin|end)\{[bB]matrix\}", r"\\\1{pmatrix}"),
    (r"\\langle(?![A-Za-z])", "("),
    (r"\\rangle(?![A-Za-z])", ")"),
    (r"\^ ?\{\\circ ?\}|\\degree(?![A-Za-z])", r"^\\circ"),
    (r"(?<![\\A-Za-z])infinity(?![A-Za-z])", r"\\infty"),
    (r"(?<=\d) ?x ?(?=10\^)", "*"),
    (r"_(\w) (?=\w)", r"_{\1} "),
    (r"\\([gl]eq)slant(?![A-Za-z])", r"\\\1"),
    (r"(?<![A-Za-z])([apAP])\.([mM])(?![A-Za-z])\.?", r"\1\2"),
    (r" (?=\\)", ""),
    (r" ?([^\w\s\\}]) ?", r"\1"),
    (r" ?\}(?: (?!\w))?", "}"),
)


def plain(text: str) -> str:
    """Bring an answer to one way of writing: plain signs and digits, no wrappers, no spaces but between words."""
    text = "".join(str(unicodedata.digit(char)) if unicodedata.category(char) == "Nd" else char for char in text)
    text = re.sub("[¼-¾⅐-⅞]", lambda match: " " + unicodedata.normalize("NFKC", match[0]).replace("\u2044", "/"), text)
    text = re.sub("[⁰¹²³⁴-⁹⁺⁻ⁿ]+", lambda match: f"^{{{match[0].translate(SUPERSCRIPTS)}}}", text)
    text = THOUSANDS.sub(",", text).translate(PLAIN).replace("{,}", ",")
    text = LISTED.sub(";", SPACE.sub(" ", NO_SPACE.sub("", text)))
    text = PERCENT.sub("%", text).replace("\\$", "$").strip(" *")
    while (inner := _unwrapped(text)) != text:
        text = inner
    text = ROOT.sub(lambda match: f"\\sqrt{{{match[1]}}}" if match[1] else "\\sqrt", text)
    text = _braced(text)
    for pattern, replacement in REWRITTEN:
        text = re.sub(pattern, replacement, text)
    return text.strip()


def to_latex(text: str) -> str:
    """Write plain algebra (`x**10`, `3*x`, `ln 2`) as LaTeX; LaTeX stays as it is."""
    text = text.replace("**", "^").replace("*", "\\cdot ").replace(";", ",")
    text = re.sub(r"(?<![\\A-Za-z])(pi|sin|cos|tan|log|ln|exp)(?![A-Za-z])", r"\\\1 ", text)
    return re.sub(r"\^(-?\d+)", r"^{\1}", text)


def closing(text: str, start: int) -> int | None:
    """Give the index of the bracket that closes the one at `start`, of whatever kind; None when none does."""
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] in "([{") - (text[index] in ")]}")
        if depth == 0:
            return index
    return None


def _unwrapped(text: str) -> str:
    text = text.strip()
    if text.endswith((".", ",")):
        return text[:-1]
    for start, end in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
        inner = text[len(start) : len(text) - len(end)]
        if len(text) > len(start + end) and text.startswith(start) and text.endswith(end) and "$" not in inner:
            return inner
    if (match := WRAPPED.fullmatch(text)) and closing(text, text.index("{")) == len(text) - 1:
        return match[1]
    return text


def _braced(text: str) -> str:
    r"""Write `\sqrt(...)` and `^(...)` with braces."""
    position = 0
    while match := IN_BRACKETS.search(text, position):
        start, position = match.end() - 1, match.end()
        if end := closing(text, start):
            text = f"{text[:start]}{{{text[start + 1 : end]}}}{text[end + 1 :]}"
    return text
