"""Opens text files of users (plain or gzip, from a path, a pipe or stdin) and reads their lines.

Every reader of text goes through here, so that byte order marks, line ends, encodings and damaged compression are
treated alike everywhere.
"""

from __future__ import annotations

import gzip
import io
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, cast

from hnet_dna.errors import SequenceError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUFFER = 1 << 20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
# Files that begin with these bytes are refused. UTF-16 without a mark has a zero among its first two bytes.
_UNREADABLE = {
    b"\xff\xfe": "is UTF-16 text; convert it with: iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "is UTF-16 text; convert it with: iconv -f UTF-16 -t UTF-8",
    b"BZh": "is compressed by bzip2; decompress it, or compress it by gzip",
    b"\xfd7zXZ\x00": "is compressed by xz; decompress it, or compress it by gzip",
    b"\x28\xb5\x2f\xfd": "is compressed by zstd; decompress it, or compress it by gzip",
    b"PK\x03\x04": "is a zip archive; unpack it first",
    b"BCF\x02": "is BCF; convert it with: bcftools view",
}
_LONGEST = max(map(len, _UNREADABLE))
OnRead = Callable[[int, int | None], None]
_watched: ContextVar[tuple[str, OnRead] | None] = ContextVar("watched", default=None)


@dataclass(frozen=True)
class Opened:
    """A source that `first_line` has opened. Readers accept it in place of a path, and read it from its start.

    Attributes:
        name: the name of the source, for messages.
        stream: its decompressed bytes.
        closing: closes the stream.
    """

    name: str
    stream: BinaryIO
    closing: ExitStack

    def __str__(self) -> str:
        return self.name


Source: TypeAlias = str | Path | Opened


@contextmanager
def open_bytes(source: Source, expected: str) -> Iterator[BinaryIO]:
    """Yield the decompressed bytes of a file, without a byte order mark.

    Args:
        source: a path, which may be a pipe, or `-` for stdin. It is opened once and read from start to end. A source
            that `first_line` has opened is not opened again.
        expected: what the file should be, such as `a BED file`, for messages.

    Raises:
        SequenceError: there is no such file, or it is a folder, UTF-16, or compressed in another way than gzip.
    """
    if isinstance(source, Opened):
        with source.closing:
            yield source.stream
        return
    if str(source) == "-":
        yield _decompressed(_counted(cast(BinaryIO, sys.stdin.buffer), source, None), called(source), expected)
        return
    path = Path(source)
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        raise SequenceError(f"{path}: no such file; expected {expected}") from None
    except IsADirectoryError:
        raise SequenceError(f"{path} is a directory; expected {expected}") from None
    except OSError as error:
        raise SequenceError(f"{path}: cannot be opened ({error.strerror})") from None
    with stream:
        size = path.stat().st_size if path.is_file() else None
        yield _decompressed(_counted(stream, source, size), called(source), expected)


def count_lines(source: Source, expected: str) -> int:
    """Return the number of lines that are not comments (`#`), which progress displays need.

    Raises:
        SequenceError: as `open_bytes` raises it, or for damaged compression.
    """
    count, comments, last = 0, 0, b"\n"
    with open_bytes(source, expected) as stream:
        while data := read_chunk(stream, BUFFER, called(source)):
            comments += (last + data).count(b"\n#")
            count += data.count(b"\n")
            last = data[-1:]
    return count + (last != b"\n") - comments


@contextmanager
def watched(source: Source, on_read: OnRead) -> Iterator[None]:
    """Report how far a file has been read, for every reader inside this block.

    Args:
        source: the same as `open_bytes` gets.
        on_read: called with the (compressed) bytes read so far, and the size of the file, or None for a pipe.
    """
    token = _watched.set((str(source), on_read))
    try:
        yield
    finally:
        _watched.reset(token)


def report_read(source: Source, done: int, size: int | None) -> None:
    """Report how far a file has been read, for a reader that does not use `open_bytes`."""
    watcher = _watched.get()
    if watcher is not None and watcher[0] == str(source):
        watcher[1](done, size)


def called(source: Source) -> str:
    """Return what messages call a source: its path, or `stdin`."""
    return "stdin" if str(source) == "-" else str(source)


def read_chunk(stream: BinaryIO, size: int, source: str) -> bytes:
    """Return up to `size` bytes of a stream from `open_bytes`; damaged compression is a `SequenceError`."""
    with _damage_of(source):
        return stream.read(size)


def first_line(source: str | Path, expected: str) -> tuple[str, Opened]:
    """Return the first line of a source that is not blank, and the source in a form that can be read from its start.

    A pipe can be opened only once, so that a caller who looks at its beginning must pass on what was read.

    Raises:
        SequenceError: as `open_bytes` raises it, or for damaged compression.
    """
    name = called(source)
    with ExitStack() as stack:
        stream = stack.enter_context(open_bytes(source, expected))
        seen = b""
        with _damage_of(name):
            while not seen.strip() and (line := stream.readline(BUFFER)):
                seen += line
        joined = cast(BinaryIO, io.BufferedReader(_Joined(seen, stream), BUFFER))
        text = seen.decode("utf-8", "replace").strip()
        return re.split(r"[\r\n]", text, maxsplit=1)[0], Opened(name, joined, stack.pop_all())


@contextmanager
def _damage_of(source: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SequenceError(
            f"{source}: the compressed data is cut short or damaged ({error}); copy or download the file again"
        ) from None


class _Joined(io.RawIOBase):
    """The bytes that were already read from a stream, followed by the rest of it."""

    def __init__(self, seen: bytes, stream: BinaryIO) -> None:
        self._seen, self._stream = seen, stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        data, self._seen = self._seen[: len(view)], self._seen[len(view) :]
        data = data or self._stream.read(len(view))
        view[: len(data)] = data
        return len(data)


def numbered_lines(source: Source, expected: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file with their numbers, counted from 1, without line ends.

    Lines end with LF, CRLF or CR, and with nothing else: U+2028 and the like are characters of a line.

    Raises:
        SequenceError: as `open_bytes` raises it, or for damaged compression or a line that is not UTF-8.
    """
    for number, raw in enumerate(raw_lines(source, expected), start=1):
        try:
            yield number, raw.rstrip(b"\r\n").decode()
        except UnicodeDecodeError as error:
            raise SequenceError(
                f"{called(source)}: line {number}: byte 0x{raw[error.start]:02x} is not UTF-8; expected {expected} in "
                "UTF-8. If it is Latin-1, convert it with: iconv -f LATIN1 -t UTF-8"
            ) from None


def raw_lines(source: Source, expected: str) -> Iterator[bytes]:
    """Yield the lines of a text file in any encoding that extends ASCII, with their line ends.

    Raises:
        SequenceError: as `open_bytes` raises it, or for damaged compression.
    """
    with open_bytes(source, expected) as stream:
        rest = b""
        while data := read_chunk(stream, BUFFER, called(source)):
            data = rest + data
            if b"\0" in data:
                raise SequenceError(f"{called(source)} is not text, since it holds zero bytes; expected {expected}")
            lines = data.splitlines(keepends=True)  # bytes are split only at LF, CRLF and CR
            rest = b"" if data.endswith(b"\n") else lines.pop()  # an incomplete line, or one that ends in half of CRLF
            yield from lines
        if rest:
            yield rest


class _Counted(io.RawIOBase):
    """A stream that reports how far it has been read."""

    def __init__(self, stream: BinaryIO, on_read: OnRead, size: int | None) -> None:
        self._stream, self._on_read, self._size, self._done = stream, on_read, size, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        count: int = self._stream.readinto(buffer)  # type: ignore[attr-defined]
        self._done += count
        self._on_read(self._done, self._size)
        return count


def _counted(stream: BinaryIO, source: str | Path, size: int | None) -> BinaryIO:
    watcher = _watched.get()
    if watcher is None or watcher[0] != str(source):
        return stream
    return cast(BinaryIO, _Counted(stream, watcher[1], size))


def _decompressed(stream: BinaryIO, source: str, expected: str) -> BinaryIO:
    buffered = cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, stream), BUFFER))
    if _peek(buffered, 2) == _GZIP:
        buffered = cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=buffered)), BUFFER))
    try:
        start = _peek(buffered, _LONGEST)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return buffered  # the reader reports it
    for magic, what in _UNREADABLE.items():
        if start.startswith(magic):
            raise SequenceError(f"{source} {what}. Expected {expected}")
    if start[:1] == b"\0" or start[1:2] == b"\0":
        raise SequenceError(f"{source} is UTF-16 text or not text at all; expected {expected} in UTF-8")
    if start.startswith(BYTE_ORDER_MARK):
        buffered.read(len(BYTE_ORDER_MARK))
    return buffered


def _peek(stream: BinaryIO, size: int) -> bytes:
    return cast(io.BufferedReader, stream).peek(size)[:size]
