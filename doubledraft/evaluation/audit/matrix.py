"""Every trained target of a study with every draft: is a style easier to draft, or is its draft better trained?

A row is a target whose own answers every draft reads. Its last column is the draft before any training, which tells how
easy the target's text is by itself; the diagonal adds what the cell's own training gave, and the other drafts tell how
far a draft transfers to another style or difficulty.
"""

from collections.abc import Mapping, Sequence

from doubledraft import machine
from doubledraft.engine.draft_vocabulary import of_draft
from doubledraft.evaluation.audit.draft_audit import read_answers
from doubledraft.evaluation.audit.replay import acceptance
from doubledraft.inference.teacher_forcing import force_drafts, load, ready
from doubledraft.inference.tokenizing import stop_ids
from doubledraft.log import log
from doubledraft.models.inspect import load_tokenizer
from doubledraft.models.merge import merged
from doubledraft.plotting import INK, PAPER, canvas, note
from doubledraft.records import Question, read_records, repeated
from doubledraft.stats import Interval
from doubledraft.summaries import json_file
from doubledraft.summaries.draft_audit import AcceptanceRow, DraftAcceptance
from doubledraft.summaries.provenance import recorded
from doubledraft.summaries.run_file import RunFile
from doubledraft.summaries.table import write_csv

UNTRAINED = "untrained"  # name of the draft before any training
LENGTHS = (2, 4, 8)  # K whose tokens per step are in the table; the rows have all from 1 to 16


def write_row(
    *,
    cell: str,
    questions: str,
    generations: str,
    run: str,
    prompt: str,
    target: tuple[str, str],
    draft: str,
    adapters: Mapping[str, str],
    dtype: str,
    settings: Mapping[str, object],
    out: str,
) -> None:
    """Write how often the target of a cell, a base model and its adapter, would accept each draft on its own answers.

    `draft` is the base model of all drafts, and `adapters` are those trained for it, by cell. Raise ComparisonError
    where the answers, `generations` with the run file `run`, were not given to these prompts.
    """
    machine.use_own_cores()
    tokenizer = load_tokenizer(target[0])
    ends = stop_ids(target[0], tokenizer)
    requests = repeated(read_records(questions, Question), json_file.read(run, RunFile).samples)
    answers = read_answers(generations, requests, prompt, tokenizer)
    models = {
        name: (ready(merged(draft, adapter, dtype=dtype)), of_draft(adapter)) for name, adapter in adapters.items()
    }
    models[UNTRAINED] = load(draft), None
    audits = force_drafts(ready(merged(*target, dtype=dtype)), list(models.values()), answers)
    drafts = {
        name: acceptance(audited, tokenizer, ends, settings["seed"])
        for name, audited in zip(models, audits, strict=True)
    }
    json_file.write(out, AcceptanceRow(target=cell, drafts=drafts, provenance=recorded(settings)))
    log.info("agreement with %s: %s", cell, {name: round(audit.agreement.value, 3) for name, audit in drafts.items()})


def write_matrix(rows: Sequence[str], table: str, figure: str) -> None:
    """Write the rows of all targets as one CSV, and draw their agreements."""
    acceptance_rows = [json_file.read(path, AcceptanceRow) for path in rows]
    write_csv(table, [_line(row.target, name, audit) for row in acceptance_rows for name, audit in row.drafts.items()])
    matrix_figure(acceptance_rows, figure)


def _line(target: str, draft: str, audit: DraftAcceptance) -> dict[str, object]:
    quantities = {
        "agreement": audit.agreement,
        "overlap": audit.overlap,
        **{f"tokens_per_step_{length}": audit.simulated[length - 1].tokens_per_step for length in LENGTHS},
        "target_entropy": audit.target_entropy,
        "draft_entropy": audit.draft_entropy,
    }
    line = {"target": target, "draft": draft, "n": audit.n, "tokens": audit.tokens}
    return line | {name: value for quantity in quantities.items() for name, value in _columns(*quantity).items()}


def _columns(name: str, value: Interval) -> dict[str, float | None]:
    return {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}


def matrix_figure(rows: Sequence[AcceptanceRow], path: str) -> None:
    """Draw order-independent agreement, a row per target and a column per draft, darker where it is higher."""
    drafts = list(rows[0].drafts)
    values = [[row.drafts[name].agreement.value for name in drafts] for row in rows]
    with canvas(path, 1.5 + 0.42 * len(rows), width=1.6 + 0.62 * len(drafts)) as (figure, axes):
        least = min(map(min, values))
        axes.imshow(values, cmap="Blues", vmin=least - 0.1, vmax=1, aspect="auto")
        for row_index, line in enumerate(values):
            for column, value in enumerate(line):
                dark = value > (1 + least) / 2
                weight = "bold" if rows[row_index].target == drafts[column] else "normal"
                text = {"color": PAPER if dark else INK, "fontweight": weight, "ha": "center", "va": "center"}
                axes.text(column, row_index, f"{100 * value:.0f}", **text)
        axes.set_xticks(range(len(drafts)), drafts, rotation=35, ha="right")
        axes.set_yticks(range(len(rows)), [row.target for row in rows])
        axes.set(xlabel="draft", ylabel="target, which wrote the answers")
        axes.grid(visible=False)
        counts = sorted({row.drafts[name].n for row in rows for name in drafts})
        span = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
        note(figure, f"% of answer tokens that the draft would choose; n = {span} answers a row")
