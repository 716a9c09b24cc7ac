"""Figures: drawn from plain values, the same bytes for the same values."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from doubledraft import charts
from doubledraft.charts import Dot
from doubledraft.report import figures
from doubledraft.stats import Interval
from doubledraft.summaries.provenance import recorded
from doubledraft.summaries.trace_audit import Distribution, Flagged, Histogram, TraceAudit
from doubledraft.traces.figures import audit_figure
from doubledraft.training import loss_figure


def spread(median: float, most: int, edges: list[int], counts: list[int]) -> Distribution:
    return Distribution(
        n=sum(counts),
        mean=median,
        median=median,
        p90=most,
        max=most,
        total=0,
        histogram=Histogram(edges=edges, counts=counts),
    )


NOTHING = TraceAudit(
    type=None, scenario=None, teacher=None, n=0, kept=0, dropped=0, reasons={}, tokens=None, steps=None,
    words_per_step=None, rule=None, compliant=None, verified=None, numeric_density=None,
    without_equation=Flagged(n=0, ids=[]), asked={}, provenance=recorded(),
)  # fmt: skip
AUDIT = replace(
    NOTHING,
    n=12,
    kept=10,
    dropped=2,
    reasons={"wrong answer": 2},
    tokens=spread(21, 30, [10, 20, 31], [4, 6]),
    steps=spread(4, 5, [3, 4, 5, 6], [2, 5, 3]),
    words_per_step=spread(3, 5, [2, 3, 4, 5, 6], [9, 11, 11, 9]),
    rule={"min_steps": 3, "max_steps": 5, "max_words": 5},
    compliant=Interval(1.0, 0.7, 1.0, 10),
    verified=Interval(1.0, 0.7, 1.0, 10),
    numeric_density=Interval(0.9, 0.8, 0.95, 40),
)


def dot(label: str = "cod_hard", **changes: object) -> Dot:
    return Dot(
        **{"label": label, "type": "cod", "scenario": "hard", "value": 1.3, "low": 1.2, "high": 1.4, "n": 60} | changes
    )


def texts(path: Path) -> list[str]:
    """Return the texts of an SVG: matplotlib draws letters as outlines and keeps what they spell in comments."""
    return re.findall(r"<!-- (.*?) -->", path.read_text(encoding="utf-8"))


def test_equal_values_give_equal_bytes(tmp_path):
    for name in ("one.svg", "two.svg", "one.png", "two.png"):
        charts.dots_figure([dot()], tmp_path / name, quantity="speedup (times)", reference=1)
    for suffix in ("svg", "png"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


def test_every_figure_says_its_n_and_its_axis(tmp_path):
    share = dot(value=0.7, low=0.6, high=0.8)
    charts.dots_figure([dot(), dot("cot_hard", n=58)], tmp_path / "dots.svg", quantity="speedup (times)")
    figures.tradeoff_figure([(dot(value=50, low=45, high=55), share)], tmp_path / "tradeoff.svg")
    figures.positions_figure([[share, share]], tmp_path / "positions.svg")
    assert {"speedup (times)", "Bars: 95 % intervals; n = 58 to 60 questions a cell"} <= set(
        texts(tmp_path / "dots.svg")
    )
    assert "Bars: 95 % intervals; n = 60 questions a cell" in texts(tmp_path / "tradeoff.svg")
    assert "Bars: 95 % intervals; n = 60 drafting steps a cell" in texts(tmp_path / "positions.svg")


def test_a_value_without_interval_is_drawn_without_bars(tmp_path):
    charts.dots_figure([dot(low=None, high=None)], tmp_path / "dots.svg", quantity="speedup (times)", reference=1)
    assert "1.30" in texts(tmp_path / "dots.svg")


def test_no_cell_gives_a_figure_that_says_so(tmp_path):
    charts.dots_figure([], tmp_path / "a.svg", quantity="speedup")
    figures.tradeoff_figure([], tmp_path / "b.svg")
    figures.positions_figure([], tmp_path / "c.svg")
    for name in "abc":
        assert texts(tmp_path / f"{name}.svg") == ["Nothing measured yet"]


def test_text_is_never_read_as_mathematics(tmp_path):
    charts.dots_figure([dot(r"$\frac{1}$ <b>&--></b>")], tmp_path / "dots.svg", quantity="speedup")
    assert r"$\frac{1}$ &lt;b&gt;&amp;- -&gt;&lt;/b&gt;" in texts(tmp_path / "dots.svg")


def test_cot_and_cod_keep_their_colours_whatever_else_is_there():
    assert charts.colours(["cod"])["cod"] == charts.colours(["aaa", "cod", "cot"])["cod"]
    assert len(set(charts.colours(["cot", "cod", "terse", "aaa"]).values())) == 4


@pytest.mark.parametrize("audit", [AUDIT, NOTHING], ids=["full", "empty"])
def test_audit_is_drawn(tmp_path, audit):
    audit_figure(audit, tmp_path / "audit.svg")
    shown = texts(tmp_path / "audit.svg")
    assert any(text.startswith(f"n = {audit.n} rows, {audit.kept} kept") for text in shown)
    assert ("words per step" in shown) == (audit is AUDIT)


def test_loss_is_drawn_from_its_csv(tmp_path):
    (tmp_path / "loss.csv").write_text("step,epoch,loss,learning_rate\n1,0.5,2.0,0.001\n2,1,1.0,0.0005\n")
    loss_figure.loss_figure(tmp_path / "loss.csv", tmp_path / "loss.svg")
    assert {"n = 2 logged steps, 1 epochs", "optimizer step", "learning rate"} <= set(texts(tmp_path / "loss.svg"))


@pytest.mark.parametrize("text", ["", "step,loss\n1,2\n", "step,epoch,loss,learning_rate\n"])
def test_a_loss_table_that_cannot_be_drawn_names_file_and_columns(tmp_path, text):
    (tmp_path / "loss.csv").write_text(text)
    with pytest.raises(ValueError, match=r"loss\.csv: expected rows with the columns step, epoch"):
        loss_figure.loss_figure(tmp_path / "loss.csv", tmp_path / "loss.svg")
    assert not (tmp_path / "loss.svg").exists()
