"""Text files, whole or absent: compressed by bgzip where their names ask for it, and indexed by tabix."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, TextIO

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.files import is_stream, no_room, open_stream, reporting_full_disk, write_beside

Kind = Literal["bed", "vcf"]
_MAX_TBI = 1 << 29  # positions that a .tbi index can hold; .csi has no such limit
_INDICES = (".tbi", ".csi")


def is_compressed(path: Path) -> bool:
    """Tell whether a file's name asks for bgzip."""
    return path.suffix.lower() in (".gz", ".bgz")


def index_places(path: Path) -> list[Path]:
    """Return where an index of a file may lie: beside its name, and beside the file that a symbolic link leads to."""
    names = dict.fromkeys((path, path.resolve())) if path.is_symlink() else (path,)
    return [Path(f"{name}{suffix}") for name in names for suffix in _INDICES]


@contextmanager
def text_file(path: Path) -> Iterator[TextIO]:
    """Yield a stream that becomes the file `path` if all goes well, by bgzip if its name ends in .gz or .bgz.

    Lines for a device or a pipe go there at once, unless they are to be compressed.
    """
    if not is_compressed(path) and is_stream(path):
        with reporting_full_disk(path), _as_text(open_stream(path)) as stream:
            yield stream
        return
    with (
        write_beside(path) as temporary,
        _compressed(temporary) if is_compressed(path) else _as_text(temporary.open("wb")) as stream,
    ):
        yield stream


@contextmanager
def indexed(path: Path, kind: Kind) -> Iterator[TextIO]:
    """Yield a stream for lines sorted by contig and start; on success leave `path` and its .tbi or .csi index."""
    if not is_compressed(path):
        raise UsageError(f"{path}: a file compressed by bgzip should end in .gz")
    if is_stream(path):  # a pipe has no index
        with text_file(path) as stream:
            yield stream
        return
    # What the stack holds is put in its place last: a reader that finds the index finds the file that it belongs to.
    with ExitStack() as stack, write_beside(path) as temporary:
        with _compressed(temporary) as stream:
            yield stream
        plain = temporary.with_suffix(".plain")
        made = Path(f"{temporary}{_INDICES[_reaches(plain, kind) >= _MAX_TBI]}")
        _index(temporary, made, kind, path)
        for place in index_places(path):
            if place.suffix == made.suffix:
                shutil.copyfile(made, stack.enter_context(write_beside(place)))
        for place in index_places(path):
            place.resolve().unlink(missing_ok=True)


@contextmanager
def _compressed(path: Path) -> Iterator[TextIO]:
    """Yield a stream into a plain file beside `path`, and compress that when all is written."""
    import pysam

    plain = path.with_suffix(".plain")
    with _as_text(plain.open("wb")) as stream:
        yield stream
    with _quiet():
        pysam.tabix_compress(str(plain), str(path), force=True)


def _as_text(opened: BinaryIO) -> TextIO:
    """Return a stream of UTF-8 over an open file, which passes bytes that are not UTF-8 through unchanged."""
    return io.TextIOWrapper(opened, encoding="utf-8", errors="surrogateescape", newline="\n")


def _index(compressed: Path, made: Path, kind: Kind, path: Path) -> None:
    import pysam

    with _quiet():
        try:
            pysam.tabix_index(str(compressed), preset=kind, force=True, csi=made.suffix == ".csi", index=str(made))
        except OSError as error:
            if error.errno or no_room(made):
                raise
            raise SequenceError(
                f"{path}: the lines are not sorted by contig and position, so they cannot be indexed; sort the input, "
                "or write without .gz"
            ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep htslib's own messages back, which would double ours."""
    import pysam

    verbosity = pysam.set_verbosity(0)
    try:
        yield
    finally:
        pysam.set_verbosity(verbosity)


def _reaches(path: Path, kind: Kind) -> int:
    """Return the largest position in a sorted file."""
    largest = 0
    with path.open("rb") as lines:  # what others wrote into a VCF may be in any encoding
        for line in lines:
            if not line.startswith(b"#"):
                largest = max(largest, int(line.split(b"\t", 3)[2 if kind == "bed" else 1]))
    return largest
