"""The lines of a VCF file: the header, and records of which only CHROM, POS, REF and ALT are interpreted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hnet_dna.errors import SequenceError
from hnet_dna.plural import counted
from hnet_dna.sequence.interval import Interval

SCORE_FIELD, BOUNDARY_FIELD, SHARE_FIELD, SKIP_FIELD = "HNET_LLR", "HNET_DBOUND", "HNET_DBOUND_SHARE", "HNET_SKIPPED"
OUR_FIELDS = tuple(name.encode() for name in (SCORE_FIELD, BOUNDARY_FIELD, SHARE_FIELD, SKIP_FIELD))
_OUR_LINES = re.compile(rb"##INFO=<(?:.*,)?ID=(?:%b)[,>]|##hnet_dna_command=" % b"|".join(OUR_FIELDS))
_COLUMNS = b"#CHROM POS ID REF ALT QUAL FILTER INFO".split()
_CONTIG_LINE = b"##contig=<"
_NO_LENGTH = (0, 2**31 - 1)  # what programs write that do not know it
_KEY_AND_VALUE = re.compile(rb'[<,](\w+)=("(?:[^"\\]|\\.)*"|[^,>]*)')
_REF = re.compile(r"[A-Za-z]+|[.*]")
_ALT = re.compile(r"[A-Za-z]+|[.*]|\.[A-Za-z]+|[A-Za-z]+\.|[A-Za-z]*<[^<>\s]+>|[^\s]*[\[\]][^\s]*")


@dataclass(frozen=True)
class Declared:
    """What line `number` of a header says of a contig."""

    number: int
    length: int | None
    md5: str | None


@dataclass(frozen=True)
class Header:
    """The header as it came, without the lines that an earlier scoring added.

    Attributes:
        lines: up to that of the columns, which is the last.
        columns: their names.
        contigs: those with a line.
        reference: the text of ##reference.
        line_end: what ends a line.
    """

    lines: list[bytes]
    columns: list[bytes]
    contigs: dict[str, Declared]
    reference: str
    line_end: bytes


@dataclass(frozen=True)
class Record:
    """A line.

    Attributes:
        number: of the line, from 1.
        columns: the eight fixed ones, and all others as one.
        line_end: what ends the line.
        contig, position, ref, alts: what the columns say; the position counts from 1.
    """

    number: int
    columns: list[bytes]
    line_end: bytes
    contig: str
    position: int
    ref: str
    alts: tuple[str, ...]

    @property
    def interval(self) -> Interval:
        """The bases of REF."""
        return Interval(self.contig, self.position - 1, self.position - 1 + len(self.ref))


def read_header(lines: Iterator[tuple[int, bytes]], name: str) -> Header:
    """Read numbered lines up to the names of the columns; `name` is for messages."""
    kept: list[bytes] = []
    contigs: dict[str, Declared] = {}
    reference = ""
    number = 0
    for number, line in lines:
        text = line.rstrip(b"\r\n")
        if number == 1 and not text.startswith(b"##fileformat=VCF"):
            raise SequenceError(
                f"{name} is not a VCF file: its first line should be ##fileformat=VCFv4.2 or another version, and is "
                f"{_shown(text)}"
            )
        if not text:
            continue
        if not text.startswith(b"##"):
            columns = text.split(b"\t")
            if columns[:8] != _COLUMNS:
                raise SequenceError(
                    f"{name}: line {number}: expected the names of the columns, {b' '.join(_COLUMNS).decode()}, with "
                    f"tabs between them, got {_shown(text)}"
                )
            first = kept[0] if kept else line
            return Header([*kept, line], columns, contigs, reference, first[len(first.rstrip(b"\r\n")) :])
        if text.startswith(_CONTIG_LINE):
            fields = {key: value.strip(b'"') for key, value in _KEY_AND_VALUE.findall(text)}
            digits, md5 = fields.get(b"length", b""), fields.get(b"md5", fields.get(b"M5"))
            length = int(digits) if _is_number(digits) else 0
            contigs[_text(fields.get(b"ID", b""))] = Declared(
                number, length if length not in _NO_LENGTH else None, md5.decode("latin-1").lower() if md5 else None
            )
        elif text.startswith(b"##reference="):
            reference = _text(text.partition(b"=")[2])
        if not _OUR_LINES.match(text):
            kept.append(line)
    what = "it ends before the names of the columns, #CHROM POS ..." if number else "it is empty"
    raise SequenceError(f"{name} is not a VCF file: {what}")


def read_records(lines: Iterator[tuple[int, bytes]], columns: int, name: str) -> Iterator[Record]:
    """Read what follows a header; blank lines, which other readers take for records, are left out."""
    for number, line in lines:
        text = line.rstrip(b"\r\n")
        if text:
            yield _record(number, text, line[len(text) :], columns, f"{name}: line {number}")


def _record(number: int, text: bytes, line_end: bytes, columns: int, where: str) -> Record:
    if text.startswith(b"#"):
        raise SequenceError(
            f"{where}: a line of a header after it, {_shown(text)}; join VCF files by a program that knows them, such "
            "as bcftools concat"
        )
    cells = text.count(b"\t") + 1
    if cells != columns:
        raise SequenceError(
            f"{where}: expected {counted(columns, 'column')} with tabs between them, as in the line #CHROM, got "
            f"{cells}: "
            f"{_shown(text)}"
        )
    parts = text.split(b"\t", 8)
    contig, ref, alts = _text(parts[0]), _text(parts[3]), _text(parts[4]).split(",")
    if not contig:
        raise SequenceError(f"{where}: CHROM is empty; expected the name of a contig")
    if not _is_number(parts[1]):
        raise SequenceError(f"{where}: POS should be a whole number, counted from 1, got {_shown(parts[1])}")
    if not _REF.fullmatch(ref):
        raise SequenceError(f"{where}: REF should be letters of bases, got {_shown(parts[3])}")
    for alt in alts:
        if not _ALT.fullmatch(alt):
            raise SequenceError(
                f"{where}: ALT should be letters of bases, *, ., <ID> or a breakend, with commas between alleles, got "
                f"{_shown(parts[4])}"
            )
    return Record(number, parts, line_end, contig, int(parts[1]), ref, tuple(alts))


def _is_number(text: bytes) -> bool:
    return text.isdigit() and len(text) < 19


def _text(column: bytes) -> str:
    """Decode so that any bytes can be compared with names, and encoded again."""
    return column.decode("utf-8", "surrogateescape")


def _shown(text: bytes) -> str:
    return repr(short(text.decode("utf-8", "replace")))


def short(text: str) -> str:
    """Return a text that fits in a message."""
    return text if len(text) <= 40 else text[:37] + "..."
