"""Writes chunks as BED.

BED6, one line per chunk: contig, start, end (0-based half-open), name `stage<s>_<index>` with the index counted from 0
in each contig and along the strand, score = boundary probability at the first base x 1000, rounded, strand. Points are
the first bases of chunks alone. Nested lines are BED12: a chunk with the chunks of the next outer stage as its blocks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hnet_dna.tracks.chunks import Chunks


def bed6(chunks: Chunks, stage: int) -> str:
    """Format chunks, one line each."""
    return _lines(chunks, stage, chunks.start, chunks.end)


def points(chunks: Chunks, stage: int) -> str:
    """Format the first base of each chunk, as read on its strand, one line each."""
    first = chunks.start if chunks.strand == "+" else chunks.end - 1
    return _lines(chunks, stage, first, first + 1)


def bed12(chunks: Chunks, blocks: Chunks, stage: int) -> str:
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
            f"{chunks.contig}\t{start}\t{end}\tstage{stage}_{index}\t{scores[row]}\t{chunks.strand}\t{start}\t{end}\t0\t"
            f"{len(starts)}\t{sizes}\t{offsets}\n"
        )
    return "".join(lines)


def _scores(chunks: Chunks) -> list[int]:
    scores: list[int] = np.rint(chunks.prob * 1000).astype(np.int64).tolist()
    return scores


def _lines(chunks: Chunks, stage: int, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> str:
    contig, strand, prefix = chunks.contig, chunks.strand, f"\tstage{stage}_"
    indices = range(chunks.first, chunks.first + chunks.step * len(chunks.start), chunks.step)
    return "".join(
        f"{contig}\t{start}\t{end}{prefix}{index}\t{score}\t{strand}\n"
        for index, start, end, score in zip(indices, starts.tolist(), ends.tolist(), _scores(chunks), strict=True)
    )
