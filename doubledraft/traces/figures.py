"""Drawings of traces: the audit of one set, and all sets of a study beside each other."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from doubledraft.charts import Dot, colours, dots_figure, markers
from doubledraft.plotting import COLOURS, INK, canvas, note, nothing
from doubledraft.summaries.trace_audit import Distribution, TraceAudit

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def audit_figure(audit: TraceAudit, path: str | Path) -> None:
    """Draw an audit: rows kept and dropped, tokens, steps, and words per step beside the bounds of the rule."""
    rule = audit.rule or {}
    with canvas(path, 5.2, width=7.2, nrows=2, ncols=2) as (figure, ((rows, tokens), (steps, words))):
        _kept_bars(rows, {"kept": audit.kept} | audit.reasons)
        _histogram(tokens, audit.tokens, "tokens per trace", "traces")
        _histogram(steps, audit.steps, "steps per trace", "traces", rule.get("min_steps"), rule.get("max_steps"))
        _histogram(words, audit.words_per_step, "words per step", "steps", None, rule.get("max_words"))
        shares = [
            f"{name} {100 * share.value:.0f} %"
            for name, share in (
                ("answer equals gold:", audit.verified),
                ("keeps the rule:", audit.compliant),
                ("steps with an equation:", audit.numeric_density),
            )
            if share
        ]
        bounds = ["dashed: bounds of the rule"] if rule else []
        note(figure, "; ".join([f"n = {audit.n} rows, {audit.kept} kept", *bounds]) + f"\n{'; '.join(shares)}")


def _kept_bars(axes: "Axes", counts: dict[str, int]) -> None:
    names = [textwrap.fill(name, 20) for name in counts]
    bars = axes.barh(range(len(names)), list(counts.values()), color=[COLOURS[0]] + [COLOURS[1]] * (len(names) - 1))
    axes.bar_label(bars, padding=3, fontsize=9)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(max(len(names), 3) - 0.4, -0.6)
    axes.margins(x=0.15)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="rows", title="kept and dropped")


def _histogram(
    axes: "Axes",
    summary: Distribution | None,
    label: str,
    unit: str,
    least: float | None = None,
    most: float | None = None,
) -> None:
    if summary is None:
        return nothing(axes)
    edges, counts = summary.histogram.edges, summary.histogram.counts
    shift = 0.5 if edges[1] - edges[0] == 1 else 0  # a bin of one whole number is centred on it
    axes.stairs(counts, [edge - shift for edge in edges], fill=True, color=COLOURS[0])
    for bound, side in ((least, -0.5), (most, 0.5)):
        if bound is not None:
            axes.axvline(bound + side, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.margins(x=0.05)
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel=label, ylabel=unit, title=f"median {summary.median:g}, largest {summary.max:g}, n {summary.n}")


def draw(analysis: Mapping, folder: Path) -> list[str]:
    """Draw the figures of an analysis (`analyze.analyze`) into a folder; return their file names."""
    sets, pairs = analysis["sets"], analysis["pairs"]
    drawn = {"lengths.png": lambda path: lengths_figure(sets, path)}
    if any(entry["compliant"] for entry in sets):
        drawn["compliance.png"] = lambda path: _shares(sets, "compliant", "traces that keep their type's rule", path)
    drawn["numeric_density.png"] = lambda path: _shares(sets, "numeric_density", "steps with an equation", path)
    for type in dict.fromkeys(pair["type"] for pair in pairs):
        selection = [pair for pair in pairs if pair["type"] == type and pair["points"]]
        if selection:
            drawn[f"{type}_against_cot.png"] = lambda path, selection=selection: paired_figure(selection, path)
    drawn["repetition.png"] = lambda path: repetition_figure(sets, path)
    for name, figure in drawn.items():
        figure(folder / name)
    return list(drawn)


def lengths_figure(sets: Sequence[Mapping], path: str | Path) -> None:
    """Draw tokens and steps per trace of every set: median, middle half (thick) and 5 to 95 % (thin)."""
    palette = colours(entry["type"] for entry in sets)
    with canvas(path, 1.2 + 0.29 * max(len(sets), 3), width=7.2, ncols=2, sharey=True) as (figure, axes):
        for side, quantity, label in zip(
            axes, ("tokens", "steps"), ("tokens per trace", "steps per trace"), strict=True
        ):
            for row, entry in enumerate(sets):
                _draw_quantiles(side, row, entry[quantity], palette[entry["type"]])
            side.margins(x=0.06)
            side.set_xlim(left=0)
            side.set_xlabel(label)
            _rows(side, sets)
        axes[0].set_yticks(range(len(sets)), [f"{entry['type']} {entry['scenario']}" for entry in sets])
        note(figure, f"Dot: median; thick: middle half; thin: 5 to 95 %; {_n(sets)}")


def _draw_quantiles(axes: "Axes", row: int, spread: Mapping | None, colour: str) -> None:
    if spread is None:
        return
    axes.plot([spread["p5"], spread["p95"]], [row, row], color=colour, linewidth=1.2)
    axes.plot([spread["p25"], spread["p75"]], [row, row], color=colour, linewidth=5, solid_capstyle="butt", alpha=0.55)
    axes.plot(spread["p50"], row, "o", color=colour, markersize=6)


def paired_figure(pairs: Sequence[Mapping], path: str | Path) -> None:
    """Draw a dot a question: its tokens as CoT and in the other type; below the dashed line the other is shorter."""
    shapes = markers(pair["scenario"] for pair in pairs)
    hues = colours(pair["scenario"] for pair in pairs)
    with canvas(path, 4.6) as (figure, axes):
        most = max(max(point) for pair in pairs for point in pair["points"])
        axes.plot([0, most], [0, most], color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        for pair in pairs:
            ratio = pair["tokens"]
            ends = "" if ratio["low"] is None else f" ({ratio['low']:.2f} to {ratio['high']:.2f})"
            axes.plot(
                *zip(*pair["points"], strict=True),
                shapes[pair["scenario"]],
                color=hues[pair["scenario"]],
                markersize=4,
                alpha=0.35,
                markeredgewidth=0,
                label=f"{pair['scenario']}: {ratio['value']:.2f}{ends} of the tokens",
            )
        axes.set(xlabel="tokens of the cot trace", ylabel=f"tokens of the {pairs[0]['type']} trace")
        axes.set_xlim(left=0)
        axes.set_ylim(0, 1.2 * max(other for pair in pairs for _, other in pair["points"]))
        legend = figure.legend(loc="outside upper left", ncols=1)
        for handle in legend.legend_handles:
            handle.set_alpha(1)
        note(figure, f"Dashed: equal length; ratio of totals with 95 % interval; {_n(pairs, 'questions')}")


def repetition_figure(sets: Sequence[Mapping], path: str | Path) -> None:
    """Draw for every set its traces, the templates they are of, and the near-duplicates among them."""
    palette = colours(entry["type"] for entry in sets)
    with canvas(path, 1.2 + 0.29 * max(len(sets), 3)) as (figure, axes):
        for row, entry in enumerate(sets):
            counts, colour = entry["repetition"], palette[entry["type"]]
            axes.barh(row, entry["n"], height=0.62, color=colour, alpha=0.18)
            axes.barh(row, counts["templates"], height=0.62, color=colour)
            axes.plot(counts["near_duplicates"], row, "d", color=INK, markersize=5.5, clip_on=False)
            axes.annotate(
                str(counts["templates"]), (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=9
            )
        axes.plot([], [], "d", color=INK, markersize=5.5, label="near-duplicates of an earlier trace")
        figure.legend(loc="outside upper right")
        axes.set_yticks(range(len(sets)), [f"{entry['type']} {entry['scenario']}" for entry in sets])
        _rows(axes, sets)
        axes.set_xlabel("traces")
        note(figure, f"Pale: traces; full, with the count: templates (texts without numbers)\n{_n(sets)}")


def _shares(sets: Sequence[Mapping], key: str, quantity: str, path: str | Path) -> None:
    dots = [
        Dot(
            label=f"{entry['type']} {entry['scenario']}",
            type=entry["type"],
            scenario=entry["scenario"],
            **{name: entry[key][name] for name in ("value", "low", "high", "n")},
        )
        for entry in sets
        if entry[key]
    ]
    dots_figure(dots, path, quantity=quantity, share=True, unit="traces a set" if key == "compliant" else "steps a set")


def _rows(axes: "Axes", sets: Sequence[Mapping]) -> None:
    axes.set_ylim(len(sets) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, pad=7)
    axes.grid(axis="y", visible=False)


def _n(entries: Sequence[Mapping], unit: str = "traces") -> str:
    counts = sorted({entry["n"] for entry in entries})
    return f"n = {counts[0]}{f' to {counts[-1]}' if len(counts) > 1 else ''} {unit} a set"
