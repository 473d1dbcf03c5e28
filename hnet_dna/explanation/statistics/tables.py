"""Tables of a report, in memory and as tab-separated files; `columns` declares which there are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hnet_dna.errors import SequenceError
from hnet_dna.explanation.statistics.columns import TABLES, Type
from hnet_dna.files import write_beside
from hnet_dna.tables import read_rows


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: of its file, without the ending.
        columns: their names.
        rows: cells by column; unknown numbers are NaN.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]

    def values(self, column: str) -> list[Any]:
        """Return the distinct cells of a column, in order of appearance."""
        return list(dict.fromkeys(row[column] for row in self.rows))

    def where(self, **cells: Any) -> list[dict[str, Any]]:
        """Return the rows with these cells."""
        return [row for row in self.rows if all(row[name] == cell for name, cell in cells.items())]

    def write(self, folder: Path) -> None:
        """Write <name>.tsv into a folder: numbers to six significant digits, `NA` for NaN."""
        with write_beside(folder / f"{self.name}.tsv") as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write("\t".join(self.columns) + "\n")
            file.writelines("\t".join(_text(row[name]) for name in self.columns) + "\n" for row in self.rows)


def table_of(name: str, rows: Iterable[Sequence[Any]]) -> Table:
    """Make a declared table from rows whose cells follow the order of its columns."""
    columns = TABLES[name].names
    return Table(name, columns, tuple(dict(zip(columns, row, strict=True)) for row in rows))


def read_tables(folder: Path) -> dict[str, Table]:
    """Return every <name>.tsv of a folder by name: declared tables in their order, then others by name.

    Raises:
        SequenceError: a table is damaged, or a cell of a declared column has another type.
    """
    paths = {path.stem: path for path in sorted(folder.glob("*.tsv"))}
    names = [name for name in TABLES if name in paths] + [name for name in paths if name not in TABLES]
    return {name: _read(paths[name]) for name in names}


def _read(path: Path) -> Table:
    layout = TABLES.get(path.stem)
    declared: Mapping[str, Type] = {column.name: column.type for column in layout.columns} if layout else {}
    lines = read_rows(path)
    rows = []
    for number, cells in lines:
        row = {}
        for column, text in zip(lines.columns, cells, strict=True):
            try:
                row[column] = _PARSE[declared.get(column, "number or text")](text)
            except ValueError:
                wanted = {"integer": "an integer", "number": "a number"}[declared[column]]
                raise SequenceError(
                    f"{path}: line {number}: column {column}: expected {wanted} or NA, got {text!r}"
                ) from None
        rows.append(row)
    return Table(path.stem, lines.columns, tuple(rows))


def _integer(text: str) -> float:
    return math.nan if text == "NA" else int(text)


def _number(text: str) -> float:
    return math.nan if text == "NA" else float(text)


def _any(text: str) -> Any:
    for parse in (_integer, _number):
        try:
            return parse(text)
        except ValueError:
            continue
    return text


_PARSE: Mapping[Type, Any] = {"integer": _integer, "number": _number, "text": str, "number or text": _any}


def _text(content: Any) -> str:
    if isinstance(content, float):
        return "NA" if math.isnan(content) else f"{content:.6g}"
    return str(content)
