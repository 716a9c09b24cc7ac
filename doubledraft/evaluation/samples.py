"""The rows behind the metrics, for people: samples.csv (one row a question) and comparison.txt (one page a cell).

Model output is data here: `plain_text` makes it visible, and keeps spreadsheets from running it; numbers stay numbers.
"""

import csv
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence

from doubledraft.escaping import csv_cell, visible
from doubledraft.evaluation.runs import Graded
from doubledraft.files import whole_file
from doubledraft.records import Question, first_difference

OUTCOMES = {"equal": "right", "different": "wrong", "undecided": "undecided"}
WIDTH = 110  # columns of the page


def write_samples(path: str, asked: Sequence[Question], modes: Mapping[str, Graded]) -> None:
    """Write one CSV row a question: its gold answer, then every mode's answer, grades, tokens and times."""
    rows = [_row(index, question, modes) for index, question in enumerate(asked)]
    with whole_file(path) as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)


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


def write_page(path: str, metrics: dict, asked: Sequence[Question], modes: Mapping[str, Graded]) -> None:
    """Write the page of a cell."""
    with whole_file(path) as file:
        file.write(page(metrics, asked, modes))


def page(metrics: dict, asked: Sequence[Question], modes: Mapping[str, Graded]) -> str:
    """Give the page of a cell: its main figures, its modes side by side, and a few answers."""
    parts = [*_header(metrics), "", *_table(modes), "", *_examples(asked, modes)]
    return "\n".join(line.rstrip() for line in parts) + "\n"


def _header(metrics: dict) -> list[str]:
    title = f"{metrics['cell']}: {metrics['n']} questions, 95 % intervals in brackets"
    lines = [title, "=" * len(title)]
    if "speculation" not in metrics:
        return lines
    spec, speedup = metrics["speculation"], metrics["speedup"]
    facts = {
        "speculation": f"{spec['method']}, K = {spec['draft_length']:.3g}, {spec['engine']}",
        "speedup": f"{_figure(speedup, 'batches')}, predicted {_number(speedup['predicted'])}",
        "tokens per step": _figure(spec["tokens_per_step"]),
        "acceptance rate": f"{_percent(spec['acceptance_rate'])} ({spec['acceptance_definition']})",
        "identical output": f"{_percent(metrics['lossless']['identical_rate'])} ({metrics['lossless']['dtype']})",
    }
    if spec["agreement_definition"]:
        facts["agreement"] = f"{_percent(spec['order_independent_agreement'])} ({spec['agreement_definition']})"
    return lines + [f"{name:<18}{fact}" for name, fact in facts.items()]


def _table(modes: Mapping[str, Graded]) -> list[str]:
    rows = {
        "accuracy, strict": lambda mode: _percent(mode["accuracy"]["strict"]) + _warning(mode),
        "accuracy, lenient": lambda mode: _percent(mode["accuracy"]["lenient"]) + _warning(mode),
        "  finished, strict": lambda mode: _percent(mode["accuracy"]["strict_finished"]),
        "  finished, lenient": lambda mode: _percent(mode["accuracy"]["lenient_finished"]),
        "truncated": lambda mode: _percent(mode["truncated"]) + _warning(mode),
        "no strict answer": lambda mode: str(mode["unparsable"]),
        "unclosed <think>": lambda mode: str(mode["unclosed_think"]),
        "undecided": lambda mode: str(mode["undecided"]),
        "keeps draft rule": lambda mode: _percent(mode["compliance"]),
        "steps per answer": lambda mode: _figure(mode["steps_per_answer"]),
        "words per step": lambda mode: _figure(mode["words_per_step"]),
        "tokens per answer": lambda mode: _figure(mode["tokens"]["mean"]),
        "latency p50, s": lambda mode: _number((mode["latency"] or {}).get("p50")),
        "latency p90, s": lambda mode: _number((mode["latency"] or {}).get("p90")),
        "tokens per second": lambda mode: _number(mode["tokens_per_second"]),
        "wall time, s": lambda mode: _number(mode["wall_seconds"]),
        "requests at a time": lambda mode: str(mode["concurrency"]),
    }
    figures = [mode.figures for mode in modes.values()]
    lines = [_columns("", modes), *(_columns(label, map(show, figures)) for label, show in rows.items())]
    if any(map(_warning, figures)):
        lines.append("! So many answers hit the token cap that the accuracy tells more of the cap than of the model.")
    return lines


def _columns(label: str, values: Iterable[str]) -> str:
    return f"{label:<22}" + "".join(f"{value:<36}" for value in values)


def _warning(mode: Mapping[str, object]) -> str:
    return " !" if mode["truncation_warning"] else ""


def _examples(asked: Sequence[Question], modes: Mapping[str, Graded]) -> list[str]:
    """The first answer of each outcome in the first mode, beside what the other modes said."""
    first = next(iter(modes.values()))
    outcomes = [
        "truncated" if row.finish_reason == "length" else OUTCOMES[score.strict_verdict]
        for row, score in zip(first.run.rows, first.scores, strict=True)
    ]
    lines = []
    for outcome in (*OUTCOMES.values(), "truncated"):
        if outcome in outcomes:
            lines += _example(outcome, outcomes.index(outcome), asked, modes)
    return lines


def _example(outcome: str, index: int, asked: Sequence[Question], modes: Mapping[str, Graded]) -> list[str]:
    question, names = asked[index], list(modes)
    title = f"An answer that is {outcome} ({names[0]}): {visible(question.id)}"
    lines = [title, "-" * len(title), *_block("question", question.question), *_block("gold", question.answer)]
    for name in names:
        answer, score = modes[name].run.rows[index], modes[name].scores[index]
        same = name != names[0] and answer.token_ids == modes[names[0]].run.rows[index].token_ids
        verdict = f"[{score.strict_verdict}, {len(answer.token_ids)} tokens]"
        lines += _block(f"{name} {verdict}", "(the same tokens)" if same else answer.text)
    return [*lines, ""]


def _block(label: str, text: str) -> list[str]:
    wrapped = [part for line in visible(text).split("\n") for part in textwrap.wrap(line, WIDTH - 4) or [""]]
    return [f"{label}:", *("    " + line for line in wrapped)]


def _figure(interval: dict | None, unit: str = "", show: Callable[[float], str] | None = None) -> str:
    if interval is None:
        return "-"
    show, ends = show or _number, [interval["low"], interval["high"]]
    bracket = "" if None in ends else " [" + ", ".join(map(show, ends)) + "]"
    return f"{show(interval['value'])}{bracket} n={interval['n']} {unit}".rstrip()


def _percent(interval: dict | None) -> str:
    return _figure(interval, show=lambda share: f"{share:.1%}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
