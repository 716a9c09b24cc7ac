"""The final answer in a text: strict (the line that was asked for) or lenient (any recognisable final answer).

Neither reading looks at thoughts, at what follows an end-of-sequence token that was left in the text, or at another
question that a model goes on to ask itself once it has answered. The lenient reading tries the ways to end an answer
in the order of doubledraft.grading.endings.
"""

import re

from doubledraft.grading.endings import ENDINGS, line_mark

END_TOKEN = re.compile(r"<\|(?:im_end|im_start|end(?:_?of_?text)?|eot_id|eom_id)\|>|</s>|<eos>|<end_of_turn>|\[INST\]")
ANSWERED = re.compile(r"####|\\(?:boxed|fbox)|\banswers?\**(?: is\b| are\b|:)", re.IGNORECASE)
NEXT_QUESTION = re.compile(
    r"\n[ #*]*(?:Question|Problem|Exercise|Instruction|Input|Human|User|Q)\**(?: ?\d+)?\**:", re.IGNORECASE
)


def without_thoughts(text: str) -> str:
    """Return what follows the last `</think>`, up to a `<think>` that is not closed."""
    return text.rpartition("</think>")[2].partition("<think>")[0]


def extract_strict(text: str) -> str | None:
    """Return the text after `####` on the last line that starts with it, None when there is none."""
    return line_mark(_answered(text))


def extract_lenient(text: str) -> str | None:
    """Return any recognisable final answer, None when there is none."""
    text = _answered(text)
    return next((answer for read in ENDINGS.values() if (answer := read(text))), None)


def _answered(text: str) -> str:
    text = END_TOKEN.split(without_thoughts(text), maxsplit=1)[0]
    mark = ANSWERED.search(text)
    next_question = NEXT_QUESTION.search(text, mark.end()) if mark else None
    return text[: next_question.start()] if next_question else text
