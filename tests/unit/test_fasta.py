"""FASTA in every shape that the wild offers, letters spelt out."""

from __future__ import annotations

import gzip
import io
import re
from pathlib import Path

import pysam
import pytest
from Bio.SeqIO.FastaIO import SimpleFastaParser
from helpers import random_dna, write_fasta

from hnet_dna.errors import SequenceError
from hnet_dna.genome import fasta
from hnet_dna.genome.fasta import read_fasta
from hnet_dna.sequence.codes import to_text
from hnet_dna.text import watched


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
        (">a x\rAC\rGT\r\r>b\rTT\r", {"a": "ACGT", "b": "TT"}),  # CR only
        (">a\rAC\rGT", {"a": "ACGT"}),
        ("\r\r>a\rAC \r", {"a": "AC"}),
        (">a\r\nAC\rGT\n>b\rTT\r\n\r\n>c\nA\r", {"a": "ACGT", "b": "TT", "c": "A"}),  # all three
        ("\ufeff>a\nAC\n", {"a": "AC"}),
        ("\ufeff\r>a\rAC\r", {"a": "AC"}),
        (">a\tx y\nACGT\n", {"a": "ACGT"}),
        (">Größe_β x\nACGT\n", {"Größe_β": "ACGT"}),
        (">a\u00a0b\u2028c d\nACGT\n", {"a\u00a0b\u2028c": "ACGT"}),  # blanks of Unicode are letters of a name
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
        (">", "line 1: a record has no name"),
        (">a\rAC\r>\rAC\r", "line 3: a record has no name"),
        ("\n\n", "no record"),
        (">a\rACGT\r\rAC\r", "record a, line 3: blank line inside the record"),
        (">a\rAC\rAXC\r", "record a, line 3: 'X' is not"),
        (">a\nAC   GT\n", "record a, line 2: ' ' is not a nucleotide letter"),
        (">a\nAC\t\tGT", "record a, line 2: '.t' is not a nucleotide letter"),
        (">a\nAC\x0c\n", "record a, line 2: '.x0c' is not a nucleotide letter"),
        (";old\n>a\nAC\n", "line 1: expected '>'.*got ';old' .lines of comments, as in old files, are not read"),
        (">a\n;old\nAC\n", "record a, line 2: ';' is not a nucleotide letter .lines of comments"),
        ("\n\nLOCUS       X 4 bp\n", "line 3: .*this looks like GenBank"),
        ("@HD\tVN:1.6\n", "this looks like SAM"),
        ("\x43\x27\x41\x1a\n", "this looks like .2bit"),
        (">a\x00\nAC\n", "line 1: the record's name .* holds a control character"),
    ],
)
@pytest.mark.parametrize("piece", [1, 3, 4, 1 << 20])
def test_refused(text: str, message: str, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fasta, "PIECE", piece)
    path = tmp_path / "x.fa"
    path.write_bytes(text.encode())
    with pytest.raises(SequenceError, match=message):
        read(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (">a\nAC\n".encode("utf-16"), "is UTF-16 text; convert it with: iconv -f UTF-16 -t UTF-8. Expected"),
        (">a\nAC\n".encode("utf-16-le"), "is UTF-16 text or not text at all; expected a FASTA file in UTF-8"),
        (">a\nAC\n".encode("utf-16-be"), "is UTF-16 text or not text at all"),
        (gzip.compress(">a\nAC\n".encode("utf-16"), mtime=0), "is UTF-16 text"),
        (">a\nAC\n>caf\xe9 x\nGT\n".encode("latin-1"), "line 3: byte 0xe9 in the record's name is not UTF-8"),
        (b"BZh91AY", "is compressed by bzip2"),
        (gzip.compress(b"", mtime=0), "x.fa is empty"),
        (gzip.compress(b">a\nAC\n", mtime=0) + b"garbage", "the compressed data is cut short or damaged"),
    ],
)  # fmt: skip
def test_encodings_and_compression_that_are_refused(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.fa"
    path.write_bytes(data)
    with pytest.raises(SequenceError, match=re.escape(message)):
        read(path)


def test_encodings_and_compression_that_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.fa"
    for data in (
        ">a d\xe9but\nACGT\n".encode("latin-1"),  # only the name has to be understood
        gzip.compress(b"\xef\xbb\xbf>a\rAC\r") + gzip.compress(b"") + gzip.compress(b"GT\r"),
        gzip.compress(b">a\r") + gzip.compress(b"\nACGT\r\n"),
    ):
        path.write_bytes(data)
        assert read(path) == {"a": "ACGT"}


def test_a_long_record_of_cr_lines(tmp_path: Path) -> None:
    sequence = random_dna(3_000_000)
    path = tmp_path / "x.fa"
    lines = [sequence[start : start + 70] for start in range(0, len(sequence), 70)]
    path.write_text("\r".join([">a", *lines, ""]), newline="")
    pieces = list(read_fasta(path))
    assert "".join(to_text(piece.codes) for piece in pieces) == sequence
    assert max(len(piece.codes) for piece in pieces) <= fasta.PIECE


def test_a_header_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.fa"
    path.write_bytes(b">a\nAC\n>" + b"A" * (3 << 20))
    with pytest.raises(SequenceError, match="line 3: a header of more than 1,048,576 bytes"):
        read(path)


def test_whoever_watches_learns_how_far_a_file_is_read(tmp_path: Path) -> None:
    path = write_fasta(tmp_path / "x.fa.gz", {"a": random_dna(100)})
    reports: list[tuple[int, int | None]] = []
    with watched(path, lambda done, size: reports.append((done, size))):
        read(path)
        read(write_fasta(tmp_path / "other.fa", {"a": "A"}))
    assert reports[-1] == (path.stat().st_size, path.stat().st_size)
    count = len(reports)
    read(path)
    assert len(reports) == count


@pytest.mark.parametrize(
    ("header", "declared"),
    [
        ("chr1  AC:CM000663.2  gi:568336023  LN:248  rl:Chromosome  M5:6aef  AS:GRCh38", 248),
        ("1 dna:chromosome chromosome:GRCh38:1:1:248:1 REF", 248),
        ("KI270728.1 dna_sm:scaffold scaffold:GRCh38:KI270728.1:101:348:-1 REF", 248),
        ("Y dna:chromosome chromosome:GRCh38:Y:278:568:1 REF", 291),
        ("a cdna chromosome:GRCh38:7:1424:9999:1 gene:ENSG1", 0),  # the span of a gene, introns and all
        ("a chromosome 1, length 248", 0),
        ("a", 0),
    ],
)
def test_lengths_that_headers_declare(
    header: str, declared: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.fa"
    for length in (declared, declared + 1, max(declared - 1, 5)):
        caplog.clear()
        path.write_text(f">{header}\n{random_dna(max(length, 5))}\n>z\nAC\n")
        list(read_fasta(path, check=True))
        name = header.split()[0]
        cut = [f"{path}: the header of record {name} declares {declared} bases, and it has {length}; is the file cut "
               "short?"]  # fmt: skip
        assert [record.getMessage() for record in caplog.records] == (cut if length < declared else [])


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
