"""The tables of a report as they lie on disk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hnet_dna.tables import read_rows


@dataclass(frozen=True)
class Table:
    """A tab-separated table.

    Attributes:
        name: of its file, without the ending.
        columns: their names.
        rows: cells by column; integers and numbers as such, NaN for `NA`, else text.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]

    def has(self, *columns: str) -> bool:
        """Tell whether it has rows and all of these columns."""
        return bool(self.rows) and set(columns) <= set(self.columns)

    def values(self, column: str) -> list[Any]:
        """Return the distinct cells of a column, in order of appearance."""
        return list(dict.fromkeys(row[column] for row in self.rows))

    def where(self, **cells: Any) -> list[dict[str, Any]]:
        """Return the rows with these cells."""
        return [row for row in self.rows if all(row[name] == cell for name, cell in cells.items())]


def read_tables(folder: Path) -> dict[str, Table]:
    """Return every <name>.tsv of a folder by name, in alphabetical order."""
    return {path.stem: _read(path) for path in sorted(folder.glob("*.tsv"))}


def _read(path: Path) -> Table:
    table = read_rows(path)
    rows = [{name: _cell(name, cell) for name, cell in zip(table.columns, cells, strict=True)} for _, cells in table]
    return Table(path.stem, table.columns, tuple(rows))


# Columns of names, which may look like numbers: a repeat may be called 7SK, a class 1.
_TEXT = {"group", "class", "strand", "site", "feature", "measure", "kmer", "name"}


def _cell(column: str, text: str) -> Any:
    if column in _TEXT:
        return text
    if text == "NA":
        return math.nan
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
