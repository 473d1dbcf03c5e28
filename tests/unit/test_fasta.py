"""FASTA in every shape that the wild offers, letters spelt out."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pysam
import pytest
from Bio.SeqIO.FastaIO import SimpleFastaParser
from helpers import random_dna, write_fasta

from hnet_dna.data import fasta
from hnet_dna.data.fasta import read_fasta
from hnet_dna.errors import SequenceError
from hnet_dna.sequence.codes import to_text


def read(path: Path) -> dict[str, str]:
    records: dict[str, str] = {}
    for piece in read_fasta(path):
        assert piece.start == len(records.get(piece.record, ""))
        records[piece.record] = records.get(piece.record, "") + to_text(piece.codes)
    return records


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (">a\nACGT\n", {"a": "ACGT"}),
        (">a desc\nAC\nGT", {"a": "ACGT"}),  # no final newline
        (">a\r\nAC\r\nGT\r\n", {"a": "ACGT"}),
        (">a\nACGT\n\n>b\nTT\n\n\n", {"a": "ACGT", "b": "TT"}),  # blank lines between records and at the end
        (">a\nA\nCCCC\nGG\n", {"a": "ACCCCGG"}),  # ragged lines
        (">a\nacGTn\n", {"a": "acGTn"}),
        (">a\nACUu\n", {"a": "ACTt"}),
        (">a\nACGT  \nAC\t\n", {"a": "ACGTAC"}),  # blanks at line ends
        (">chr1:1-4|x\nACGT\n", {"chr1:1-4|x": "ACGT"}),
        ("\n\n>a\nAC\n", {"a": "AC"}),
    ],
)
@pytest.mark.parametrize("piece", [1, 2, 3, 5, 1 << 20])
def test_accepted(
    text: str, expected: dict[str, str], piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fasta, "PIECE", piece)
    path = tmp_path / "x.fa"
    path.write_bytes(text.encode())
    assert read(path) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.fa is empty"),
        ("ACGT\n", "line 1: expected '>' and a name before any sequence, got 'ACGT'"),
        ("@read\nACGT\n+\nIIII\n", "looks like FASTQ"),
        (">a\nACGT\n\nAC\n", "record a, line 3: blank line inside the record"),
        (">a\nAC\n>b\nACGT\nMKLE\n", r"record b, line 5: 'L' is not a nucleotide letter \(protein\?\)"),
        (">a\nAC-T\n", "record a, line 2: '-' is not a nucleotide letter"),
        (">a\nAC GT\n", "record a, line 2: ' ' is not a nucleotide letter"),
        (">a\nA\n>b\n>c\nA\n", r"record b has no sequence \(line 3\)"),
        (">a\n", "record a has no sequence"),
        (">a\nA\n>a\nC\n", "line 3: record a occurs twice"),
        (">\nAC\n", "line 1: a record has no name"),
        ("\n\n", "no record"),
    ],
)
@pytest.mark.parametrize("piece", [4, 1 << 20])
def test_refused(text: str, message: str, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fasta, "PIECE", piece)
    path = tmp_path / "x.fa"
    path.write_text(text)
    with pytest.raises(SequenceError, match=message):
        read(path)


def test_line_longer_than_a_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fasta, "PIECE", 64)
    records = {"one": random_dna(1000), "two": random_dna(333, 1)}
    assert read(write_fasta(tmp_path / "x.fa", records, width=2000)) == records


def test_gzip_and_bgzip_equal_biopython(tmp_path: Path) -> None:
    records = {f"c{i}": random_dna(5000 + i, i) for i in range(3)}
    plain = write_fasta(tmp_path / "x.fa", records)
    with plain.open() as file:
        expected = {title.split()[0]: sequence for title, sequence in SimpleFastaParser(file)}  # type: ignore[no-untyped-call]
    gz = tmp_path / "x.fa.gz"
    gz.write_bytes(gzip.compress(plain.read_bytes()))
    bgz = tmp_path / "y.fa.gz"
    pysam.tabix_compress(str(plain), str(bgz))
    assert read(plain) == read(gz) == read(bgz) == expected


def test_cut_gzip_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress((">a\n" + random_dna(100_000) + "\n").encode())
    path = tmp_path / "cut.fa.gz"
    for share in (0.3, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(SequenceError, match="cut short or damaged"):
            read(path)


def test_places_that_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(SequenceError, match="no such file"):
        read(tmp_path / "missing.fa")
    with pytest.raises(SequenceError, match="is a directory"):
        read(tmp_path)


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(gzip.compress(b">a\nACGT\n")))
    monkeypatch.setattr("sys.stdin", stdin)
    assert "".join(to_text(piece.codes) for piece in read_fasta("-")) == "ACGT"
