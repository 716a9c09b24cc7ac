"""The audit of a set of traces: what was kept, what was dropped and why, and how long and how dense the texts are."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from doubledraft.records import Question, Trace, read_records
from doubledraft.stats import wilson
from doubledraft.summaries import json_file
from doubledraft.summaries.provenance import Provenance, recorded
from doubledraft.summaries.trace_audit import Distribution, Flagged, Histogram, TraceAudit
from doubledraft.traces import figures
from doubledraft.traces.draft_rule import Rule, compliance, steps_of
from doubledraft.traces.verify import Dropped, keep_verified

CountTokens = Callable[[str], int]
BINS = 20  # at most, of a histogram


def write(
    *,
    traces: str | Path,
    dropped: str | Path,
    asked: str | Path,
    questions: str | Path,
    model: str | Path,
    rule: Mapping[str, int] | None,
    settings: Mapping[str, object],
    out: str | Path,
    figure: str | Path,
) -> None:
    """Audit a file of traces, its tokens counted by the tokenizer of a model folder; write the audit and its figure.

    `settings` is the part of the config that the traces depend on, for the provenance.
    """
    audit = describe(
        read_records(traces, Trace),
        read_records(dropped, Dropped),
        read_records(questions, Question),
        Rule(**rule) if rule else None,
        token_counter(model),
        json.loads(Path(asked).read_text(encoding="utf-8")),
        recorded(settings),
    )
    json_file.write(out, audit)
    figures.audit_figure(audit, figure)


def token_counter(model: str | Path) -> CountTokens:
    """Return a function that counts the tokens of a text by the tokenizer of a model folder."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(model), local_files_only=True)
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))


def describe(
    kept: Sequence[Trace],
    dropped: Sequence[Dropped],
    questions: Sequence[Question],
    rule: Rule | None,
    count_tokens: CountTokens,
    asked: Mapping[str, object],
    made_by: Provenance,
) -> TraceAudit:
    """Return what was kept of a set of traces and what not and why, lengths, and what the kept texts are like.

    Shares are Wilson intervals. Traces without an equation in any step are flagged by their ids and kept: the audit
    describes the training data, and does not choose them. `asked` is what a paid teacher was asked for them.
    """
    forms = [compliance(trace.text, rule) for trace in kept]
    steps = [step for trace in kept for step in steps_of(trace.text)]
    verified, _ = keep_verified(kept, questions)
    flagged = [trace.id for trace in kept if not any(map(has_equation, steps_of(trace.text)))]
    return TraceAudit(
        type=kept[0].type if kept else None,
        scenario=kept[0].scenario if kept else None,
        teacher=kept[0].teacher if kept else None,
        n=len(kept) + len(dropped),
        kept=len(kept),
        dropped=len(dropped),
        reasons=dict(Counter(row.reason for row in dropped).most_common()),
        tokens=_distribution([count_tokens(trace.text) for trace in kept]),
        steps=_distribution([form.steps for form in forms]),
        words_per_step=_distribution([words for form in forms for words in form.words_per_step]),
        rule=asdict(rule) if rule else None,
        compliant=wilson(sum(bool(form.compliant) for form in forms), len(forms)) if rule else None,
        verified=wilson(len(verified), len(kept)),
        numeric_density=wilson(sum(has_equation(step) for step in steps), len(steps)),
        without_equation=Flagged(n=len(flagged), ids=flagged),
        asked=dict(asked),
        provenance=made_by,
    )


def has_equation(step: str) -> bool:
    """Return whether a step has an equation with a number in it."""
    return "=" in step and any(char.isdigit() for char in step)


def _distribution(values: Sequence[int]) -> Distribution | None:
    """Summarise counts; the bins of the histogram are whole numbers."""
    import numpy as np

    if not values:
        return None
    low, high = min(values), max(values) + 1
    width = -(-(high - low) // BINS)
    counts, edges = np.histogram(values, bins=np.arange(low, high + width, width))
    return Distribution(
        n=len(values),
        mean=float(np.mean(values)),
        median=float(np.median(values)),
        p90=float(np.percentile(values, 90)),
        max=max(values),
        total=sum(values),
        histogram=Histogram(edges=edges.tolist(), counts=counts.tolist()),
    )
