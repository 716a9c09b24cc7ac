"""Builds a report of made-up metrics."""

from pathlib import Path
from unittest.mock import patch

from doubledraft.report import build as report
from doubledraft.report import images
from doubledraft.report.tables import Row
from tests.helpers import made_up


def build(
    folder: Path,
    metrics: list[Path],
    expected: list[str] = made_up.EXPECTED,
    study: str = "made-up",
    asked: list[Path] = (),
    missing: dict[str, str] | None = None,
    made: str = made_up.CONFIG_HASH,
    drawn: bool = False,
    **more: object,
) -> Path:
    """Build a report into a folder and return where it is; `drawn` for tests of the figures, which take most of it."""
    out = folder / "report"
    there = {path.parent.name for path in metrics}
    missing = missing or {cell: "it was not started" for cell in expected if cell not in there}
    with patch.object(images, "_draw", images._draw if drawn else _leave_empty):
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


def _leave_empty(rows: list[Row], folder: Path) -> None:
    for name in images.CAPTIONS:
        (folder / name).write_text('<svg viewBox="0 0 1 1"></svg>')
