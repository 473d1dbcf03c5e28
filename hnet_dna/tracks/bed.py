"""Writes chunks as BED6.

One line per chunk: contig, start, end (0-based half-open), name `stage<s>_<index>` with the index counted from 0 in
each contig, score = boundary probability at the first base x 1000, rounded, strand `+` (the model reads forward).
"""

from __future__ import annotations

import numpy as np

from hnet_dna.tracks.chunks import Chunks


def bed_lines(chunks: Chunks, stage: int) -> str:
    """Format chunks, one line each."""
    scores = np.rint(chunks.prob * 1000).astype(np.int64).tolist()
    prefix = f"\tstage{stage}_"
    return "".join(
        f"{chunks.contig}\t{start}\t{end}{prefix}{index}\t{score}\t+\n"
        for index, (start, end, score) in enumerate(
            zip(chunks.start.tolist(), chunks.end.tolist(), scores, strict=True), start=chunks.first
        )
    )
