"""One draft on the test questions: real greedy decoding by the project's own engine, one request at a time.

With `timed` every question is answered three ways in turn, by the target alone, with drafts of a fixed length and with
adaptive ones, so that a machine that slows down slows all of them.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from doubledraft import machine
from doubledraft import prompts as prompt_files
from doubledraft.engine.draft_length import by_setting
from doubledraft.engine.draft_vocabulary import learn_from_files
from doubledraft.engine.load import create_backend
from doubledraft.engine.proposers import DraftModel
from doubledraft.evaluation.arms import Arm, Timing, plain, time_in_turns
from doubledraft.evaluation.interleave import BASELINE
from doubledraft.inference.tokenizing import prompt_ids, stop_ids
from doubledraft.models import merge
from doubledraft.models.inspect import load_tokenizer
from doubledraft.records import Question, read_records, write_records

FIXED, ADAPTIVE = "fixed", "adaptive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a draft did on one question; seconds are null where nothing was timed."""

    id: str  # the question's
    tokens: int  # emitted
    steps: int  # target passes, the prompt's included
    drafted: int
    accepted: int
    plain_seconds: float | None = None  # of the target alone
    fixed_seconds: float | None = None  # with drafts of the fixed length
    adaptive_seconds: float | None = None  # with adaptive drafts


def measure_recipe(
    *,
    target: str | Path,
    base: str | Path,
    adapter: str | Path,
    questions: str | Path,
    checked: str | Path,
    prompt: str | Path,
    distilled: str | Path,
    out: str | Path,
    dtype: str,
    max_tokens: int,
    draft_length: int,
    draft_vocabulary: int | None,
    limit: int | None,
    timed: bool,
) -> None:
    """Write a row of Measured per question: the draft is `base` + `adapter`, merged as it would be served.

    `checked` are the questions that the merge is checked on. Only the `draft_vocabulary` most frequent tokens of the
    answers in `distilled` are proposed, None for all.
    """
    machine.use_own_cores()
    rows = read_records(questions, Question)[:limit]
    tokenizer, texts = load_tokenizer(target), prompt_files.load(prompt)
    ids = [prompt_ids(tokenizer, prompt_files.messages(texts, question.question, few_shot=False)) for question in rows]
    allowed = learn_from_files([distilled], draft_vocabulary) if draft_vocabulary else None
    with tempfile.TemporaryDirectory(prefix="draft.") as folder:
        merged = Path(folder, "merged")
        merge.merge_from_files(base, adapter, checked, prompt, merged, dtype=dtype)
        model = create_backend(target, dtype, machine.device())
        proposer = DraftModel(create_backend(merged, dtype, machine.device(), allowed_tokens=allowed))
        arms = [Arm(FIXED, proposer, by_setting(draft_length))]
        if timed:
            arms = [plain(), *arms, Arm(ADAPTIVE, proposer, by_setting("adaptive"))]
        timings = time_in_turns(model, arms, ids, max_tokens, stop_ids=stop_ids(target, tokenizer))
    write_records(out, [_row(question.id, index, timings) for index, question in enumerate(rows)])


def _row(id: str, index: int, timings: Sequence[Timing]) -> Measured:
    arms = {timing.arm: timing for timing in timings if timing.question == index}
    row = arms[FIXED].as_generation(id)
    seconds = {}
    if len(arms) > 1:
        names = {"plain_seconds": BASELINE, "fixed_seconds": FIXED, "adaptive_seconds": ADAPTIVE}
        seconds = {name: arms[arm].seconds for name, arm in names.items()}
    counts = {"tokens": len(row.token_ids), "steps": row.steps, "drafted": row.drafted, "accepted": row.accepted}
    return Measured(id=id, **counts, **seconds)
