"""Tables that users give: every row is read as it stands, or the line is named that cannot be."""

from __future__ import annotations

import csv
import gzip
import io
import random
from pathlib import Path

import pytest

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.tables import differing_in_case, is_missing, is_table, read_rows, spelt_differently
from hnet_dna.text import first_line, open_bytes

HEADER = "id\tsequence\tlabel\tnote\n"


def rows_of(path: Path) -> list[list[str]]:
    return [cells for _, cells in read_rows(path)]


def test_quotes_mean_nothing_in_tsv(tmp_path: Path) -> None:
    """A quote that is opened and never closed swallowed all rows up to the next one."""
    lines = [f"s{i}\tACGT\t{i % 2}\tnote {i}" for i in range(14)]
    lines[4] = 's4\tACGT\t0\t"5 prime end'
    lines[9] = 's9\tACGT\t1\t3 prime end"'
    for name in ("t.tsv", "t.txt", "t.TSV", "t.tab"):
        (tmp_path / name).write_text(HEADER + "\n".join(lines) + "\n")
        assert [tuple(cells) for cells in rows_of(tmp_path / name)] == [tuple(line.split("\t")) for line in lines]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            's1,ACGT,a,"5 prime end\ns2,ACGT,b,\ns3,ACGT,b,\n',
            "line 2: a double quote is opened, and line 3, which looks",
        ),
        (
            's1,ACGT,a,"5 prime end\ns2,ACGT,b,3 prime end"\n',
            "line 2: a double quote is opened, and line 3, which looks",
        ),
        ('s1,"AC,GT",a,"5 prime\ns2,ACGT,b,x\n', "line 2: a double quote is opened, and line 3"),
        ('s1,ACGT,a,x\ns2,ACGT,b,"5 prime end\n', "line 3: a double quote is opened and never closed"),
        ('s1,ACGT,a,"5 prime" end\n', "line 2: a stray double quote"),
        ('s1,ACGT,a,5" end\n', "line 2: a double quote is opened and never closed"),
        ('s1,ACGT,a,5" or 3" end\n', "line 2: a stray double quote"),
        ('s1,ACGT,a, "x, y"\n', "line 2: a stray double quote"),
        ('s1,ACGT,a,"one\ntwo" three\n', "lines 2 to 3: a stray double quote"),
        ("s1,ACGT,a\n", "line 2: expected 4 columns, got 3"),
        ("s1,ACGT,a,x,y\n", "line 2: expected 4 columns, got 5"),
    ],
)
def test_rows_that_are_not_clear(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,sequence,label,note\n" + text)
    with pytest.raises(SequenceError, match=message):
        rows_of(path)


def test_valid_csv_is_read_as_pythons_own_reader_does(tmp_path: Path) -> None:
    chance = random.Random(0)
    path = tmp_path / "t.csv"
    for _ in range(200):
        cells = [["a", "b", "c"]] + [
            ["x" + "".join(chance.choices('a",\n ', [6, 1, 1, 1, 1], k=chance.randrange(6))) + "x" for _ in range(3)]
            for _ in range(6)
        ]
        text = io.StringIO()
        csv.writer(text, lineterminator=chance.choice(["\n", "\r\n"])).writerows(cells)
        path.write_text(text.getvalue(), newline="")
        try:
            actual = rows_of(path)
        except SequenceError as error:
            assert "which looks like a row" in str(error)  # noqa: PT017
            continue
        assert actual == cells[1:]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.CSV.GZ", "t.csv.bgz", "t.dat", "t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_forms_of_csv(tmp_path: Path, name: str, newline: str, mark: bytes) -> None:
    lines = ["id , sequence,label", 'a, ACGT ,"one', 'two"', "", "b,AC\u2028GT,\u00e9", ",,", ""]
    data = mark + newline.join(lines).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.lower().endswith("gz") else data)
    rows = read_rows(path)
    assert rows.columns == ("id", "sequence", "label")
    assert list(rows) == [(2, ["a", "ACGT", "one\ntwo"]), (5, ["b", "AC\u2028GT", "\u00e9"])]


def test_wide_rows_and_long_cells(tmp_path: Path) -> None:
    """Python's csv module stops at cells of 131,072 letters."""
    path = tmp_path / "t.csv"
    names = [f"c{i}" for i in range(2000)]
    cells = ["A" * 300_000, '"' + "C" * 300_000 + '"', *("x" for _ in names[2:])]
    path.write_text(",".join(names) + "\n" + ",".join(cells) + "\n")
    assert rows_of(path) == [["A" * 300_000, "C" * 300_000, *cells[2:]]]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.csv", b"", "is empty; expected a header line"),
        ("t.csv", b"\n \n", "is empty; expected a header line"),
        ("t.csv", b"id;label\n", "separated by semicolons; expected commas"),
        ("t", b"id;label\n", "separated by semicolons; expected commas"),
        ("t.csv", b"id\tlabel\n", "separated by tabs; expected commas"),
        ("t.tsv", b"id,label\n", "separated by commas; expected tabs"),
        ("t.tsv", b'"id"\t"label"\n', "line 1: the names of the columns are in quotes"),
        ("t.csv", b">a\nACGT\n", "looks like FASTA"),
        ("t.csv", "id,label\na,b\n".encode("utf-16"), "is UTF-16 text; convert it with: iconv"),
        ("t.csv", "id,label\na,b\n".encode("utf-16-le"), "is UTF-16 text or not text at all"),
        ("t.csv", "id,label\na,\u00e9\n".encode("latin-1"), "line 2: byte 0xe9 is not UTF-8"),
        ("t.csv", b"id,label\na,\x00\n", "holds zero bytes"),
        ("t.csv", gzip.compress(b"id,label\na,b\n" * 99, mtime=0)[:-9], "cut short or damaged"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SequenceError, match=message):
        rows_of(tmp_path / name)


def test_columns_are_found_once(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,note,label,note,Label,,seq,\na,1,x,2,y,,ACGT,\n")
    rows = read_rows(path)
    assert rows.find("label", (), "labels", "--label") == 2
    assert rows.find(None, ("seq",), "sequences", "--sequence") == 6
    with pytest.raises(SequenceError, match="columns 2 and 4 are both called note, and only one of them can hold gr"):
        rows.find("note", (), "groups", "--group")
    with pytest.raises(SequenceError, match="columns 3 and 5 are called label and Label"):
        rows.find(None, ("label",), "labels", "--label")
    with pytest.raises(UsageError, match=r"no column 'lable'. Did you mean label\?"):
        rows.find("lable", (), "labels", "--label")
    with pytest.raises(UsageError, match="no column ''"):
        rows.find("", (), "labels", "--label")


def test_what_cells_mean() -> None:
    assert all(map(is_missing, ["", "NA", "na", "N/A", "<NA>", "NaN", "nan", "null", "NULL", "."]))
    assert not any(map(is_missing, ["none", "None", "0", "-", "no", "N", "NAN1"]))
    assert spelt_differently(["0", "1", "0.0", "1", "01", "a", "A", "1e0"]) == [("0", "0.0"), ("1", "01"), ("1", "1e0")]
    assert spelt_differently(["9007199254740993", "9007199254740992", "1_0", "10", "inf", "Infinity"]) == []
    assert differing_in_case(["Yes", "no", "yes", "YES", "yes"]) == [("Yes", "yes"), ("Yes", "YES")]


def test_names_of_tables() -> None:
    assert all(map(is_table, ["a.csv", "a.CSV", "b/a.tsv.gz", "a.txt", "a.tab", "a.Csv.BGZ"]))
    assert not any(map(is_table, ["a.fa", "a.csv.bz2", "a.fa.gz", "csv", "-", "/dev/stdin", "a.bed"]))


@pytest.mark.parametrize("text", ["\n\nid,label\na,b\n", ">a\nACGT", "one line", "\r\rid\rx", "", "\n" * 9])
def test_the_first_line_is_read_again(tmp_path: Path, text: str) -> None:
    (tmp_path / "t").write_bytes(text.encode())
    (tmp_path / "t.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("t", "t.gz"):
        line, opened = first_line(tmp_path / name, "text")
        assert line == next((line for line in text.replace("\r", "\n").split("\n") if line), "")
        with open_bytes(opened, "text") as stream:
            assert stream.read() == text.encode()
