"""Every draft answers every prompt of the validation and test splits, and so does the target alone: the whole matrix.

All drafts are loaded at once and take turns at each prompt. Their order is random for each prompt and reversed in
the next turn, so a machine that slows down slows all of them. Rows are appended to a progress file prompt by prompt, so
a run that was killed continues there.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from doubledraft import machine
from doubledraft.engine.backend import Backend, prefill
from doubledraft.engine.decode import speculative_decode
from doubledraft.engine.load import create_backend
from doubledraft.engine.proposers import DraftModel, NoDraft, Proposer
from doubledraft.evaluation.interleave import orders
from doubledraft.files import whole_path
from doubledraft.inference import resume
from doubledraft.inference.load_pair import load_draft
from doubledraft.inference.tokenizing import stop_ids
from doubledraft.log import Progress
from doubledraft.models.folder import weight_files
from doubledraft.models.inspect import load_tokenizer
from doubledraft.questions.overlap import normalise
from doubledraft.records import Generation, Question, read_records
from doubledraft.routing.domain_drafts import prompt_tokens
from doubledraft.routing.hedge import agreed
from doubledraft.routing.matrix import PLAIN, MatrixRow
from doubledraft.summaries.table import write_csv

if TYPE_CHECKING:
    import torch

HIDDEN = "hidden"  # name of the tensor in the file of hidden states, [prompts, size], in the order of the matrix


def collect(
    *,
    target: str | Path,
    drafts: Sequence[str | Path],
    prompts: Sequence[str | Path],
    learnt: Sequence[str | Path],
    matrix: str | Path,
    hidden: str | Path,
    progress: str | Path,
    max_tokens: int,
    draft_length: int,
    turns: int,
    dtype: str,
    seed: int,
) -> None:
    """Write the matrix, a row for every answer, and the target's hidden state of every prompt.

    `drafts` are folders `{name}/best`, `prompts` files of questions, `learnt` those that drafts were trained on. Raise
    ValueError where two domains share a prompt.
    """
    from safetensors.torch import save_file

    _refuse_shared([*learnt, *prompts])
    machine.use_own_cores()
    tokenizer = load_tokenizer(target)
    model = create_backend(target, dtype, machine.device())
    questions = [question for path in prompts for question in read_records(path, Question)]
    ids = prompt_tokens(tokenizer, model, questions, max_tokens)
    proposers = {PLAIN: NoDraft(), **{Path(folder).parent.name: load_draft(folder, model) for folder in drafts}}
    settings = [list(proposers), max_tokens, draft_length, turns, dtype, seed, model.kernel]
    weights = [file for folder in (target, *drafts) for file in weight_files(Path(folder))]
    done = resume.resume(progress, resume.key([*prompts, *weights], settings))
    decoding = {"max_new_tokens": max_tokens, "draft_length": draft_length, "stop_ids": stop_ids(target, tokenizer)}
    rows = answer_all(model, proposers, ids, done, progress, turns, seed, decoding)
    states = hidden_states(model, list(ids.values()))
    scoring = _time_scoring(proposers, ids, rows, [question.id for question in questions if question.split == "test"])
    with whole_path(hidden) as partial:
        save_file({HIDDEN: states}, partial)
    matrix_rows = [
        _row(question, rows[key], key, scoring)
        for question in questions
        for key in _keys(question.id, proposers, turns)
    ]
    write_csv(matrix, [asdict(row) for row in matrix_rows])
    resume.remove(progress)


def _refuse_shared(files: Iterable[str | Path]) -> None:
    """Raise ValueError where two domains share a prompt: one may train on what the other is scored on."""
    first: dict[str, Question] = {}
    questions = [question for path in files for question in read_records(path, Question)]
    pairs = [(first.setdefault(normalise(question.question), question), question) for question in questions]
    if shared := [(earlier, later) for earlier, later in pairs if earlier.scenario != later.scenario]:
        earlier, later = shared[0]
        raise ValueError(
            f"config key domains.sets: {earlier.id} and {later.id} are the same prompt, {earlier.question!r:.60}, and "
            f"{len(shared)} prompts are in two domains: remove them from one of the sources"
        )


Key = tuple[str, str, int]  # prompt, draft, turn


def _keys(prompt: str, proposers: Mapping[str, Proposer], turns: int) -> list[Key]:
    return [(prompt, name, turn) for name in proposers for turn in range(turns)]


def answer_all(
    target: Backend,
    proposers: Mapping[str, Proposer],
    ids: Mapping[str, list[int]],
    done: Sequence[Generation],
    progress: str | Path,
    turns: int,
    seed: int,
    decoding: Mapping[str, object],
) -> dict[Key, Generation]:
    """Return the row of every prompt, draft and turn; what is `done` is not answered again.

    `ids` are the tokens of prompts by id, `decoding` the settings of `speculative_decode`. The order of drafts is drawn
    for each prompt by `seed`.
    """
    rows = {_key(row.id): row for row in done}
    first = next(iter(ids.values()))
    for proposer in proposers.values():  # code is compiled and memory touched before the clock counts
        speculative_decode(target, proposer, [first], **decoding)
    progress_log = Progress(f"collecting answers of {len(proposers)} drafts", len(ids), "prompts")
    for at, (prompt, tokens) in enumerate(ids.items()):
        if all(key in rows for key in _keys(prompt, proposers, turns)):
            continue
        new = []
        for turn, order in enumerate(orders(list(proposers), turns, seed + at)):
            for name in order:
                if (prompt, name, turn) in rows:  # a kill left some rows of this prompt
                    continue
                _, metrics = speculative_decode(target, proposers[name], [tokens], **decoding)
                row = metrics.answers[0].as_generation(f"{prompt}|{name}|{turn}")
                new.append(replace(row, batch_seconds=metrics.seconds))
        resume.append(progress, new)
        rows |= {_key(row.id): row for row in new}
        progress_log.show(at + 1)
    return rows


def _key(id: str) -> Key:
    prompt, name, turn = id.split("|")
    return prompt, name, int(turn)


def hidden_states(target: Backend, prompts: Sequence[Sequence[int]]) -> "torch.Tensor":
    """Return the target's hidden state at the end of each prompt, [prompts, size] in float32."""
    import torch

    states = [prefill(target, [prompt], target.new_cache(1, len(prompt)))[0] for prompt in prompts]
    return torch.stack(states).float().cpu()


def _time_scoring(
    proposers: Mapping[str, Proposer], ids: Mapping[str, list[int]], rows: Mapping[Key, Generation], prompts: list[str]
) -> dict[Key, float]:
    """Return the seconds that a draft takes to read an answer of each prompt, by which `hedge` scores it."""
    seconds = {}
    for prompt in prompts:
        for name, proposer in proposers.items():
            if isinstance(proposer, DraftModel):
                began = time.perf_counter()
                agreed(proposer.draft, ids[prompt], rows[prompt, PLAIN, 0].token_ids)
                seconds[prompt, name, 0] = time.perf_counter() - began
    return seconds


def _row(question: Question, row: Generation, key: Key, scoring: Mapping[Key, float]) -> MatrixRow:
    _, draft, turn = key
    return MatrixRow(
        prompt=question.id,
        domain=question.scenario,
        split=question.split,
        group=question.subject,
        draft=draft,
        turn=turn,
        tokens=len(row.token_ids),
        steps=row.steps,
        drafted=row.drafted,
        accepted=row.accepted,
        seconds=row.batch_seconds,
        score_seconds=scoring.get(key),
    )


def read_hidden(path: str | Path) -> np.ndarray:
    """Return the hidden states that `collect` wrote, [prompts, size]."""
    from safetensors.numpy import load_file

    return load_file(path)[HIDDEN]
