"""Learned chunks along contigs, from the model's results base by base.

Chunks of a stage tile each contig except for its runs of N. The first base of a stretch begins a chunk by definition
(p = 1) and says nothing about the bases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hnet_dna.errors import UsageError
from hnet_dna.inference.stream import StagePositions
from hnet_dna.inference.streams import Part
from hnet_dna.model.lm import HNetLM


@dataclass(frozen=True)
class Chunks:
    """Consecutive chunks of one contig, in the order of their positions.

    Attributes:
        contig: its name.
        start, end: (K,) in bases, 0-based half-open.
        probability: (K,) boundary probability at the first base of each chunk, as its strand reads.
        first: index of the first of them, counted from 0 in each contig along the strand.
        strand: `+` or `-`.
        stage: chunking stage, 0 outermost.
        base_probability: (L,) boundary probability at every base of the contig, NaN where there is none: in runs of N,
            outside the regions that were read, and between the positions of an inner stage. None unless asked for.
    """

    contig: str
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    probability: NDArray[np.float32]
    first: int
    strand: str = "+"
    stage: int = 0
    base_probability: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.start)

    @property
    def index(self) -> NDArray[np.int64]:
        """(K,) number of each chunk in its contig, counted from 0 along the strand."""
        return self.first + self.step * np.arange(len(self), dtype=np.int64)

    def to_pandas(self) -> Any:
        """Return a data frame with the columns chrom, start, end, name, probability, strand, stage (needs pandas)."""
        import pandas as pd

        columns = {"chrom": self.contig, "start": self.start, "end": self.end}
        columns |= {"name": [f"stage{self.stage}_{number}" for number in self.index.tolist()]}
        return pd.DataFrame(columns | {"probability": self.probability, "strand": self.strand, "stage": self.stage})

    def to_features(self) -> list[Any]:
        """Return a `Bio.SeqFeature.SeqFeature` per chunk, to be put into a SeqRecord (needs Biopython).

        Their type is `misc_feature`; qualifiers are note (the name), score (1000 x the probability), and probability.
        """
        from Bio import SeqFeature as bio

        feature, location = cast(Any, bio.SeqFeature), cast(Any, bio.SimpleLocation)  # mypy knows nothing of them
        strand = 1 if self.strand == "+" else -1
        names = (f"stage{self.stage}_{number}" for number in self.index.tolist())
        rows = zip(self.start.tolist(), self.end.tolist(), names, self.probability.tolist(), strict=True)
        return [
            feature(
                location(start, end, strand),
                type="misc_feature",
                qualifiers={"note": [name], "score": [str(round(1000 * p))], "probability": [f"{p:.6g}"]},
            )
            for start, end, name, p in rows
        ]

    @property
    def step(self) -> int:
        """How the index changes from one chunk to the next."""
        return 1 if self.strand == "+" else -1


def check_stage(model: HNetLM, stage: int) -> None:
    """Refuse a chunking stage that a model does not have."""
    if not 0 <= stage < model.n_chunking_stages:
        last = model.n_chunking_stages - 1
        wanted = "a model that has a router" if last < 0 else f"0 to {last}" if last else "0"
        raise UsageError(
            f"`stage` {stage}: chunking stages of this model: {model.n_chunking_stages}; expected {wanted}"
        )


class ForwardChunks:
    """Turns results that arrive piece by piece into the chunks of one stage; the last chunk waits for its end."""

    def __init__(self, stage: int) -> None:
        self._stage = stage
        self._contig: str | None = None
        self._index = 0
        self._start: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._prob: NDArray[np.float32] = np.zeros(0, dtype=np.float32)

    @property
    def pending(self) -> int | None:
        """Start of the chunk that waits, if any."""
        return int(self._start[0]) if len(self._start) else None

    def add(self, part: Part, stages: tuple[StagePositions, ...]) -> Chunks:
        """Return the chunks that these bases complete, possibly none."""
        if part.contig != self._contig:
            self._contig, self._index = part.contig, 0
        stage = stages[self._stage]
        starts = np.concatenate((self._start, stage.position[stage.mask]))
        probs = np.concatenate((self._prob, stage.prob[stage.mask]))
        complete = len(starts) if part.last else len(starts) - 1
        ends = np.append(starts[1:], part.end)
        self._start, self._prob = starts[complete:], probs[complete:]
        first = self._index
        self._index += complete
        return Chunks(part.contig, starts[:complete], ends[:complete], probs[:complete], first, "+", self._stage)


class ReverseChunks:
    """The same for the reverse strand, whose boundaries lie at the last bases of chunks."""

    def __init__(self, stage: int) -> None:
        self._stage = stage
        self._contig: str | None = None
        self._left = 0
        self._start: int | None = None

    @property
    def pending(self) -> int | None:
        """Start of the chunk that waits, if any."""
        return self._start

    def add(self, part: Part, reverse: tuple[StagePositions, ...], total: int) -> Chunks:
        """Return the chunks that these bases complete; `total` is the number of chunks in the whole contig."""
        if part.contig != self._contig:
            self._contig, self._left = part.contig, total
        stage = reverse[self._stage]
        ends = stage.position[stage.mask] + 1
        start = part.start if self._start is None else self._start
        starts = np.concatenate(([start], ends))
        self._start = None if part.last else int(starts[-1])
        first = self._left - 1
        self._left -= len(ends)
        return Chunks(part.contig, starts[:-1], ends, stage.prob[stage.mask], first, "-", self._stage)
