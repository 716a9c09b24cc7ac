"""Decoding records of a cell and of speed experiments: rows of the engines and the draft audit, put together.

vLLM does not report which tokens it drafted. The accepted ones are in the answer, and the rejected one is what the
draft chose there in the audit: under greedy decoding that is exact, as long as the answer so far is the audited one.
Tokens drafted after a rejected one are unknown. N-gram steps that found nothing are not counted by any row, so tokens
of such a row have no step.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from doubledraft.evaluation.arms import Timing
from doubledraft.evaluation.interleave import BASELINE
from doubledraft.evaluation.score import TIE_GAPS
from doubledraft.models.inspect import load_tokenizer
from doubledraft.records import Generation, Question, RecordError, first_difference, read_records, repeated
from doubledraft.summaries import json_file
from doubledraft.summaries.decoding_record import DecodingRecord, Lane, LaneStep
from doubledraft.summaries.draft_audit import AuditedAnswer
from doubledraft.summaries.run_file import EngineRun, RunFile

ALONE = "target alone"
TextOf = Callable[[int], str]


def of_cell(
    *, questions: str, model: str, generations: Sequence[str], runs: Sequence[str], audit: str | None
) -> list[DecodingRecord]:
    """Return the decoding records of a cell.

    `generations` and `runs` are the files of its arms, the baseline's first; `audit` is that of its draft, if it has
    one; `model` is a folder with the tokenizer. Raise RecordError naming a file that cannot be used.
    """
    infos = [json_file.read(path, RunFile) for path in runs]
    texts = {row.id: row.question for row in repeated(read_records(questions, Question), infos[0].samples)}
    audits = {row.id: row for row in read_records(audit, AuditedAnswer)} if audit else {}
    arms = [{row.id: row for row in read_records(path, Generation)} for path in generations]
    text_of = token_text(load_tokenizer(model))
    records = []
    for id in arms[0]:
        audited = audits.get(id)
        lanes = [arm_lane(rows[id], info, audited) for rows, info in zip(arms, infos, strict=True)]
        if not infos[0].temperature:  # sampled answers differ anyway
            lanes = [lanes[0], *(compared(lane, lanes[0], infos[0].dtype) for lane in lanes[1:])]
        records.append(record(id, texts[id], lanes, text_of, audited))
    return records


def of_timings(
    questions: Sequence[Question], timings: Iterable[Timing], text_of: TextOf, dtype: str
) -> list[DecodingRecord]:
    """Return the decoding records of one data set of speed experiments: every arm's first answer to each question."""
    first = [timing for timing in timings if timing.repeat == 0]
    records = []
    for index, question in enumerate(questions):
        turns = sorted((timing for timing in first if timing.question == index), key=lambda turn: turn.arm != BASELINE)
        lanes = [timed_lane(timing) for timing in turns]
        lanes = [lanes[0], *(compared(lane, lanes[0], dtype) for lane in lanes[1:])]
        records.append(record(question.id, question.question, lanes, text_of))
    return records


def timed_lane(timing: Timing) -> Lane:
    """Return an answer of our own engine as a lane: every drafted token and the time of every step."""
    times = timing.metrics.step_times()
    steps = [LaneStep(emitted=1, seconds=times[0])]
    for step, seconds in zip(timing.answer.steps, times[1:], strict=True):
        steps.append(
            LaneStep(
                emitted=step.emitted,
                proposed=len(step.drafted),
                accepted=step.accepted,
                drafted=step.drafted,
                seconds=seconds,
            )
        )
    return Lane(
        name=ALONE if timing.arm == BASELINE else timing.arm,
        token_ids=timing.answer.token_ids,
        steps=steps,
        seconds=sum(times),
        first_token_seconds=times[0],
    )


def arm_lane(row: Generation, run: EngineRun, audited: AuditedAnswer | None) -> Lane:
    """Return a row of a run as a lane; `audited` is the audit of an answer to the same question."""
    if run.method == "none":
        return _lane(ALONE, row, _plain(row))
    drafter = "draft" if run.method == "draft_model" else run.method
    name = f"{drafter}, adaptive" if run.adaptive else f"{drafter}, K = {run.draft_length}"
    steps = _steps(row, run)
    if steps and audited and not row.drafts and run.method == "draft_model" and not run.temperature:
        steps = _with_rejected(steps, row.token_ids, audited)
    return _lane(name, row, steps)


def compared(lane: Lane, alone: Lane, dtype: str) -> Lane:
    """Return a lane with its first difference from the target's own answer, and whether rounding explains it."""
    verdict = None if lane.margin is None else "tie" if lane.margin <= TIE_GAPS[dtype] else "bug"
    return replace(lane, first_difference=first_difference(alone.token_ids, lane.token_ids), verdict=verdict)


def record(
    id: str,
    prompt: str,
    lanes: Sequence[Lane],
    text_of: TextOf,
    audit: AuditedAnswer | None = None,
) -> DecodingRecord:
    """Return a record with the text of every token that its lanes and its audit name."""
    ids = set(chain.from_iterable(lane.token_ids for lane in lanes))
    ids.update(token for lane in lanes for step in lane.steps or () for token in step.drafted)
    if audit:
        ids.update(audit.draft_best, audit.target_best)
        ids.update(int(token) for top in chain(audit.target_top, audit.draft_top) for token, _ in top)
    texts = {str(token): text_of(token) for token in sorted(ids)}
    return DecodingRecord(id=id, prompt=prompt, lanes=list(lanes), texts=texts, audit=audit)


def with_other_drafts(
    records: Sequence[DecodingRecord], others: Mapping[str, Sequence[AuditedAnswer]], text_of: TextOf | None
) -> list[DecodingRecord]:
    """Return records with the choices of further drafts, audited over the same answers; raise RecordError for others.

    `text_of` gives the texts of tokens that only these drafts name; without it they are shown by their ids.
    """
    audits = {name: {row.id: row for row in rows} for name, rows in others.items()}
    return [_with_others(row, {name: rows.get(row.id) for name, rows in audits.items()}, text_of) for row in records]


def _with_others(
    row: DecodingRecord, others: Mapping[str, AuditedAnswer | None], text_of: TextOf | None
) -> DecodingRecord:
    others = {name: audit for name, audit in others.items() if audit}
    for name, audit in others.items():
        if row.audit is None or audit.token_ids != row.audit.token_ids:
            raise RecordError(f"{name}: its audit of {row.id!r} is not of the answer that the records have an audit of")
    best = {name: audit.draft_best for name, audit in others.items()}
    new = {str(id) for ids in best.values() for id in ids} - row.texts.keys()
    texts = {id: text_of(int(id)) if text_of else f"#{id} " for id in sorted(new)}
    return replace(row, other_drafts=row.other_drafts | best, texts=row.texts | texts)


def _lane(name: str, row: Generation, steps: list[LaneStep] | None) -> Lane:
    return Lane(
        name=name,
        token_ids=row.token_ids,
        steps=steps,
        seconds=row.latency,
        first_token_seconds=row.time_to_first_token,
        margin=row.top2_gap,
    )


def _plain(row: Generation) -> list[LaneStep]:
    """Return the steps of an answer without a draft: one token each."""
    times = row.step_seconds or [None] * len(row.token_ids)
    return [LaneStep(emitted=1, seconds=seconds) for seconds in times]


def _steps(row: Generation, run: EngineRun) -> list[LaneStep] | None:
    """Return the steps of an answer with a draft, the prompt's first; None where tokens cannot be assigned to steps."""
    counts = row.accepted_per_step
    if counts is None or row.steps is None:
        return None
    lengths = [len(draft) for draft in row.drafts] if row.drafts else [run.draft_length] * len(counts)
    undrafted = row.steps - 1 - len(counts)
    if sum(lengths) != row.drafted or (undrafted and run.method == "ngram"):
        return None
    drafts = row.drafts or [[] for _ in counts]
    times = row.step_seconds or [None] * row.steps
    left = len(row.token_ids) - 1
    steps = [LaneStep(emitted=1, seconds=times[0])]
    # Steps without a draft come last: only one more token fits into the answer by then.
    padded = [*zip(drafts, lengths, counts, strict=True), *[([], 0, 0)] * undrafted]
    for (drafted, proposed, accepted), seconds in zip(padded, times[1:], strict=True):
        emitted = min(accepted + 1, left)
        left -= emitted
        steps.append(LaneStep(emitted=emitted, proposed=proposed, accepted=accepted, drafted=drafted, seconds=seconds))
    return steps if left == 0 else None


def _with_rejected(steps: Sequence[LaneStep], answer: Sequence[int], audited: AuditedAnswer) -> list[LaneStep]:
    """Return steps with drafted token ids, from answer and audit, up to the first rejected one of each step."""
    same = first_difference(answer, audited.token_ids)
    shared = len(audited.token_ids) if same is None else same + 1  # up to here both answers have the same tokens before
    lane_steps, position = [], 0
    for step in steps:
        drafted = list(answer[position : position + min(step.accepted, step.emitted)])
        at = position + step.accepted
        if step.accepted < step.proposed and at < min(shared, position + step.emitted):
            drafted.append(audited.draft_best[at])
        lane_steps.append(replace(step, drafted=drafted))
        position += step.emitted
    return lane_steps


def token_text(tokenizer) -> TextOf:
    """Return a function from a token id to its text, with bytes that are no whole character as \\x escapes."""
    letters = byte_letters()

    def text(token: int) -> str:
        decoded = tokenizer.decode([token], clean_up_tokenization_spaces=False)
        if "\ufffd" not in decoded:
            return decoded
        piece = tokenizer.convert_ids_to_tokens(token)
        if all(letter in letters for letter in piece):  # byte-level BPE: a letter stands for a byte
            return bytes(letters[letter] for letter in piece).decode("utf-8", errors="backslashreplace")
        return piece

    return text


def byte_letters() -> dict[str, int]:
    """Return the byte that each letter of byte-level BPE stands for: printable ones themselves [GPT-2's encoder.py]."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = sorted(set(range(256)) - set(printable))
    return {chr(byte): byte for byte in printable} | {chr(256 + at): byte for at, byte in enumerate(others)}
