"""What a draft is worth on its target's own answers: acceptance from one reading by both models, without an engine.

The answers are those of the cell's run with the draft, which are the target's own. Each has for every token whether the
draft would have proposed it, so greedy speculation is replayed exactly, for every K at once, and the replay stands
beside what the engine counted: where the two differ, either the engine or the audit did not run the models it should.

Adapters are merged in memory as `models.merge` does, weights rounded to the study's type.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from doubledraft import machine, prompts
from doubledraft.engine.draft_vocabulary import of_draft
from doubledraft.evaluation.audit.replay import acceptance
from doubledraft.evaluation.grade import share, style
from doubledraft.evaluation.runs import ComparisonError
from doubledraft.grading import grader
from doubledraft.inference.teacher_forcing import GivenAnswer, answer_alone, force_drafts, ready, simulated_steps
from doubledraft.inference.tokenizing import prompt_ids, stop_ids
from doubledraft.log import log
from doubledraft.models.inspect import load_tokenizer
from doubledraft.models.merge import merged
from doubledraft.records import Generation, Question, read_records, repeated, write_records
from doubledraft.stats import mean_interval, ratio_interval
from doubledraft.summaries import json_file
from doubledraft.summaries.draft_audit import (
    AgainstServed,
    AuditedAnswer,
    DraftAcceptance,
    DraftAudit,
    OwnText,
)
from doubledraft.summaries.provenance import recorded
from doubledraft.summaries.run_file import RunFile

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SAMPLED = "speculation is replayed greedily, and these answers were sampled"
TOGETHER = 32  # answers that the draft writes alone at the same time, which bounds its memory
TOLERANCE = 0.02  # of tokens per step, replayed and served


def audit(
    *,
    questions: str,
    generations: str,
    run: str,
    prompt: str,
    target: tuple[str, str],
    draft: tuple[str, str],
    dtype: str,
    rule: Mapping[str, int] | None,
    max_tokens: int,
    settings: Mapping[str, object],
    out_audit: str,
    out_answers: str,
) -> None:
    """Audit a cell's draft, and write the summary and one AuditedAnswer per question.

    `generations` are the answers of its run with the draft, whose run file is `run`; `target` and `draft` are each a
    base model and its adapter. `max_tokens` caps what the draft writes alone, and `settings` is the part of the config
    that the audit depends on. Raise ComparisonError where the answers were not given to these prompts.
    """
    machine.use_own_cores()
    info, seed = json_file.read(run, RunFile), settings["seed"]
    tokenizer, requests = load_tokenizer(target[0]), repeated(read_records(questions, Question), info.samples)
    ends = stop_ids(target[0], tokenizer)
    answers = read_answers(generations, requests, prompt, tokenizer)
    big, small = (ready(merged(base, adapter, dtype=dtype)) for base, adapter in (target, draft))
    allowed = of_draft(draft[1])
    [audited] = force_drafts(big, [(small, allowed)], answers)
    alone = _alone(small, tokenizer, answers, max_tokens, ends, allowed)
    draft_answers = [entry._replace(token_ids=row.token_ids) for entry, row in zip(answers, alone, strict=True)]
    [read_back] = force_drafts(big, [(small, allowed)], draft_answers)
    result = acceptance(audited, tokenizer, ends, seed)
    served = against_served(audited, read_records(generations, Generation), info)
    write_records(out_answers, [replace(entry, draft_text=row.text) for entry, row in zip(audited, alone, strict=True)])
    json_file.write(
        out_audit,
        DraftAudit(
            **{field.name: getattr(result, field.name) for field in fields(DraftAcceptance)}
            | ({"simulated": None, "simulated_reason": SAMPLED} if info.temperature else {}),
            own_text=own_text(alone, read_back, requests, rule, seed),
            against_served=served,
            provenance=recorded(settings),
        ),
    )
    _report(result, served)


def _report(result: DraftAcceptance, served: AgainstServed | None) -> None:
    log.info("agreement %.3f, 1 - TV %.3f over %d tokens", result.agreement.value, result.overlap.value, result.tokens)
    if served and not served.agrees:
        log.warning("tokens per step: %.3f simulated, but %.3f served", served.simulated, served.served)


def read_answers(
    generations: str | Path, questions: Sequence[Question], prompt: str | Path, tokenizer: "PreTrainedTokenizerBase"
) -> list[GivenAnswer]:
    """Return the answers of a file with the token ids of their prompts.

    Raise ComparisonError for an answer to no question, and where a prompt has another length than the engine read: the
    prompt file or the chat template is not the one that the answers were given to.
    """
    texts, loaded = {question.id: question.question for question in questions}, prompts.load(prompt)
    answers = []
    for row in read_records(generations, Generation):
        if row.id not in texts:
            raise ComparisonError(f"{generations}: {row.id!r} is not among the questions: make the answers again")
        ids = prompt_ids(tokenizer, prompts.messages(loaded, texts[row.id], few_shot=False))
        if len(ids) != row.prompt_tokens:
            raise ComparisonError(
                f"{generations}: the prompt of {row.id!r} had {row.prompt_tokens} tokens, and with {prompt} and this "
                f"chat template it has {len(ids)}: make the answers again"
            )
        answers.append(GivenAnswer(row.id, ids, row.token_ids))
    return answers


def _alone(
    draft: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    answers: Sequence[GivenAnswer],
    max_tokens: int,
    ends: Collection[int],
    allowed: Sequence[int] | None,
) -> list[Generation]:
    """Return what the draft writes alone after the prompts of `answers`."""
    prompts_of = [answer.prompt for answer in answers]
    written = [
        ids
        for at in range(0, len(answers), TOGETHER)
        for ids in answer_alone(draft, prompts_of[at : at + TOGETHER], max_tokens, ends, allowed)
    ]
    return [
        Generation(
            id=id,
            prompt_tokens=len(prompt),
            token_ids=ids,
            text=tokenizer.decode(ids, skip_special_tokens=True),
            finish_reason="stop" if ids[-1] in ends else "length",
            batch=0,
            batch_seconds=0.0,
        )
        for (id, prompt, _), ids in zip(answers, written, strict=True)
    ]


def own_text(
    rows: Sequence[Generation],
    audited: Sequence[AuditedAnswer],
    questions: Sequence[Question],
    rule: Mapping[str, int] | None,
    seed: int,
) -> OwnText:
    """Return what the draft's own answers are like; `audited` are the same answers, read by both models."""
    scores = grader.score(rows, {question.id: question.answer for question in questions})
    lengths = [len(row.token_ids) for row in rows]
    agreed = [sum(best == token for best, token in zip(row.target_best, row.token_ids, strict=True)) for row in audited]
    return OwnText(
        n=len(rows),
        accuracy=share(score.strict_verdict == "equal" for score in scores),
        truncated=share(row.finish_reason == "length" for row in rows),
        tokens=mean_interval(lengths, seed),
        **style(rows, rule, seed),
        agreement=ratio_interval(agreed, lengths, seed),
    )


def against_served(audited: Sequence[AuditedAnswer], rows: Sequence[Generation], info: RunFile) -> AgainstServed | None:
    """Return tokens per step as replayed beside those of the run.

    None where its drafts have no fixed length, and where it sampled: the replay is one of greedy speculation.
    """
    if info.adaptive or info.temperature:
        return None
    emitted = sum(len(row.token_ids) for row in rows)
    served = emitted / sum(row.steps for row in rows)
    passes = sum(1 + len(simulated_steps(answer.agreed, info.draft_length)) for answer in audited)
    difference = emitted / passes / served - 1
    return AgainstServed(
        draft_length=info.draft_length,
        simulated=emitted / passes,
        served=served,
        difference=difference,
        tolerance=TOLERANCE,
        agrees=abs(difference) <= TOLERANCE,
    )
