r"""Gold answers that nothing can be graded against, found when questions are read and not after a night of runs.

Every gold is graded against itself: one that is not equal to itself (too long, too deeply nested, a special token of a
model) would leave every verdict undecided. The grader takes equal texts for equal without parsing them, so LaTeX that
is broken is looked for here: braces, `\left` and dollar signs that are not closed.
"""

import re

from doubledraft.grading.grader import Grader, Verdict

PAIRS = (("{", "}"), (r"\left", r"\right"), (r"\begin", r"\end"))
SIGN = re.compile(r"\\(?:left|right|begin|end)(?![A-Za-z])|\\.|[{}$]", re.DOTALL)  # `\{` and `\$` close nothing


def fault(grader: Grader, gold: str) -> str | None:
    """Return why no answer could equal a gold, None where one can."""
    judgement = grader.grade(gold, gold)
    if judgement.verdict is not Verdict.equal:
        return judgement.reason or "it does not equal itself"
    return _broken_latex(gold)


def _broken_latex(text: str) -> str | None:
    """Return which sign of LaTeX is not closed, None where all are."""
    signs = SIGN.findall(text)
    for opening, closing in PAIRS:
        depth = 0
        for sign in signs:
            depth += (sign == opening) - (sign == closing)
            if depth < 0:
                return f"broken LaTeX: {closing} closes nothing"
        if depth:
            return f"broken LaTeX: {opening} is not closed"
    return "broken LaTeX: $ is not closed" if signs.count("$") % 2 and re.search(r"[\\^_{]", text) else None
