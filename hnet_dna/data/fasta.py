"""Reads FASTA in pieces of constant size: plain, gzip or bgzip, from a path or from stdin (`-`).

Accepted: CRLF, lower case (kept as soft-mask), U (read as T and counted), IUPAC codes, blank lines between records,
no final newline. Refused with file, record and line: any other letter, blank lines inside a record, records without
name or sequence, names that occur twice, text before the first header, a compressed file that is cut short.
"""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from hnet_dna.data.text import Opened, Source, open_bytes
from hnet_dna.errors import SequenceError
from hnet_dna.sequence.codes import BYTE_TO_CODE, INVALID, Codes

PIECE = 1 << 20  # bytes read at once, so also the most bases of one piece
_GZIP_MAGIC = b"\x1f\x8b"
_NEWLINE_KEEPING = bytes(BYTE_TO_CODE[i] if i not in b"\n" else 0 for i in range(256))


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


def read_fasta(path: Source) -> Iterator[Piece]:
    """Yield the bases of a FASTA file piece by piece, records in file order."""
    with _open(path) as stream:
        parser = _Parser(str(path))
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


@contextmanager
def _open(path: Source) -> Iterator[BinaryIO]:
    if isinstance(path, Opened):
        with open_bytes(path, "a FASTA file") as opened:
            yield opened
        return
    if str(path) == "-":
        yield _decompressed(cast(BinaryIO, sys.stdin.buffer))
        return
    path = Path(path)
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        raise SequenceError(f"{path}: no such file; expected a FASTA file") from None
    except IsADirectoryError:
        raise SequenceError(f"{path} is a directory; expected a FASTA file") from None
    except OSError as error:
        raise SequenceError(f"{path}: cannot be opened ({error.strerror})") from None
    with stream:
        yield _decompressed(stream)


def _decompressed(stream: BinaryIO) -> BinaryIO:
    buffered = io.BufferedReader(cast(io.RawIOBase, stream), PIECE)
    if buffered.peek(2)[:2] == _GZIP_MAGIC:
        return cast(BinaryIO, gzip.GzipFile(fileobj=buffered))
    return cast(BinaryIO, buffered)


@dataclass
class _Parser:
    source: str
    line: int = 1  # line on which the bytes now looked at begin
    record: str | None = None
    length: int = 0  # bases of the record so far
    blank: int | None = None  # a blank line was met in the record, and may turn out to lie inside it
    seen: set[str] = field(default_factory=set)

    def parse(self, stream: BinaryIO) -> Iterator[Piece]:
        rest, any_bytes, mid_line = b"", False, False
        while data := self._read(stream):
            any_bytes = True
            data = (rest + data).replace(b"\r\n", b"\n")
            # A lone CR at the end may be half of CRLF; it waits for the next read.
            cut = data.rfind(b"\n") + 1
            if cut == 0 and not data.startswith(b">") and self.record is not None and not data.endswith(b"\r"):
                cut = len(data)  # one line longer than a piece
            body, rest = data[:cut], data[cut:]
            if body:
                yield from self._lines(body, mid_line)
                mid_line = not body.endswith(b"\n")
        if rest:
            yield from self._lines(rest.rstrip(b"\r"), mid_line)
        if not any_bytes:
            raise SequenceError(f"{self.source} is empty; expected FASTA")
        if self.record is None:
            raise SequenceError(f"{self.source}: no record; expected a line beginning with '>'")
        self._close()

    def _read(self, stream: BinaryIO) -> bytes:
        try:
            return stream.read(PIECE)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SequenceError(
                f"{self.source}: the compressed data is cut short or damaged"
                f"{self._where()} ({error}); copy or download the file again"
            ) from None

    def _where(self) -> str:
        return f" after record {self.record}, line {self.line}" if self.record else ""

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
        words = text.decode("utf-8", "replace").split()
        if not words:
            raise SequenceError(f"{self.source}: line {self.line}: a record has no name after '>'")
        if words[0] in self.seen:
            raise SequenceError(
                f"{self.source}: line {self.line}: record {words[0]} occurs twice; names must be unique"
            )
        self.record, self.length, self.blank = words[0], 0, None
        self.seen.add(words[0])

    def _close(self) -> None:
        if self.length == 0:
            raise SequenceError(f"{self.source}: record {self.record} has no sequence (line {self.line - 1})")

    def _sequence(self, text: bytes, at_line_start: bool) -> Iterator[Piece]:
        n_lines = text.count(b"\n")
        odd = b"\n\n" in text or (at_line_start and text.startswith(b"\n")) or b" " in text or b"\t" in text
        if self.blank is not None or odd:
            text = self._strip_blanks(text, at_line_start)
        if self.record is None and text.strip():
            hint = " (this looks like FASTQ)" if text.startswith(b"@") else ""
            raise SequenceError(
                f"{self.source}: line {self.line}: expected '>' and a name before any sequence, got "
                f"{text[:20].decode('latin-1').splitlines()[0]!r}{hint}"
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
            lines[index] = line.rstrip()
            is_line = index > 0 or at_line_start
            if index == len(lines) - 1 and not line:
                break  # what follows the last newline is no line
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
        hint = " (protein?)" if letter.upper() in "EFILPQXZJO*" else ""
        raise SequenceError(
            f"{self.source}: record {self.record}, line {line}: {letter!r} is not a nucleotide letter{hint}; expected "
            "A, C, G, T, U, N or another IUPAC code"
        )
