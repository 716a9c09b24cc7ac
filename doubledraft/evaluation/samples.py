"""The rows behind the metrics, for people: samples.csv (one row a question) and comparison.txt (one page a cell).

Model output is data: control characters become visible escapes, and no cell is a formula to a spreadsheet.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from doubledraft.escaping import visible
from doubledraft.evaluation.runs import Graded
from doubledraft.files import whole_file
from doubledraft.number_text import number_text, quantity_text
from doubledraft.records import Question, first_difference
from doubledraft.summaries.cell_metrics import CellMetrics, RunMetrics, SpeculationMetrics
from doubledraft.summaries.table import write_csv

OUTCOMES = {"equal": "right", "different": "wrong", "undecided": "undecided", "ungraded": "not graded"}
WIDTH = 110  # columns of the page
AUDITED = "as both models read the answers"


def write_samples(path: str, questions: Sequence[Question], modes: Mapping[str, Graded]) -> None:
    """Write one CSV row per question: its gold answer, then the answer, grades, tokens and times of every run."""
    write_csv(path, [_row(index, question, modes) for index, question in enumerate(questions)])


def _row(index: int, question: Question, modes: Mapping[str, Graded]) -> dict[str, object]:
    row = {name: getattr(question, name) for name in ("id", "level", "subject", "question")} | {"gold": question.answer}
    for name, mode in modes.items():
        answer, score = mode.run.rows[index], mode.scores[index]
        row |= {
            f"{name}_text": answer.text,
            f"{name}_strict": score.strict,
            f"{name}_strict_verdict": str(score.strict_verdict),
            f"{name}_lenient": score.lenient,
            f"{name}_lenient_verdict": str(score.lenient_verdict),
            f"{name}_finish": answer.finish_reason,
            f"{name}_tokens": len(answer.token_ids),
            f"{name}_latency": answer.latency,
        }
    if "speculative" in modes:
        plain, drafted = (modes[name].run.rows[index] for name in ("baseline", "speculative"))
        difference = first_difference(plain.token_ids, drafted.token_ids)
        row |= {"identical": difference is None, "first_difference": difference, "top2_gap": drafted.top2_gap}
        row |= {name: getattr(drafted, name) for name in ("steps", "drafted", "accepted")}
    return row


def write_page(path: str, metrics: CellMetrics, questions: Sequence[Question], modes: Mapping[str, Graded]) -> None:
    """Write the page of a cell."""
    with whole_file(path) as file:
        file.write(page(metrics, questions, modes))


def page(metrics: CellMetrics, questions: Sequence[Question], modes: Mapping[str, Graded]) -> str:
    """Return the page of a cell: its main metrics, its runs side by side, and a few answers."""
    parts = [*_header(metrics), "", *_table(modes), "", *_examples(questions, modes)]
    return "\n".join(line.rstrip() for line in parts) + "\n"


def _header(metrics: CellMetrics) -> list[str]:
    title = f"{metrics.cell}: {metrics.n} questions, 95 % intervals in brackets"
    lines, spec = [title, "=" * len(title)], metrics.speculation
    if spec is None:
        return lines
    speedup, same = metrics.speedup, metrics.lossless
    facts = {
        "speculation": f"{spec.method}, {drafting_text(spec)}, {spec.engine}",
        "speedup": f"{quantity_text(speedup)}; n counts {speedup.units}",
        "predicted speedup": number_text(speedup.predicted),
        **_steadiness(metrics),
        **_step_costs(metrics),
        "tokens per step": quantity_text(spec.tokens_per_step),
        "acceptance rate": f"{quantity_text(spec.acceptance_rate, True)}: {spec.acceptance_definition}",
        "identical output": f"{quantity_text(same.identical_rate, True)}, in {same.dtype}",
    }
    if spec.agreement_definition:
        facts["agreement"] = f"{quantity_text(spec.order_independent_agreement, True)}: {spec.agreement_definition}"
    if audit := metrics.draft_audit:
        facts["agreement"] = f"{quantity_text(audit.agreement, True)}: of the answers' tokens, {AUDITED}"
        facts["1 - TV"] = f"{quantity_text(audit.overlap, True)}: expected acceptance at temperature 1, {AUDITED}"
        facts["draft alone"] = f"{quantity_text(audit.own_text.accuracy, True)} right, strict"
        if served := audit.against_served:
            parted = "" if served.agrees else f" ! They should be within {100 * served.tolerance:.0f} %."
            facts["the same, replayed"] = f"{number_text(served.simulated)}: {AUDITED}{parted}"
    return lines + [f"{name:<20}{fact}" for name, fact in facts.items()]


def _steadiness(metrics: CellMetrics) -> dict[str, str]:
    timing = metrics.timing
    if timing is None or timing.control is None:
        return {}
    ratio = f"the target alone / itself {quantity_text(timing.control)}"
    return {"machine": f"{'steady' if timing.steady else 'NOT STEADY, do not trust the speedup'}: {ratio}"}


def _step_costs(metrics: CellMetrics) -> dict[str, str]:
    speedup, spec = metrics.speedup, metrics.speculation
    if spec.reason or None in (speedup.verify_cost, speedup.draft_cost):
        return {}
    best = speedup.best_draft_length
    paying = "no K is predicted to pay" if best == 0 else f"best K by the cost model {best}"
    return {
        "cost of a step": f"{number_text(speedup.verify_cost)} to verify + {spec.draft_length} x "
        f"{number_text(speedup.draft_cost)} to draft, in plain steps; {paying}"
    }


def drafting_text(spec: SpeculationMetrics) -> str:
    """Return how many tokens are drafted per step, and what limits the draft: its vocabulary, its 8-bit weights."""
    length = f"K adaptive, at most {spec.draft_length}" if spec.adaptive else f"K = {spec.draft_length}"
    vocabulary = f", draft vocabulary {spec.draft_vocabulary}" if spec.draft_vocabulary else ""
    return f"{length}{vocabulary}{', draft in 8 bits' if spec.draft_dtype == 'int8' else ''}"


def _table(modes: Mapping[str, Graded]) -> list[str]:
    rows = {
        "accuracy, strict": lambda run: quantity_text(run.accuracy.strict, True) + _warning(run),
        "accuracy, lenient": lambda run: quantity_text(run.accuracy.lenient, True) + _warning(run),
        "  finished, strict": lambda run: quantity_text(run.accuracy.strict_finished, True),
        "  finished, lenient": lambda run: quantity_text(run.accuracy.lenient_finished, True),
        "truncated": lambda run: quantity_text(run.truncated, True) + _warning(run),
        "no strict answer": lambda run: str(run.unparsable),
        "unclosed <think>": lambda run: str(run.unclosed_think),
        "undecided": lambda run: str(run.undecided),
        "keeps draft rule": lambda run: quantity_text(run.compliance, True),
        "steps per answer": lambda run: quantity_text(run.steps_per_answer),
        "words per step": lambda run: quantity_text(run.words_per_step),
        "tokens per answer": lambda run: quantity_text(run.tokens.mean),
        "median latency, s": lambda run: quantity_text(run.latency and run.latency.p50),
        "tokens per second": lambda run: number_text(run.tokens_per_second),
        "wall time, s": lambda run: number_text(run.wall_seconds),
        "requests at a time": lambda run: str(run.concurrency),
    }
    runs = [mode.metrics for mode in modes.values()]
    lines = [_columns("", modes), *(_columns(label, map(show, runs)) for label, show in rows.items())]
    if any(map(_warning, runs)):
        lines.append("! So many answers reached the token cap that the accuracy measures the cap, not the model.")
    return lines


def _columns(label: str, values: Iterable[str]) -> str:
    return f"{label:<22}" + "".join(f"{value:<36}" for value in values)


def _warning(run: RunMetrics) -> str:
    return " !" if run.truncation_warning else ""


def _examples(questions: Sequence[Question], modes: Mapping[str, Graded]) -> list[str]:
    """Return the first answer of each outcome in the first run, beside those of the other runs."""
    first = next(iter(modes.values()))
    outcomes = [
        "truncated" if row.finish_reason == "length" else OUTCOMES[score.strict_verdict]
        for row, score in zip(first.run.rows, first.scores, strict=True)
    ]
    lines = []
    for outcome in (*OUTCOMES.values(), "truncated"):
        if outcome in outcomes:
            lines += _example(outcome, outcomes.index(outcome), questions, modes)
    return lines


def _example(outcome: str, index: int, questions: Sequence[Question], modes: Mapping[str, Graded]) -> list[str]:
    question, names = questions[index], list(modes)
    title = f"An answer that is {outcome} ({names[0]}): {visible(question.id)}"
    lines = [title, "-" * len(title), *_indented("question", question.question), *_indented("gold", question.answer)]
    for name in names:
        answer, score = modes[name].run.rows[index], modes[name].scores[index]
        same = name != names[0] and answer.token_ids == modes[names[0]].run.rows[index].token_ids
        verdict = f"[{score.strict_verdict}, {len(answer.token_ids)} tokens]"
        lines += _indented(f"{name} {verdict}", "(the same tokens)" if same else answer.text)
    return [*lines, ""]


def _indented(label: str, text: str) -> list[str]:
    wrapped = [part for line in visible(text).split("\n") for part in textwrap.wrap(line, WIDTH - 4) or [""]]
    return [f"{label}:", *("    " + line for line in wrapped)]
