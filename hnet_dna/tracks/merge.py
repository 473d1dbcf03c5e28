"""Joins the tracks of parts of a genome, each of contigs of its own, into one."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
from numpy.typing import NDArray

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.plural import counted
from hnet_dna.progress import OnProgress, Work, ignore
from hnet_dna.tracks.bgzip import indexed, is_compressed, text_file
from hnet_dna.tracks.bigbed import Rows, write_records
from hnet_dna.tracks.bigbed_process import SCHEMA
from hnet_dna.tracks.bigwig import pybigwig, write_bigwig

_BLOCK = 1 << 18  # values held at once
_TEXT = (".bed", ".bedgraph", ".bg")
_BINARY: dict[str, Literal["bigwig", "bigbed"]] = {
    ".bw": "bigwig", ".bigwig": "bigwig", ".bb": "bigbed", ".bigbed": "bigbed",
}  # fmt: skip


def kind_of_track(path: Path) -> Literal["text", "bigwig", "bigbed"]:
    """Tell by its name what a track holds: lines of BED or bedGraph, compressed or not, bigWig, or bigBed.

    Raises:
        UsageError: the name has another ending.
    """
    compressed = is_compressed(path)
    ending = (Path(path.stem) if compressed else path).suffix.lower()
    if ending in _TEXT:
        return "text"
    if not compressed and ending in _BINARY:
        return _BINARY[ending]
    raise UsageError(f"{path}: expected a name that ends in .bed, .bed.gz, .bedgraph, .bedgraph.gz, .bw or .bb")


def merge_tracks(paths: Sequence[str | Path], out: str | Path, *, on_progress: OnProgress = ignore) -> int:
    """Join tracks of different contigs into one; return the number of lines, or of contigs for bigWig and bigBed.

    Args:
        paths: BED or bedGraph (plain or gzip), bigWig, or bigBed files of `write_bigbed`. BED and bedGraph are joined
            in this order.
        out: a name that ends in .bed, .bedgraph or .bg, with .gz behind it for bgzip and an index, or in .bw or .bb.
        on_progress: called with a `Progress` as the work goes on.

    Raises:
        SequenceError: a file that is not such a track, or a contig in two files.
        UsageError: the name of `out` has another ending.
    """
    places, target = [Path(path) for path in paths], Path(out)
    kind = kind_of_track(target)
    with Work(on_progress, "merging", about=counted(len(places), "file")) as work:
        if kind != "text":
            return (merge_bigwig if kind == "bigwig" else merge_bigbed)(places, target, work)
        with indexed(target, "bed") if is_compressed(target) else text_file(target) as stream:
            return merge_bed(places, stream, work)


def merge_bed(paths: Sequence[Path], out: TextIO, work: Work) -> int:
    """Write the lines of BED or bedGraph files (plain or gzip), one file after the other; return how many.

    Raises:
        SequenceError: a line that is not of such a file, or a contig that comes back after another one, in the same
            file or in a later one.
    """
    seen: set[str] = set()
    current: str | None = None
    count = 0
    for index, path in enumerate(paths):
        work.at(share=index / len(paths))
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


def merge_bigwig(paths: Sequence[Path], out: Path, work: Work) -> int:
    """Write the values of bigWig files to one; return the number of contigs.

    Raises:
        SequenceError: a file that is not a bigWig, or a contig in two files.
    """
    with ExitStack() as stack:
        home, lengths = _homes(paths, "bigWig", stack)
        done, total = 0, sum(lengths.values())

        def values(contig: str) -> Iterator[tuple[int, NDArray[np.float32], int]]:
            nonlocal done
            file, length = home[contig], lengths[contig]
            work.at(share=done / total)
            done += length
            if file.header()["nBasesCovered"] == 0:
                return
            for start in range(0, length, _BLOCK):
                yield from _spans(start, file.values(contig, start, min(start + _BLOCK, length), numpy=True))

        write_bigwig(out, lengths, values)
    return len(lengths)


def _spans(start: int, values: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32], int]]:
    """Yield values as they are, or where they are those of windows one per window, so that the file stays as small."""
    same = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
    edges = np.concatenate(([0], np.flatnonzero(~same) + 1, [len(values)]))
    if len(edges) > len(values) // 16:
        yield start, values, 1
        return
    spans = np.diff(edges)
    groups = np.concatenate(([0], np.flatnonzero(np.diff(spans)) + 1, [len(spans)]))
    for first, last in pairwise(groups.tolist()):
        yield start + int(edges[first]), values[edges[first:last]], int(spans[first])


def merge_bigbed(paths: Sequence[Path], out: Path, work: Work) -> int:
    """Write the chunks of bigBed files to one; return the number of contigs.

    Raises:
        SequenceError: a file that is not a bigBed of chunks, chunks of several stages, or a contig in two files.
    """
    with ExitStack() as stack:
        home, lengths = _homes(paths, "bigBed", stack)
        done, total, stages = 0, sum(lengths.values()), set[int]()

        def rows(contig: str) -> Iterator[Rows]:
            nonlocal done
            file, length = home[contig], lengths[contig]
            work.at(share=done / total)
            done += length
            for start in range(0, length, _BLOCK):
                entries = file.entries(contig, start, min(start + _BLOCK, length)) or ()
                entries = [row for row in entries if row[0] >= start]
                if not entries:
                    continue
                stages.add(int(entries[0][2].rsplit("\t", 2)[1]))  # a file has one
                if len(stages) > 1:
                    raise SequenceError(f"{contig}: chunks of stages {sorted(stages)}; merge files of one stage")
                starts, ends, others = zip(*entries, strict=True)
                yield Rows(np.array(starts, "<u4"), np.array(ends, "<u4"), "\n".join(others).encode())

        write_records(out, lengths, rows)
    return len(lengths)


def _homes(paths: Sequence[Path], kind: str, stack: ExitStack) -> tuple[dict[str, Any], dict[str, int]]:
    """Open binary tracks; return the file of each contig, and its length."""
    home: dict[str, tuple[Path, Any]] = {}
    lengths: dict[str, int] = {}
    for path in paths:
        file = stack.enter_context(_opened(path, kind))
        for name, length in file.chroms().items():
            if name in home:
                raise SequenceError(f"{path}: {name} is in {home[name][0]} too; each contig must be in one file")
            home[name], lengths[name] = (path, file), length
    return {name: file for name, (_, file) in home.items()}, lengths


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


def _opened(path: Path, kind: str) -> Any:
    if not path.is_file():
        raise SequenceError(f"{path}: no such file; expected {kind}")
    try:
        file = pybigwig().open(str(path))
    except RuntimeError:
        raise SequenceError(f"{path} is not a {kind} file") from None
    if not (file.isBigWig() if kind == "bigWig" else file.isBigBed()):
        raise SequenceError(f"{path} is not a {kind} file")
    if kind == "bigBed" and file.SQL().decode(errors="replace") != SCHEMA:
        raise SequenceError(f"{path}: the columns of this bigBed are not those of chunks; expected a file of segment")
    return file
