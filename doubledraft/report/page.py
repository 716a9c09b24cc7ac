"""Parts of a page: sections with tables and sentences, which the Markdown and HTML templates lay out, and figures."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from doubledraft import plotting
from doubledraft.number_text import (
    MISSING,
    change_range_text,
    change_text,
    number_text,
    range_text,
    share_text,
)
from doubledraft.stats import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCell:
    """A cell of a table."""

    text: str
    small: str = ""  # below it: interval and n, or a condition
    strong: bool = False  # what the table is about
    alarm: bool = False  # what must not be overlooked


@dataclass(frozen=True, slots=True)
class PageTable:
    """Rows, of which the first cell names the row."""

    caption: str  # what it shows, for those who do not see it
    columns: list[str]
    rows: list[list[TableCell]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page that is reached from its contents."""

    id: str
    title: str
    before: list[str] = field(default_factory=list)
    tables: list[PageTable] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    points: list[str] = field(default_factory=list)  # of a list, below everything else
    links: list[tuple[str, str]] = field(default_factory=list)  # text, path from the page

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not any(table.rows for table in self.tables) and not self.links


def text(value: object, small: str = "", **how: bool) -> TableCell:
    """Return a cell of text; None stands for a value that was not measured."""
    return TableCell(text=MISSING if value is None else str(value), small=small, **how)


def quantity(interval: Interval | None, share: bool = False, **how: bool) -> TableCell:
    """Return a cell of a quantity, with interval and n below it."""
    value = share_text(interval) if share else number_text(interval)
    return TableCell(text=value, small=range_text(interval, share), **how)


def points(interval: Interval | None) -> TableCell:
    """Return a cell of a difference of shares, in percentage points."""
    return text(None) if interval is None else text(change_text(interval), change_range_text(interval))


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[TableCell | str]]) -> PageTable:
    """Return a table, of cells or plain texts."""
    return PageTable(
        caption, list(columns), [[text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    )


def inline(path: Path, caption: str) -> str:
    """Return an SVG figure for use inside a page: ids of its own, no comments, the page's colours for ink and paper."""
    svg = path.read_text(encoding="utf-8")
    svg = re.sub(r"<!--.*?-->|<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>{path.stem}-", svg)
    svg = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img" aria-label="LABEL">', svg, count=1
    )
    svg = svg.replace("LABEL", escape(caption), 1)
    for colour, name in (
        (plotting.INK, "ink"),
        (plotting.GRID, "grid"),
        (plotting.PAPER, "paper"),
        (plotting.COLOURS[0], "blue"),
    ):
        svg = svg.replace(colour, f"var(--{name})")
    return svg.strip()
