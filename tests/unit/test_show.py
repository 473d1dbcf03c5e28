"""Tables as a terminal shows them, and as a file keeps them."""

from __future__ import annotations

from importlib import import_module
from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table

show, tables = import_module("hnet_dna_cli.show"), import_module("hnet_dna_cli.tables")


def printed(monkeypatch: pytest.MonkeyPatch, table: Table, *, terminal: bool, keys: int = 1) -> list[str]:
    stream = StringIO()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(show, "results", Console(file=stream, width=140, force_terminal=terminal, color_system=None))
    tables.print_table(table, keys)
    return stream.getvalue().splitlines()


def test_a_wide_table_fits_a_terminal_and_loses_no_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("features", *(f"long name {i}" for i in range(12)), title="A title", caption="A caption")
    rows = [[f"row{row}", *(f"{row}.{i} [{row}, {i}]" for i in range(12))] for row in range(3)]
    for row in rows:
        table.add_row(*row)
    whole = printed(monkeypatch, table, terminal=False)
    assert max(map(len, whole)) > 140
    assert sum("row1" in line for line in whole) == 1
    lines = printed(monkeypatch, table, terminal=True)
    assert max(map(len, lines)) <= 80
    parts = sum("row1" in line for line in lines)
    assert parts > 1
    assert sum("row2" in line for line in lines) == parts
    text = "\n".join(lines)
    assert all(text.count(f" {cell} ") == 1 for row in rows for cell in row[1:])
    assert (text.count("A title"), text.count("A caption")) == (1, 1)


def test_columns_are_shared_evenly_and_headers_break_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("class", *(f"Markov, k = {i}" for i in range(10, 17)))
    table.add_row("CDS", *("x" * 12,) * 7)
    lines = printed(monkeypatch, table, terminal=True)
    assert [line.count("┳") for line in lines if "┳" in line] == [4, 3]  # not five columns and two
    heads = [[cell.strip() for cell in line.split("┃")[2:-1]] for line in lines if "┃" in line]
    assert heads[:2] == [["Markov,"] * 4, [f"k = {i}" for i in range(10, 14)]]


def test_every_part_says_what_its_rows_are_about(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("dataset", "features", *(f"metric {i}" for i in range(5)))
    for number in range(2):
        table.add_row(f"set {number}", f"head {number}", *("0.500 [0.400, 0.600]",) * 5)
    lines = printed(monkeypatch, table, terminal=True, keys=2)
    rows = [line for line in lines if "0.500" in line]
    assert len(rows) > 2
    assert [("set 0" in row, "head 0" in row) for row in rows[::2]] == [(True, True)] * (len(rows) // 2)


def test_a_narrow_table_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("a b", "c d")
    table.add_row("1", "2")
    assert printed(monkeypatch, table, terminal=True) == printed(monkeypatch, table, terminal=False)
