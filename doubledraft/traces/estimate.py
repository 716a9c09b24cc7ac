"""What the traces of a type will cost, estimated before anything is paid, without key or network.

The low end asks every question once and expects replies as long as the solutions that the questions came with (of full
length where they have none); thoughts come on top. The high end asks every question as often as `teacher.attempts`
allows, every reply of full length. What replies really cost is in the ledger.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from doubledraft.files import write_json
from doubledraft.log import log
from doubledraft.records import Question, read_records
from doubledraft.traces.draft_rule import Rule
from doubledraft.traces.teacher import budget, ledger, messages, prompt
from doubledraft.traces.teacher.messages import Request
from doubledraft.traces.teacher.settings import Settings, read_settings, traced

FREE = {
    "requests": 0,
    "answered": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "usd_low": 0.0,
    "usd_high": 0.0,
    "usd_first_round": 0.0,
    "usd_spent": 0.0,
    "usd_budget": None,
    "allowed": True,
}


def write(
    *,
    questions: str | Path,
    prompt_file: str | Path | None,
    ledgers: Sequence[str | Path],
    out: str | Path,
    role: str | None,
    rule: Mapping[str, int] | None,
    teacher: Mapping[str, object],
) -> None:
    """Estimate what asking the questions of a file by `prompt_file` costs; all is zero where no `role` is asked.

    `ledgers` are those of the whole study: what was spent by them counts against the budget.
    """
    estimate = FREE
    if role:
        settings = read_settings(teacher)
        rows, template = read_records(questions, Question), prompt.load(prompt_file, role)
        bounds = Rule(**rule) if rule else None
        estimate = describe(rows, template, role, bounds, settings, [ledger.read(path) for path in ledgers])
        log.info(
            "%d requests, %.2f to %.2f USD; %.2f of %.2f USD are spent or set aside",
            *(estimate[key] for key in ("requests", "usd_low", "usd_high", "usd_spent", "usd_budget")),
        )
        if not estimate["allowed"]:
            log.warning("the first round could cost %.2f USD: teacher.budget refuses it", estimate["usd_first_round"])
    write_json(out, {"teacher": traced(teacher)} | estimate)


def describe(
    questions: Sequence[Question],
    template: prompt.TeacherPrompt,
    role: str,
    rule: Rule | None,
    settings: Settings,
    ledgers: Sequence[ledger.Account],
) -> dict[str, object]:
    """Estimate the requests of a role that no ledger has a reply to: tokens and USD at the low end, USD at the high."""
    replied = {key for account in ledgers for key in account.replies}
    requests = [_request(question, template, rule, settings) for question in questions]
    pending = [request for request in requests if request.key not in replied]
    likely = budget.estimate(pending, settings, _reply_tokens(questions, rule))
    most = likely.most_usd
    if role == "condense":  # the chain of thought is not there yet, and may be as long as a reply
        most += ledger.cost(len(pending) * settings.max_output_tokens, 0, settings.input_price, settings.output_price)
    spent = sum(account.committed for account in ledgers)
    return {
        "requests": len(pending),
        "answered": len(requests) - len(pending),
        "input_tokens": likely.input_tokens,
        "output_tokens": likely.output_tokens,
        "usd_low": likely.usd,
        "usd_high": settings.attempts * most,
        "usd_first_round": most,
        "usd_spent": spent,
        "usd_budget": settings.budget,
        "allowed": spent + most <= settings.budget,
    }


def _request(question: Question, template: prompt.TeacherPrompt, rule: Rule | None, settings: Settings) -> Request:
    solution = "\n".join([*question.steps, f"#### {question.answer}"])
    values = {"question": question.question, "solution": solution} | (asdict(rule) if rule else {})
    return messages.request(question.id, 1, prompt.messages(template, values), settings)


def _reply_tokens(questions: Sequence[Question], rule: Rule | None) -> int | None:
    """Guess the tokens of a reply: drafts of full length, or a solution like the questions' own; None without those."""
    if rule:
        return rule.max_steps * rule.max_words
    solutions = ["\n".join(question.steps) for question in questions if question.steps]
    if not solutions:
        return None
    return round(sum(map(len, solutions)) / len(solutions) / budget.CHARACTERS_PER_TOKEN)
