"""Reads FASTA in pieces of constant size (plain, gzip or bgzip, from a path, a pipe or stdin), and writes it.

Accepted are lines that end with LF, CRLF or CR, a byte order mark, lower case (kept as soft-mask), U (read as T and
counted), IUPAC codes, blank lines between records, and a missing final newline. Errors name file, record and line; they
are any other letter, a blank line inside a record, a record without name or sequence, a name that occurs twice or is
not UTF-8, text before the first header, and a truncated compressed file.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, TextIO

import numpy as np

from hnet_dna.errors import SequenceError
from hnet_dna.sequence.codes import BYTE_TO_CODE, INVALID, Codes, to_text
from hnet_dna.text import Source, called, open_bytes, read_chunk

PIECE = 1 << 20  # bytes read at once, and thus the most bases of a piece
_LONGEST_HEADER = 1 << 20
_SHOWN = 20  # bytes of a line in messages
_NEWLINE_KEEPING = bytes(BYTE_TO_CODE[i] if i not in b"\n" else 0 for i in range(256))
_COMMENTS = "lines of comments, as in old files, are not read; remove them"
# Lengths in headers, as analysis sets (LN:248956422) and Ensembl (chromosome:GRCh38:1:1:248956422:1) write them.
_LENGTH = re.compile(rb"(?:^|\s)LN:(\d+)(?:\s|$)")
_PLACE = re.compile(rb"^dna(?:_sm|_rm)?:\S+ [^:\s]+:[^:\s]*:[^:\s]*:(\d+):(\d+):-?1(?:\s|$)")
_log = logging.getLogger(__name__)
# How other files begin, and what they are.
_OTHERS = {
    b"@HD\t": "this looks like SAM", b"@SQ\t": "this looks like SAM", b"@": "this looks like FASTQ",
    b"LOCUS ": "this looks like GenBank", b"ID   ": "this looks like EMBL", b"##gff": "this looks like GFF3",
    b"##fileformat=VCF": "this looks like VCF", b"BAM\x01": "this looks like BAM", b"<": "this looks like a web page",
    b"\x43\x27\x41\x1a": "this looks like .2bit; twoBitToFa makes FASTA of it",
    b"\x1a\x41\x27\x43": "this looks like .2bit; twoBitToFa makes FASTA of it",
    b";": _COMMENTS,
}  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """Consecutive bases of one record.

    Attributes:
        record: first word of the header.
        start: 0-based position of the first base.
        codes: see `hnet_dna.sequence.codes`.
        uracils: how many of the letters were U.
    """

    record: str
    start: int
    codes: Codes
    uracils: int


def read_fasta(path: Source, *, check: bool = False) -> Iterator[Piece]:
    """Yield the bases of a FASTA file piece by piece, records in file order.

    With `check`, a record with fewer bases than its header declares is logged.
    """
    with open_bytes(path, "a FASTA file") as stream:
        parser = _Parser(called(path), check)
        yield from parser.parse(stream)


def read_records(path: Source) -> Iterator[tuple[str, Codes]]:
    """Yield name and whole sequence of each record; for short records, since each is held in memory."""
    name: str | None = None
    held: list[Codes] = []
    for piece in read_fasta(path):
        if name is not None and piece.record != name:
            yield name, np.concatenate(held)
            held = []
        name = piece.record
        held.append(piece.codes)
    if name is not None:
        yield name, np.concatenate(held)


@dataclass
class _Parser:
    source: str
    check: bool
    line: int = 1  # line on which the bytes now looked at begin
    record: str | None = None
    length: int = 0  # bases of the record so far
    declared: int = 0  # the fewest bases that the record has by its header
    blank: int | None = None  # a blank line was met in the record, and may turn out to lie inside it
    seen: set[str] = field(default_factory=set)

    def parse(self, stream: BinaryIO) -> Iterator[Piece]:
        held, any_bytes, mid_line = b"", False, False
        while data := read_chunk(stream, PIECE, self._where()):
            any_bytes = True
            body, held = self._cut(held + data, mid_line)
            if body:
                yield from self._lines(body, mid_line)
                mid_line = not body.endswith(b"\n")
        if held:
            yield from self._lines(held.rstrip(b"\r"), mid_line)
        if not any_bytes:
            raise SequenceError(f"{self.source} is empty; expected FASTA")
        if self.record is None:
            raise SequenceError(f"{self.source}: no record; expected a line beginning with '>'")
        self._close()

    def _where(self) -> str:
        return f"{self.source}: after record {self.record}, line {self.line}" if self.record else self.source

    def _cut(self, data: bytes, mid_line: bool) -> tuple[bytes, bytes]:
        """Return what can be read by now, its lines ending with LF, and what has to wait for more."""
        half = data.endswith(b"\r")  # may be one of CRLF
        if b"\r" in data:
            data = (data[:-1] if half else data).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        begin = data.rfind(b"\n") + 1  # of a line whose end is not known
        end = len(data)
        if (begin or not mid_line) and data.startswith(b">", begin):
            end = begin
            if len(data) - begin > _LONGEST_HEADER:
                line = self.line + data.count(b"\n")
                raise SequenceError(f"{self.source}: line {line}: a header of more than {_LONGEST_HEADER:,} bytes")
        elif self.record is None and len(data) - begin < _SHOWN:
            end = begin  # shown if it is refused
        else:
            while end > begin and data[end - 1] in b" \t":  # blanks matter unless they end the line
                end -= 1
        return data[:end], data[end:] + b"\r" * half

    def _lines(self, body: bytes, mid_line: bool) -> Iterator[Piece]:
        """Split whole lines into headers and stretches of sequence."""
        position = 0
        while position < len(body):
            at_line_start = position > 0 or not mid_line
            if at_line_start and body.startswith(b">", position):
                end = body.find(b"\n", position)
                end = len(body) if end < 0 else end
                self._header(body[position + 1 : end])
                self.line += 1
                position = end + 1
                continue
            end = body.find(b"\n>", position)
            end = len(body) if end < 0 else end + 1
            yield from self._sequence(body[position:end], at_line_start)
            position = end

    def _header(self, text: bytes) -> None:
        if self.record is not None:
            self._close()
        words = text.split(None, 1)  # at ASCII's blanks, as all readers of FASTA do
        if not words:
            raise SequenceError(f"{self.source}: line {self.line}: a record has no name after '>'")
        try:
            name = words[0].decode()
        except UnicodeDecodeError as error:
            raise SequenceError(
                f"{self.source}: line {self.line}: byte 0x{words[0][error.start]:02x} in the record's name is not "
                "UTF-8. If it is Latin-1, convert it with: iconv -f LATIN1 -t UTF-8"
            ) from None
        if any(letter < " " or letter == "\x7f" for letter in name):
            raise SequenceError(
                f"{self.source}: line {self.line}: the record's name {name!r} holds a control character"
            )
        if name in self.seen:
            raise SequenceError(f"{self.source}: line {self.line}: record {name} occurs twice; names must be unique")
        self.record, self.length, self.blank = name, 0, None
        self.declared = _declared(words[1]) if len(words) > 1 else 0
        self.seen.add(name)

    def _close(self) -> None:
        if self.length == 0:
            raise SequenceError(f"{self.source}: record {self.record} has no sequence (line {self.line - 1})")
        if self.check and self.length < self.declared:
            _log.warning(
                "%s: the header of record %s declares %s bases, and it has %s; is the file cut short?",
                self.source,
                self.record,
                f"{self.declared:,}",
                f"{self.length:,}",
            )

    def _sequence(self, text: bytes, at_line_start: bool) -> Iterator[Piece]:
        n_lines = text.count(b"\n")
        odd = b"\n\n" in text or (at_line_start and text.startswith(b"\n")) or b" " in text or b"\t" in text
        if self.blank is not None or odd:
            text = self._strip_blanks(text, at_line_start)
        if self.record is None and text.strip():
            first = text.lstrip()
            line = self.line + text[: len(text) - len(first)].count(b"\n")
            shown = first.split(b"\n")[0][:_SHOWN].decode("latin-1")
            hint = next((f" ({what})" for start, what in _OTHERS.items() if first.startswith(start)), "")
            raise SequenceError(
                f"{self.source}: line {line}: expected '>' and a name before any sequence, got {shown!r}{hint}"
            )
        translated = text.translate(BYTE_TO_CODE, b"\n")
        if INVALID in translated:
            self._refuse_letter(text)
        if translated:
            assert self.record is not None
            uracils = text.count(b"U") + text.count(b"u")
            yield Piece(self.record, self.length, np.frombuffer(translated, dtype=np.uint8), uracils)
            self.length += len(translated)
        self.line += n_lines

    def _strip_blanks(self, text: bytes, at_line_start: bool) -> bytes:
        """Drop blanks at line ends and blank lines after a record; line count stays as it was."""
        lines = text.split(b"\n")
        for index, line in enumerate(lines):
            lines[index] = line.rstrip(b" \t")
            is_line = index > 0 or at_line_start
            if index == len(lines) - 1 and not line:
                break  # what follows the last newline is not a line
            if lines[index]:
                if self.blank is not None:
                    raise SequenceError(
                        f"{self.source}: record {self.record}, line {self.blank}: blank line inside the record; "
                        "remove it"
                    )
            elif is_line and self.record is not None:
                self.blank = self.line + index
        return b"\n".join(lines)

    def _refuse_letter(self, text: bytes) -> None:
        at = text.translate(_NEWLINE_KEEPING).index(INVALID)
        line = self.line + text.count(b"\n", 0, at)
        letter = text[at : at + 1].decode("latin-1")
        hint = " (protein?)" if letter.upper() in "EFILPQXZJO*" else f" ({_COMMENTS})" if letter == ";" else ""
        raise SequenceError(
            f"{self.source}: record {self.record}, line {line}: {letter!r} is not a nucleotide letter{hint}; expected "
            "A, C, G, T, U, N or another IUPAC code"
        )


def _declared(description: bytes) -> int:
    """Return the length that a header declares, 0 where it says none."""
    if match := _LENGTH.search(description):
        return int(match[1])
    # Ensembl's Y has the place of a part and the sequence of the whole: more bases than declared are not an error.
    match = _PLACE.match(description)
    return int(match[2]) - int(match[1]) + 1 if match else 0


def write_fasta(records: Iterable[tuple[str, Codes]], stream: TextIO, *, line: int = 60) -> None:
    """Write named sequences as FASTA, `line` letters a line; soft-masked bases are in lower case."""
    for name, codes in records:
        stream.write(f">{name}\n")
        for start in range(0, len(codes), 1000 * line):
            text = to_text(codes[start : start + 1000 * line])
            stream.writelines(f"{text[at : at + line]}\n" for at in range(0, len(text), line))
