"""Reads tables of users: CSV and TSV, plain or gzip, whose first line names the columns.

The file name says whether a table is CSV or TSV (.csv; .tsv or .tab; each also with .gz or .bgz). Under any other name,
and in a pipe, the header line decides: with a tab in it, the table is TSV.

In CSV, a cell that contains a comma, a line break or a double quote is written in double quotes, with the quote itself
doubled. In TSV, a quote is an ordinary character. Blanks around a cell do not count, and rows of empty cells are
skipped. Anything ambiguous is an error with its line: a stray quote, a row with more or fewer cells than the header, a
name that two columns share.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from hnet_dna.errors import SequenceError, UsageError, did_you_mean
from hnet_dna.plural import counted
from hnet_dna.text import Source, numbered_lines

_SUFFIXES = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": None}
_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons"}
_EXPECTED = "CSV or TSV"
_SHOWN = 20  # characters of a column's name in messages
_MISSING = {"", "na", "n/a", "<na>", "nan", "null", "."}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# What ends a line for some readers, and what cannot stand in a cell of our own tables.
_BREAKS = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]")
_CELL = r'(?:"[^"]*(?:""[^"]*)*"|[^",]*)'
_RECORD = re.compile(rf"{_CELL}(?:,{_CELL})*")
_CELLS = re.compile(rf"(?:\A|,)({_CELL})")
_RULE = "A cell that has a quote in it is written in quotes, with the quote doubled; TSV has no such rule"
_Record = tuple[int, list[str]]


@dataclass(frozen=True)
class Rows:
    """A table that is being read, once, from start to end.

    Attributes:
        source: the file, for messages.
        columns: names in the header, some of which may be empty.
        rows: for each row the line on which it begins, counted from 1, and its cells, as many as there are columns.
    """

    source: str
    columns: tuple[str, ...]
    rows: Iterator[_Record]

    def __iter__(self) -> Iterator[_Record]:
        """Yield line and cells of each row."""
        return self.rows

    def find(self, wanted: str | None, usual: Iterable[str], what: str, parameter: str) -> int:
        """Return the index of the column `wanted`, or of the first column with a usual name in any case.

        Args:
            wanted: the name of a column as it stands in the header.
            usual: names in lower case to look for if `wanted` is None.
            what: what the column holds, for messages.
            parameter: the parameter that names another column, for messages.

        Raises:
            UsageError: the wanted column does not exist.
            SequenceError: no column has a usual name, or two columns share the name.
        """
        # The header of a file without one is its first row, which may contain a whole sequence.
        shown = [name if len(name) <= _SHOWN else name[:_SHOWN] + "..." for name in self.columns if name]
        if wanted is not None:
            places = [index for index, name in enumerate(self.columns) if name == wanted != ""]
            if not places:
                raise UsageError(f"{self.source}: no column {wanted!r}. {did_you_mean(wanted, shown)}")
        else:
            lowered = [name.lower() for name in self.columns]
            first = next((name for name in lowered if name in usual), None)
            if first is None:
                names = ", ".join(shown[:8]) + (", and more" if len(shown) > 8 else "")
                raise SequenceError(
                    f"{self.source}: no column of {what} among {names}; name it by `{parameter}`, or is the header "
                    "line missing?"
                )
            places = [index for index, name in enumerate(lowered) if name == first]
        if len(places) > 1:
            one, two = places[:2]
            same = "are both called" if self.columns[one] == self.columns[two] else "are called"
            names = " and ".join(dict.fromkeys((self.columns[one], self.columns[two])))
            raise SequenceError(
                f"{self.source}: columns {one + 1} and {two + 1} {same} {names}, and only one of them can hold {what}; "
                "rename or remove the other"
            )
        return places[0]

    def has(self, usual: Iterable[str]) -> bool:
        """Return whether a column has one of the usual names, in any case."""
        return any(name.lower() in usual for name in self.columns)


def is_table(path: str | Path) -> bool:
    """Return whether a file is a table by its name, in any case: .csv, .tsv, .tab, .txt, also with .gz or .bgz."""
    return _suffix(path) in _SUFFIXES


def read_rows(source: Source) -> Rows:
    """Open a table, and read its header line.

    Raises:
        SequenceError: what `numbered_lines` raises, no header, or columns that are separated in another way than the
            name says. Reading on raises it for rows that do not fit the header and for stray quotes.
    """
    lines = numbered_lines(source, _EXPECTED)
    number, header = next(((number, line) for number, line in lines if line.strip()), (0, ""))
    if not header:
        raise SequenceError(f"{source} is empty; expected a header line and rows")
    if header.startswith(">"):
        raise SequenceError(f"{source}: this looks like FASTA; expected CSV or TSV with a header line")
    separator = _SUFFIXES.get(_suffix(source)) or ("\t" if "\t" in header else ",")
    rest = _chained((number, header), lines)
    records = _csv(source, rest) if separator == "," else _tsv(rest)
    line, columns = next(records)
    for other, name in _SEPARATORS.items():
        if len(columns) == 1 and other in columns[0]:
            raise SequenceError(
                f"{source}: the columns are separated by {name}; expected {_SEPARATORS[separator]} (CSV has "
                "commas; TSV, named .tsv, has tabs)"
            )
    if separator == "\t" and all(re.fullmatch('".*"', name) for name in columns):
        raise SequenceError(
            f"{source}: line {line}: the names of the columns are in quotes, which TSV does not have; write the table "
            "without them (quote=FALSE in R), or as CSV"
        )
    return Rows(str(source), tuple(columns), _checked(source, len(columns), records))


def is_missing(text: str) -> bool:
    """Return whether a cell says that there is no value: empty, NA, N/A, <NA>, NaN, null or `.`, in any case."""
    return text.lower() in _MISSING


def to_name(text: str, what: str, where: str) -> str:
    """Return a cell that names something; refuse a missing one, and one that could not be written to a table again.

    Args:
        text: the cell.
        what: what it is, such as `id`.
        where: its file and line.

    Raises:
        SequenceError: the cell is missing, or contains a tab, a line break or another control character.
    """
    if is_missing(text):
        shown = f" ({text!r} means that)" if text else ""
        raise SequenceError(f"{where}: the {what} is missing{shown}; fill it in or remove the row")
    return require_one_line(text, what, where)


def require_one_line(text: str, what: str, where: str) -> str:
    """Return a name that can be written to one line of a table; raise `SequenceError` for any other."""
    if broken := _BREAKS.search(text):
        raise SequenceError(
            f"{where}: the {what} {text!r} holds {broken[0]!r}; tabs, line breaks and other control characters cannot "
            f"stand in the {what}"
        )
    return text


def is_number(text: str) -> bool:
    """Return whether a cell is a decimal number such as -1.5 or 1e-5."""
    return _NUMBER.fullmatch(text) is not None


def spelt_differently(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of different spellings of one number (1, 1.0, 01), the first spelling first."""
    first: dict[Decimal, str] = {}
    numbers = ((Decimal(name), name) for name in dict.fromkeys(names) if is_number(name))
    return [(first[value], name) for value, name in numbers if first.setdefault(value, name) != name]


def differing_in_case(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of names that differ only in case, the first spelling first."""
    first: dict[str, str] = {}
    return [
        (first[name.casefold()], name)
        for name in dict.fromkeys(names)
        if first.setdefault(name.casefold(), name) != name
    ]


def data_frame(columns: Mapping[str, Any]) -> Any:
    """Return a pandas DataFrame; raise `UsageError` where pandas is not installed."""
    try:
        import pandas
    except ModuleNotFoundError:
        raise UsageError("a DataFrame needs pandas: pip install pandas") from None
    return pandas.DataFrame(dict(columns))


def _suffix(source: Source) -> str:
    return Path(re.sub(r"\.b?gz$", "", str(source), flags=re.IGNORECASE)).suffix.lower()


def _chained(first: tuple[int, str], rest: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield first
    yield from rest


def _tsv(lines: Iterator[tuple[int, str]]) -> Iterator[_Record]:
    for number, line in lines:
        yield number, [cell.strip() for cell in line.split("\t")]


def _csv(source: Source, lines: Iterator[tuple[int, str]]) -> Iterator[_Record]:
    """Split CSV into records; Python's csv module would read stray quotes without complaint."""
    commas: int | None = None  # in the header
    first, inside = 0, False
    held: list[str] = []  # the lines so far of a record that is not complete
    for number, line in lines:
        if held and commas and commas == _commas(line) == _commas(held[0]):
            raise SequenceError(
                f"{source}: line {first}: a double quote is opened, and line {number}, which looks like a row, would "
                f"belong to its cell. {_RULE}"
            )
        first = first if held else number
        held.append(line)
        inside ^= line.count('"') % 2 == 1
        if inside:
            continue
        text, held = "\n".join(held), []
        cells = text.split(",")
        if '"' in text:
            if _RECORD.fullmatch(text) is None:
                lines_of = f"line {first}" if first == number else f"lines {first} to {number}"
                raise SequenceError(f"{source}: {lines_of}: a stray double quote. {_RULE}")
            raw_cells = _CELLS.findall(text)
            cells = [cell[1:-1].replace('""', '"') if cell.startswith('"') else cell for cell in raw_cells]
        commas = len(cells) - 1 if commas is None else commas
        yield first, [cell.strip() for cell in cells]
    if held:
        raise SequenceError(f"{source}: line {first}: a double quote is opened and never closed. {_RULE}")


def _commas(line: str) -> int:
    return re.sub('"[^"]*"', "", line).count(",")


def _checked(source: Source, count: int, records: Iterator[_Record]) -> Iterator[_Record]:
    for line, cells in records:
        if not any(cells):
            continue
        if len(cells) != count:
            raise SequenceError(
                f"{source}: line {line}: expected {counted(count, 'column')}, got {len(cells)} (the header names "
                f"{count})"
            )
        yield line, cells
