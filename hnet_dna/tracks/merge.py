"""Joins the tracks of parts of a genome, each of contigs of its own, into one."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
from numpy.typing import NDArray

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.tracks.bgzip import indexed, is_compressed, text_file
from hnet_dna.tracks.values import pybigwig, write_bigwig

_BLOCK = 1 << 18  # values held at once
OnShare = Callable[[float], None]
_TEXT = (".bed", ".bedgraph", ".bg")
_BIGWIG = (".bw", ".bigwig")


def kind_of_track(path: Path) -> Literal["text", "bigwig"]:
    """Tell by its name what a track holds: lines of BED or bedGraph, compressed or not, or bigWig.

    Raises:
        UsageError: the name has another ending.
    """
    compressed = is_compressed(path)
    ending = (Path(path.stem) if compressed else path).suffix.lower()
    if ending in _TEXT:
        return "text"
    if not compressed and ending in _BIGWIG:
        return "bigwig"
    raise UsageError(f"{path}: expected a name that ends in .bed, .bed.gz, .bedgraph, .bedgraph.gz or .bw")


def merge_tracks(paths: Sequence[str | Path], out: str | Path, on_share: OnShare = lambda share: None) -> int:
    """Join tracks of different contigs into one; return the number of lines, or of contigs for bigWig.

    Args:
        paths: BED, bedGraph (plain or gzip) or bigWig files. BED and bedGraph are joined in this order.
        out: a name that ends in .bed, .bedgraph or .bg, with .gz behind it for bgzip and an index, or in .bw.
        on_share: called with the share that is done.

    Raises:
        SequenceError: a file that is not such a track, or a contig in two files.
        UsageError: the name of `out` has another ending.
    """
    places, target = [Path(path) for path in paths], Path(out)
    if kind_of_track(target) == "bigwig":
        return merge_bigwig(places, target, on_share)
    with indexed(target, "bed") if is_compressed(target) else text_file(target) as stream:
        return merge_bed(places, stream, on_share)


def merge_bed(paths: Sequence[Path], out: TextIO, on_share: OnShare = lambda share: None) -> int:
    """Write the lines of BED or bedGraph files (plain or gzip), one file after the other; return how many.

    `on_share` gets the share of the files that is done.

    Raises:
        SequenceError: a line that is not of such a file, or a contig that comes back after another one, in the same
            file or in a later one.
    """
    seen: set[str] = set()
    current: str | None = None
    count = 0
    for index, path in enumerate(paths):
        on_share(index / len(paths))
        with _text(path) as lines:
            try:
                for number, line in enumerate(lines, start=1):
                    contig = _contig(line, f"{path}: line {number}")
                    if contig != current or number == 1:
                        if contig in seen:
                            raise SequenceError(
                                f"{path}: line {number}: {contig} was there before; each contig must be in one file, "
                                "in one stretch"
                            )
                        seen.add(contig)
                        current = contig
                    out.write(line if line.endswith("\n") else line + "\n")
                    count += 1
            except (UnicodeDecodeError, EOFError, gzip.BadGzipFile):
                raise SequenceError(f"{path}: no text, or damaged; expected BED or bedGraph") from None
    return count


def merge_bigwig(paths: Sequence[Path], out: Path, on_share: OnShare = lambda share: None) -> int:
    """Write the values of bigWig files to one; return the number of contigs.

    `on_share` gets the share of the bases that is done.

    Raises:
        SequenceError: a file that is no bigWig, or a contig in two files.
    """
    home: dict[str, Path] = {}
    lengths: dict[str, int] = {}
    files: dict[Path, Any] = {}
    with ExitStack() as stack:
        for path in paths:
            files[path] = stack.enter_context(_bigwig(path))
            for name, length in files[path].chroms().items():
                if name in home:
                    raise SequenceError(f"{path}: {name} is in {home[name]} too; each contig must be in one file")
                home[name], lengths[name] = path, length

        done, total = 0, sum(lengths.values())

        def values(contig: str) -> Iterator[tuple[int, NDArray[np.float32]]]:
            nonlocal done
            file, length = files[home[contig]], lengths[contig]
            on_share(done / total)
            done += length
            if file.header()["nBasesCovered"] == 0:
                return
            for start in range(0, length, _BLOCK):
                yield start, file.values(contig, start, min(start + _BLOCK, length), numpy=True)

        write_bigwig(out, lengths, values)
    return len(lengths)


def _contig(line: str, where: str) -> str:
    contig, start, end = (*line.rstrip("\n").split("\t")[:3], "", "")[:3]
    if not (contig and start.isdecimal() and end.isdecimal() and int(start) < int(end)):
        raise SequenceError(f"{where}: expected contig, start and end of BED or bedGraph, separated by tabs")
    return contig


def _text(path: Path) -> TextIO:
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
    except (FileNotFoundError, IsADirectoryError):
        raise SequenceError(f"{path}: no such file; expected BED or bedGraph") from None
    return gzip.open(path, "rt") if compressed else path.open()


def _bigwig(path: Path) -> Any:
    bigwig = pybigwig()
    if not path.is_file():
        raise SequenceError(f"{path}: no such file; expected bigWig")
    try:
        file = bigwig.open(str(path))
        if file.isBigWig():
            return file
    except RuntimeError:
        pass
    raise SequenceError(f"{path} is not a bigWig file")
