"""The page of `doubledraft benchmark`: one self-contained HTML file and its charts, from results.json.

Figures are inside the page, nothing is loaded from elsewhere, and no script runs.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from doubledraft import number_text, pages
from doubledraft.charts import Dot, dots_figure
from doubledraft.evaluation.experiments import ABLATION, GENERIC, ROUTING, SPECIALIZED, arm_name
from doubledraft.evaluation.interleave import BASELINE
from doubledraft.files import whole_file
from doubledraft.plotting import COLOURS, canvas, note
from doubledraft.records import from_json
from doubledraft.report.page import inline
from doubledraft.stats import Interval, side

TITLES = {  # experiment: its heading, and what it shows
    BASELINE: ("Baseline", "The target alone. What every other experiment is compared with."),
    GENERIC: ("Generic draft", "One draft for every domain."),
    SPECIALIZED: ("Specialised drafts", "The draft of each domain, on every data set; its own domain is marked."),
    ROUTING: (
        "Adaptive routing",
        "A router chooses a draft for each prompt. Its own time is inside the clock.",
    ),
    ABLATION: ("Draft length", "One draft at several draft lengths K."),
}
QUANTITIES = {  # chart: field of an arm's result, axis, value of no effect, whether it is a share
    "speedup": ("speedup", "speedup over the baseline (times)", 1, False),
    "tokens_per_step": ("tokens_per_step", "tokens per step", None, False),
    "acceptance": ("acceptance_rate", "acceptance rate (accepted / drafted)", None, True),
}


def write(folder: Path, report: Mapping) -> None:
    """Write report.html into the folder, and its charts into the folder charts beside it."""
    charts = folder / "charts"
    charts.mkdir(parents=True, exist_ok=True)
    drawn = _draw(report, charts)
    values = {
        "target": report["config"]["target"],
        "sections": [_section(name, report) for name in report["experiments"]],
        "judged": report["judged"],
        "charts": [(caption, inline(path, caption)) for path, caption in drawn],
        "profile": report["profile"],
        "made": report["provenance"],
        "config": report["config"],
        "answer": _answer(report),
    }
    filters = {
        "quantity": lambda value, share=False: _text(share)(_interval(value)),
        "range": lambda value, share=False: number_text.range_text(_interval(value), share),
        "number": number_text.number_text,
        "share": number_text.share_text,
    }
    with whole_file(folder / "report.html") as file:
        file.write(pages.render("experiments.html.j2", values, **filters))


def _interval(value: Mapping | None) -> Interval | None:
    return None if value is None else from_json(dict(value), Interval, "results.json")


def _text(share: bool) -> Callable[[Interval | None], str]:
    return number_text.share_text if share else number_text.number_text


def _section(name: str, report: Mapping) -> dict:
    """Return an experiment's heading and, for every data set, the results of its arms."""
    title, description = TITLES[name]
    arms = report["experiments"][name]
    by_arm = {data: {row["arm"]: row for row in results} for data, results in report["data"].items()}
    rows = [(data, results[arm]) for data, results in by_arm.items() for arm in arms]
    return {
        "title": title,
        "said": description,
        "routed": report["routed"] if name == ROUTING else None,
        "rows": [(data, row, name == SPECIALIZED and row["arm"] == _own_arm(report, data)) for data, row in rows],
    }


def _own_arm(report: Mapping, data: str) -> str | None:
    """Return the arm with the draft of a data set's own domain."""
    config = report["config"]
    draft = config[SPECIALIZED].get(config["data"][data]["domain"])
    return draft and arm_name(draft, config["draft_length"])


def _answer(report: Mapping) -> list[str]:
    """Return one sentence a data set: its fastest arm, and whether that is sure to beat plain decoding."""
    sentences = []
    for data, rows in report["data"].items():
        drafted = [row for row in rows if row["arm"] != BASELINE and row["speedup"]]
        if not drafted:
            continue
        best = max(drafted, key=lambda row: row["speedup"]["value"])
        speedup = _interval(best["speedup"])
        text = f"On {data} the fastest of {len(drafted)} arms is {best['arm']}, at {number_text.quantity_text(speedup)}"
        sentences.append(f"{text} times the speed of plain decoding{_doubt(speedup)}.")
    return sentences


def _doubt(speedup: Interval) -> str:
    """Return what a speedup's interval leaves open, "" where it is a gain for sure."""
    if speedup.low is None:
        return "; too few questions to exclude a loss"
    return {1: "", 0: "; the interval does not exclude a loss", -1: ": no draft pays here"}[side(speedup, 1)]


def _draw(report: Mapping, folder: Path) -> list[tuple[Path, str]]:
    """Draw the charts; return each with its caption."""
    drawn = []
    for name, (field, axis, reference, share) in QUANTITIES.items():
        dots = [
            Dot(label=f"{row['arm']} · {data}", type=data, scenario=data, **_bounds(row[field]))
            for data, rows in report["data"].items()
            for row in rows
            if row["arm"] != BASELINE and row[field]
        ]
        path = folder / f"{name}.svg"
        dots_figure(dots, path, quantity=axis, reference=reference, share=share, unit="questions a data set")
        drawn.append((path, f"{axis[0].upper()}{axis[1:]}, of every arm on every data set."))
    if ABLATION in report["experiments"]:
        path = folder / "draft_length.svg"
        _draw_lengths(report, path)
        drawn.append((path, "Speedup by draft length K; the dashed line is plain decoding."))
    return drawn


def _bounds(interval: Mapping) -> dict:
    return {key: interval[key] for key in ("value", "low", "high", "n")}


def _draw_lengths(report: Mapping, path: Path) -> None:
    """Draw the speedup of the ablation's draft against K, a line a data set; an adaptive length has no K."""
    ablation = report["config"][ABLATION]
    lengths = sorted(length for length in ablation["lengths"] if length != "adaptive")
    with canvas(path, 3.2) as (figure, axes):
        for (data, rows), colour in zip(report["data"].items(), _colours(len(report["data"])), strict=True):
            by_arm = {row["arm"]: row["speedup"] for row in rows}
            speedups = [by_arm[arm_name(ablation["draft"], length)] for length in lengths]
            values = [interval["value"] for interval in speedups]
            axes.plot(lengths, values, marker="o", markersize=5, color=colour, label=data)
            if all(interval["low"] is not None for interval in speedups):
                ends = [[interval[end] for interval in speedups] for end in ("low", "high")]
                axes.fill_between(lengths, *ends, color=colour, alpha=0.15, linewidth=0)
        axes.axhline(1, color="#1c1c1e", linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set(xlabel="tokens drafted per step (K)", ylabel="speedup (times)")
        axes.set_xticks(lengths)
        axes.legend()
        note(figure, "Bands: 95 % intervals over questions")


def _colours(count: int) -> Sequence[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(count)]
