"""Formats chunks as BED, and writes them.

BED6, one line per chunk: contig, start, end (0-based half-open), name `stage<s>_<index>` with the index counted from 0
in each contig and along the strand, score = boundary probability at the first base x 1000, rounded, strand. Points are
only the first bases of chunks. Nested lines are BED12: a chunk with the chunks of the next outer stage as its blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Literal, TextIO

import numpy as np
from numpy.typing import NDArray

from hnet_dna.errors import UsageError, did_you_mean
from hnet_dna.tracks.bgzip import indexed, is_compressed, text_file
from hnet_dna.tracks.chunks import Chunks


def bed6(chunks: Chunks) -> str:
    """Format chunks, one line each."""
    return _lines(chunks, chunks.start, chunks.end)


def points(chunks: Chunks) -> str:
    """Format the first base of each chunk, as read on its strand, one line each."""
    first = chunks.start if chunks.strand == "+" else chunks.end - 1
    return _lines(chunks, first, first + 1)


def bed12(chunks: Chunks, blocks: Chunks) -> str:
    """Format chunks with the chunks of the stage outside theirs as blocks; `blocks` tile the same bases."""
    lines = []
    first = np.searchsorted(blocks.start, chunks.start)
    last = np.searchsorted(blocks.start, chunks.end)
    scores = _scores(chunks)
    for row, (start, end) in enumerate(zip(chunks.start.tolist(), chunks.end.tolist(), strict=True)):
        inside = slice(int(first[row]), int(last[row]))
        starts, ends = blocks.start[inside], blocks.end[inside]
        sizes = ",".join(map(str, (ends - starts).tolist()))
        offsets = ",".join(map(str, (starts - start).tolist()))
        index = chunks.first + row * chunks.step
        lines.append(
            f"{chunks.contig}\t{start}\t{end}\tstage{chunks.stage}_{index}\t{scores[row]}\t{chunks.strand}\t{start}\t{end}\t0\t"
            f"{len(starts)}\t{sizes}\t{offsets}\n"
        )
    return "".join(lines)


def _scores(chunks: Chunks) -> list[int]:
    scores: list[int] = np.rint(chunks.probability * 1000).astype(np.int64).tolist()
    return scores


def _lines(chunks: Chunks, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> str:
    contig, strand, prefix = chunks.contig, chunks.strand, f"\tstage{chunks.stage}_"
    indices = range(chunks.first, chunks.first + chunks.step * len(chunks.start), chunks.step)
    return "".join(
        f"{contig}\t{start}\t{end}{prefix}{index}\t{score}\t{strand}\n"
        for index, start, end, score in zip(indices, starts.tolist(), ends.tolist(), _scores(chunks), strict=True)
    )


Style = Literal["chunks", "points"]
_STYLES = {"chunks": bed6, "points": points}


def write_bed(chunks: Iterable[Chunks], out: str | Path | TextIO, *, style: Style = "chunks") -> int:
    """Write chunks as BED6, sorted by position within each contig; return the number of lines.

    Args:
        chunks: as `segment` yields them; those of one contig follow each other.
        out: a file, compressed by bgzip and indexed if its name ends in .gz or .bgz, or an open stream.
        style: `chunks`, or `points` for their first bases only.

    Raises:
        UsageError: there is no such style.
    """
    if style not in _STYLES:
        raise UsageError(f"`style` {style!r}: {did_you_mean(style, _STYLES)}")
    with bed_file(out) as stream:
        return _write(chunks, stream, _STYLES[style])


@contextmanager
def bed_file(out: str | Path | TextIO) -> Iterator[TextIO]:
    """Yield a stream for lines of BED; a file is whole or absent, and compressed and indexed if its name says so."""
    if not isinstance(out, str | Path):
        yield out
        return
    path = Path(out)
    with indexed(path, "bed") if is_compressed(path) else text_file(path) as stream:
        yield stream


def _write(chunks: Iterable[Chunks], stream: TextIO, lines: Callable[[Chunks], str]) -> int:
    count = 0
    for _, group in groupby(chunks, key=lambda one: one.contig):
        texts = [lines(one) for one in group]
        if len(texts) > 1:  # two strands
            held = [line for text in texts for line in text.splitlines(keepends=True)]
            held.sort(key=lambda line: tuple(map(int, line.split("\t", 3)[1:3])))
            texts = ["".join(held)]
        for text in texts:
            stream.write(text)
            count += text.count("\n")
    return count
