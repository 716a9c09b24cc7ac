r"""One spelling for each way of writing LaTeX: what is written differently and meant alike becomes one text.

Only the spelling changes here, never the meaning: characters of any script, delimiters, wrappers, fonts and spaces go,
and every argument gets its braces as TeX reads them, so that `\frac\pi2`, `½`, `x²`, `√12` and `sqrt(12)` have the form
that the rest of the comparison reads.
"""

import re
import unicodedata
from collections import deque
from collections.abc import Iterable
from itertools import accumulate

SIGNS = (
    {"−": "-", "–": "-", "‐": "-", "×": "*", "·": "*", "÷": "/", "°": "^\\circ ", "٫": ".", "٬": ",", "′": "'"}
    | {"π": "\\pi ", "∞": "\\infty ", "≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ", "±": "\\pm ", "∪": "\\cup "}
    | {"∩": "\\cap ", "∈": "\\in ", "≈": "\\approx ", "∠": "\\angle ", "θ": "\\theta ", "α": "\\alpha ", "β": "\\beta "}
    | {"∅": "\\emptyset ", "ℝ": "\\mathbb{R}", "“": '"', "”": '"', "‘": "'", "’": "'", "\u200b": "", "\ufeff": ""}
)
PLAIN = str.maketrans(SIGNS)
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
AREA = re.compile(r"(?<=\d) ?([cdk]?m)([²³])")  # `5m²` is an area, `5m^2` a product
DOTS = re.compile(r"\.{3,}|\\(?:[lc]?dots|dots[cbo])(?![A-Za-z])")
REPEATING = re.compile(r"(?<![\d.])(\d*\.\d*?)(?:(\d)\2{2,}|(\d{2,})\3+)\\dots(?! *[\d+*/^-])")  # `0.333...` is 1/3
THOUSANDS = re.compile(r"(?<=\d)(?: *,? *(?<!\\)\\[,!] *|,\\ |\u2009|\u202f|\u00a0)(?=\d{3}(?!\d))")  # not of `10 000`
LISTED = re.compile(r"(?<=\d) ?, +(?=[1-9]\d\d(?!\d))")  # `2, 345` are two numbers, but `10, 000` is one
NO_SPACE = re.compile(r"\\(?:left|right|[bB]igg?[lrm]?|(?:display|text)style|limits)(?![A-Za-z])|(?<!\\)\\!")
SPACE = re.compile(r"(?:(?<!\\)\\(?:[,;:> ]|(?:q?quad|thinspace)(?![A-Za-z]))|~|\s)+")
FORMULA = re.compile(  # prices, as in `$5 and $6`, are none
    r"(?<!\\)\$\$(?P<display>(?:[^$\\]|\\.)+)\$\$|(?<!\\)\$(?=\S)(?P<inline>(?:[^$\\]|\\.)*?(?:[^$\\\s]|\\\S))\$(?!\d)"
    r"|(?<!\\)\$(?=\s)(?P<spaced>(?:[^$\\A-Za-z]|[A-Za-z]{1,2}(?![A-Za-z])|\\[A-Za-z]+|\\.)+)(?<=\s)\$(?!\d)"
    r"|\\\((?P<round>(?:[^\\]|\\(?![()]))+)\\\)|\\\[(?P<square>(?:[^\\]|\\(?![\[\]]))+)\\\]",
    re.DOTALL,
)
PRICE = re.compile(r"\$\\\$\$(?=\d)")  # the sign alone as a formula
FONT = re.compile(
    r"\\(?:text(?:rm|normal|bf|it|sf|up)?|math(?:rm|bf|it|sf)|mbox|operatorname\*?|emph|boldsymbol)"
    r" *(?:\{(?P<text>[^{}]*)\}|(?P<letter>[A-Za-z\d])(?![A-Za-z]))"
)
OLD_FONT = re.compile(r"\{\\(?:rm|bf|it|sf)(?![A-Za-z]) *([^{}]*)\}")
FUNCTIONS = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|lg|exp|gcd|lcm|max|min|deg"
FUNCTION = re.compile(FUNCTIONS)
UNIT_LETTERS = "mgshlLCF"  # behind a number the upright ones are units; all others are variables
DECORATION = re.compile(r"\\(?:text)?color *\{\w+\}|\\underline(?![A-Za-z])")
PAIRS = (("**", "**"), ('"', '"'), ("'", "'"), ("`", "`"), ("\\text{", "}"), ("\\boxed{", "}"), ("\\fbox{", "}"))
PERCENT = re.compile(r" ?(?:\\text ?\{ ?per ?cent ?\}|(?<![A-Za-z])per ?cent(?![A-Za-z])|\\%)")
ROOT = re.compile(r"(?:√|(?<![\\A-Za-z])sqrt) ?(?:(\d+(?:\.\d+)?|[A-Za-z](?![A-Za-z]))|(?=[({]))")
TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\d+|.", re.DOTALL)
OPENED = str.maketrans(")]", "([")
ARGUMENTS = {"\\frac": 2, "\\binom": 2, "\\sqrt": 1, "^": 1, "_": 1}
REWRITTEN = (  # (pattern, replacement), in this order
    (r"\\[dtc](frac|binom)(?![A-Za-z])", r"\\\1"),
    (r"\\l(?:angle|paren)(?![A-Za-z])", "("),
    (r"\\r(?:angle|paren)(?![A-Za-z])", ")"),
    (r"\\([lr])brace(?![A-Za-z])", lambda match: {"l": "\\{", "r": "\\}"}[match[1]]),
    (r"\\textdollar(?![A-Za-z]) ?|^\$\$(?=\d)", "$"),
    (r"\\bar(?![A-Za-z])", r"\\overline"),
    (r"\\degree(?![A-Za-z])", r"^\\circ"),
    (r"(?<![\\A-Za-z])infinity(?![A-Za-z])", r"\\infty"),
    (r"\\varnothing(?![A-Za-z])", r"\\emptyset"),
    (r"\\(?:backslash|smallsetminus)(?![A-Za-z])", r"\\setminus"),
    (r"(?<=\\mathbb\{R\}) ?- ?(?=\\\{)", r"\\setminus "),
    (r"\\lg(?![A-Za-z])", r"\\log_{10}"),
    (rf"(?<=\d) ?/ ?(?!{FUNCTIONS})(?=day|[a-z]{{4,}})", " per "),
    (r"\\not ?=|(?<=[ xyzn])!= ?", r"\\ne "),
    (r"(?<=\d) ?x ?(?=10\^)", "*"),
    (r"\\([gl]eq)slant(?![A-Za-z])", r"\\\1"),
    (r"(?<![A-Za-z])([apAP])\.([mM])(?![A-Za-z])\.?", r"\1\2"),
)
NEEDLESS = re.compile(r" (?=\\)| ?([^\w\s\\}]) ?")  # spaces


def plain(text: str) -> str:
    """Return an answer in its one spelling: plain signs and digits, no wrappers, no spaces but between words."""
    text = DOTS.sub(r"\\dots ", _characters(text).replace("{,}", ","))
    text = REPEATING.sub(lambda match: f"{match[1]}\\overline{{{match[2] or match[3]}}}", text)
    text = formulas_bare(PRICE.sub("$", NO_SPACE.sub("", text)))
    text = _fonts(DECORATION.sub("", text)).replace("\\$", "$")
    text = PERCENT.sub("%", LISTED.sub(";", SPACE.sub(" ", text)))
    while (inner := _unwrapped(text)) != text:
        text = inner
    text = ROOT.sub(lambda match: f"\\sqrt{{{match[1]}}}" if match[1] else "\\sqrt", text)
    for pattern, replacement in REWRITTEN:
        text = re.sub(pattern, replacement, text)
    if _balanced(text):  # else the grammar shall see that it is broken
        text = _sequence(deque(TOKEN.findall(text))).replace("^{\\circ}", "^\\circ")
    return NEEDLESS.sub(r"\1", text)


def formulas_bare(text: str) -> str:
    """Return a text with the delimiters of its formulas taken away."""
    return FORMULA.sub(lambda match: match[match.lastgroup].strip(), text)


def to_latex(text: str) -> str:
    """Write plain algebra (`x**10`, `3*x`, `ln 2`, `1,000x`) as LaTeX; LaTeX stays as it is."""
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text.replace("**", "^")).replace("*", "\\cdot ").replace(";", ", ")
    return re.sub(rf"(?<![\\A-Za-z])(pi|{FUNCTIONS})(?![A-Za-z])", r"\\\1 ", text)


def depths(text: Iterable[str]) -> list[int]:
    """Return behind each character how many brackets, of whatever kind, are open."""
    return list(accumulate((char in "([{") - (char in ")]}") for char in text))


def enclosed(text: str) -> bool:
    """Return whether the bracket at the start of a text is closed by its last character."""
    return 0 in (depth := depths(text)) and depth.index(0) == len(text) - 1


def _characters(text: str) -> str:
    text = "".join(str(unicodedata.digit(char)) if unicodedata.category(char) == "Nd" else char for char in text)
    text = AREA.sub(r"\\text{ \1}\2", text)
    text = re.sub("[¼-¾⅐-⅞]", lambda match: " " + unicodedata.normalize("NFKC", match[0]).replace("\u2044", "/"), text)
    text = re.sub("[⁰¹²³⁴-⁹⁺⁻ⁿ]+", lambda match: f"^{{{match[0].translate(SUPERSCRIPTS)}}}", text)
    text = re.sub("[₀-₉]+", lambda match: f"_{{{unicodedata.normalize('NFKC', match[0])}}}", text)
    text = re.sub(r"^\s*~", r"\\approx ", text)  # elsewhere a space
    text = unicodedata.normalize("NFKC", THOUSANDS.sub(",", text))
    return text.translate(PLAIN)


def _fonts(text: str) -> str:
    r"""Write upright letters as variables, upright functions as functions, and other upright text as `\text{}`."""
    return FONT.sub(_upright, OLD_FONT.sub(r"\\text{\1}", text))


def _upright(match: re.Match[str]) -> str:
    content = match["letter"] or match["text"]
    before, word = match.string[: match.start()].rstrip(), content.strip()
    if len(word) == 1 and word.isalpha() and not (word in UNIT_LETTERS and re.search(r"[\d)}]$|\\pi$|\\,$", before)):
        return f" {word}" if before[-1:].isalpha() else word
    if FUNCTION.fullmatch(word):
        return f"\\{word} "
    if re.fullmatch(r"[\d.,\\$]+", word) and not re.search(r"\d$", before):
        return word
    return f"\\text{{{content}}}"


def _unwrapped(text: str) -> str:
    text = text.strip(" *")
    if text.endswith((".", ",", ";")):
        return text[:-1]
    for start, end in PAIRS:
        if len(text) > len(start + end) and text.startswith(start) and text.endswith(end):
            inner = text[len(start) : -len(end)]
            if enclosed(text[len(start) - 1 :]) if end == "}" else start not in inner:
                return inner
    return text


def _balanced(text: str) -> bool:
    depth = [0, *depths(re.findall(r"(?<!\\)[{}]", text))]
    return min(depth) == depth[-1] == 0


def _sequence(tokens: deque[str], until: str = "") -> str:
    """Write the tokens up to `until` with braces around each argument, and without those around a single letter."""
    output = []
    while tokens and (token := tokens.popleft()) != until:
        if token == "{":
            inner = _sequence(tokens, "}")
            bare = re.fullmatch("[A-Za-z]|\\d+", inner) and not (output and output[-1].startswith("\\"))
            output.append(inner if bare else f"{{{inner}}}")
        elif token == until.translate(OPENED):  # a bracket of the kind that ends the argument
            output.append(token + _sequence(tokens, until) + until)
        else:
            output.append(token + _arguments(token, tokens, subscript_of=output[-1] if output else ""))
    return "".join(output)


def _arguments(command: str, tokens: deque[str], subscript_of: str = "") -> str:
    """Return the arguments of a command in braces, taken from the tokens behind it."""
    indexed = command == "\\sqrt" and tokens and tokens[0] == "["
    index = f"{tokens.popleft()}{_sequence(tokens, ']')}]" if indexed else ""
    one_digit = command[0] == "\\" or subscript_of.startswith("\\")  # `x^10` is `x^{10}`, `\frac12` is one half
    return index + "".join(_argument(tokens, one_digit, command) for _ in range(ARGUMENTS.get(command, 0)))


def _argument(tokens: deque[str], one_digit: bool, command: str) -> str:
    while tokens and tokens[0].isspace():
        tokens.popleft()
    if not tokens or tokens[0] in "})]":
        return ""
    token = tokens.popleft()
    if token == "{" or (token == "(" and command in ("^", "\\sqrt")):
        return f"{{{_sequence(tokens, '}' if token == '{' else ')')}}}"
    if token == "-" and command == "^":
        return f"{{-{_argument(tokens, one_digit, command)[1:-1]}}}"
    if one_digit and len(token) > 1 and token.isdigit():
        tokens.appendleft(token[1:])
        token = token[0]
    return f"{{{token}{_arguments(token, tokens)}}}"
