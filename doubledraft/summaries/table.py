"""Rows as CSV."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from doubledraft.escaping import csv_cell
from doubledraft.files import whole_file


def write_csv(path: str | Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows with the union of their columns; an interrupted write leaves no file.

    None and what a row lacks are empty cells; text that a spreadsheet would run as a formula is quoted.
    """
    from pandas import DataFrame

    names = list(dict.fromkeys(name for row in sorted(rows, key=len, reverse=True) for name in row))
    cells = [[csv_cell(row.get(name)) for name in names] for row in rows]
    with whole_file(path) as file:  # as objects: pandas would make 3 and None 3.0 and NaN
        DataFrame(cells, columns=names, dtype=object).to_csv(file, index=False, lineterminator="\n")
