"""Builds a report of made-up metrics."""

from pathlib import Path

from doubledraft.report import build as report
from tests.helpers import made_up


def build(
    folder: Path,
    metrics: list[Path],
    expected: list[str] = made_up.EXPECTED,
    study: str = "made-up",
    asked: list[Path] = (),
    missing: dict[str, str] | None = None,
    made: str = made_up.CONFIG_HASH,
    **more: object,
) -> Path:
    out = folder / "report"
    there = {path.parent.name for path in metrics}
    missing = missing or {cell: "it was not started" for cell in expected if cell not in there}
    report.build(
        metrics=metrics,
        asked=asked,
        **{"distilled": [], "checks": [], "matrix": [], "links": {}, "margin": 0.05, "price": None} | more,
        expected=dict.fromkeys(expected, made),
        study=study,
        missing=missing,
        table=out / "table.csv",
        markdown=out / "report.md",
        html=out / "report.html",
        figures=out / "figures",
    )
    return out
