"""The steps that write traces: chains of thought, and their condensed drafts.

Chains of thought are kept only where they end in the gold answer. A condensed type is made in one of three ways (`by`):
`rule` condenses the same row by rule (`condense`); `teacher` lets the teacher condense it and checks the reply by
`draft_rule.fault`; `independent` lets the teacher answer the question anew and keeps what ends in the gold answer,
whatever its form. The last is the way of the published study, in which style is confounded with content.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from doubledraft.files import write_json
from doubledraft.grading.grader import Grader
from doubledraft.log import log
from doubledraft.records import Question, Trace, read_records, write_records
from doubledraft.traces.condense import condense_all
from doubledraft.traces.draft_rule import Rule, ending_at_answer, fault
from doubledraft.traces.teacher import ask, oracle, prompt
from doubledraft.traces.teacher.ask import Fault
from doubledraft.traces.teacher.settings import Settings, read_settings
from doubledraft.traces.verify import NO_ANSWER, SEVERAL_ANSWERS, Dropped, answer_fault, keep_verified

NOTHING_ASKED = {
    "rounds": [],
    "input_tokens": 0,
    "output_tokens": 0,
    "usd": 0.0,
    "usd_set_aside": 0.0,
    "usd_per_kept": None,
}


class TooFewTraces(ValueError):
    """Fewer rows are kept than the study asks for; the message counts the reasons."""


def write_cot(
    *,
    questions: str | Path,
    prompt_file: str | Path | None,
    traces: str | Path,
    dropped: str | Path,
    asked: str | Path,
    teacher: Mapping[str, object],
    ledger: str | Path,
) -> None:
    """Let the teacher answer every question of a file; write the verified traces, the dropped rows and what was asked.

    A paid teacher is asked by `prompt_file` and keeps what it was paid for in `ledger`; the oracle needs neither.
    """
    rows = read_records(questions, Question)
    if teacher["name"] == oracle.NAME:
        outcome = (*keep_verified(oracle.write_traces(rows), rows), NOTHING_ASKED)
    else:
        outcome = _answered(rows, "cot", prompt.load(prompt_file, "solve"), {}, ledger, read_settings(teacher))
    _write(*outcome, traces, dropped, asked, teacher.get("min_yield", 0))


def write_condensed(
    *,
    source: str | Path,
    prompt_file: str | Path | None,
    traces: str | Path,
    dropped: str | Path,
    asked: str | Path,
    type: str,
    by: str,
    rule: Mapping[str, int],
    teacher: Mapping[str, object],
    ledger: str | Path,
) -> None:
    """Make the traces of a condensed type; write them, the dropped rows and what was asked.

    `source` holds the chains of thought, or the questions where `by` is `independent`.
    """
    if by == "rule":
        outcome = (*condense_all(read_records(source, Trace), type, Rule(**rule)), NOTHING_ASKED)
        return _write(*outcome, traces, dropped, asked, 0)
    settings = read_settings(teacher)
    if by == "teacher":
        template = prompt.load(prompt_file, "condense")
        outcome = _condensed(read_records(source, Trace), type, template, Rule(**rule), ledger, settings)
    else:
        template = prompt.load(prompt_file, "independent")
        outcome = _answered(read_records(source, Question), type, template, rule, ledger, settings)
    _write(*outcome, traces, dropped, asked, teacher["min_yield"])


def _answered(
    rows: Sequence[Question],
    type: str,
    template: prompt.TeacherPrompt,
    rule: Mapping[str, int],
    ledger: str | Path,
    settings: Settings,
) -> tuple[list[Trace], list[Dropped], dict]:
    """Ask for an answer to every question; a wrong one is dropped, one without one answer line asked for again."""
    gold = {row.id: row.answer for row in rows}
    messages = {row.id: prompt.messages(template, {"question": row.question} | rule) for row in rows}
    with Grader() as grader:

        def judge(id: str, text: str) -> Fault | None:
            reason = answer_fault(grader, gold[id], text)
            return Fault(reason, again=reason in (NO_ANSWER, SEVERAL_ANSWERS)) if reason else None

        return _ask(rows, type, messages, judge, ledger, settings)


def _condensed(
    rows: Sequence[Trace],
    type: str,
    template: prompt.TeacherPrompt,
    rule: Rule,
    ledger: str | Path,
    settings: Settings,
) -> tuple[list[Trace], list[Dropped], dict]:
    """Ask for the drafts of every chain of thought, again wherever they break what condensing must keep."""
    sources = {row.id: row for row in rows}
    messages = {
        row.id: prompt.messages(template, {"question": row.question, "solution": row.text} | asdict(rule))
        for row in rows
    }

    def judge(id: str, text: str) -> Fault | None:
        reason = fault(text, sources[id], rule)
        return Fault(reason, again=True) if reason else None

    return _ask(rows, type, messages, judge, ledger, settings)


def _ask(
    rows: Sequence[Question | Trace],
    type: str,
    messages: Mapping[str, ask.Messages],
    judge: Callable[[str, str], Fault | None],
    ledger: str | Path,
    settings: Settings,
) -> tuple[list[Trace], list[Dropped], dict]:
    """Return the traces that were kept, the rows that were dropped, and what was asked."""
    answers = ask.ask(messages, judge, ledger, settings)
    kept = [
        Trace(
            id=row.id,
            scenario=row.scenario,
            type=type,
            question=row.question,
            answer=row.answer,
            text=ending_at_answer(answers.texts[row.id]),
            teacher=f"{settings.name} {settings.model}",
        )
        for row in rows
        if row.id in answers.texts
    ]
    lost = [Dropped(id=row.id, reason=answers.reasons[row.id]) for row in rows if row.id in answers.reasons]
    return kept, lost, answers.summary(settings)


def _write(
    kept: list[Trace],
    lost: list[Dropped],
    summary: dict,
    traces: str | Path,
    dropped: str | Path,
    asked: str | Path,
    min_yield: float,
) -> None:
    """Write all three files, or none and raise TooFewTraces."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(row.reason for row in lost).most_common())
    rows = len(kept) + len(lost)
    log.info("kept %d of %d rows%s", len(kept), rows, f"; dropped: {reasons}" if lost else "")
    if not kept:
        raise TooFewTraces(f"no row is left for {traces}; dropped: {reasons or 'the input is empty'}")
    if len(kept) < min_yield * rows:
        raise TooFewTraces(
            f"{len(kept)} of {rows} rows are left for {traces}, and teacher.min_yield {min_yield:g} wants "
            f"{min_yield * rows:.0f}; dropped: {reasons}. What was paid for is in the ledger and not paid again: lower "
            "min_yield, raise attempts, or change the prompt, the model or max_output_tokens"
        )
    write_records(traces, kept)
    write_records(dropped, lost)
    write_json(asked, summary)
