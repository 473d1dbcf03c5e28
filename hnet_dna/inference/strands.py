"""The reverse strand's results, in the forward strand's coordinates.

The model reads one way. On the reverse strand it reads a contig from its end; base i of L bases is base L - 1 - i
there, at even and odd lengths alike. Its probability of a base is conditioned on the bases after it; a boundary before
base j there lies *after* base L - 1 - j here, so that chunk [s, e) there is [L - e, L - s) here.

Results arrive from the end of a contig, so they are kept in temporary files until the forward strand needs them:
memory does not grow with the contig, disk does, by 4 bytes a base for bits, or by 5 per stage for boundaries.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnet_dna.files import reserve
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.pieces import reverse_pieces
from hnet_dna.inference.stream import Part, StagePositions, annotate, find_boundaries
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval

_GROUP = 1 << 23  # bases of small contigs whose reverse strands are run together


class ReverseStrand:
    """Runs the reverse strand of intervals and answers by forward position; a context manager that owns its files."""

    def __init__(
        self,
        genome: Genome,
        model: HNetLM,
        *,
        stage: int | None = None,
        piece: int | None = None,
        on_bases: Callable[[int], None] = lambda count: None,
    ) -> None:
        """Say what is wanted: the boundaries of stages 0 to `stage`, or bits where it is None.

        `on_bases` gets how many more bases have been run.
        """
        self._genome, self._model, self._stage, self._piece = genome, model, stage, piece
        self._on_bases = on_bases
        self._folder = tempfile.TemporaryDirectory(prefix="hnet-dna-")
        self._offsets: dict[str, list[tuple[Interval, int]]] = {}
        self._arrays: dict[str, NDArray[np.float32]] = {}
        self._masks: list[NDArray[np.uint8]] = []

    def __enter__(self) -> ReverseStrand:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._arrays, self._masks = {}, []
        self._folder.cleanup()

    def run(self, intervals: Sequence[Interval]) -> None:
        """Run the reverse strand of intervals, forgetting those run before."""
        total = sum(map(len, intervals))
        self._arrays, self._masks = {}, []
        self._offsets, offset = {}, 0
        for interval in intervals:
            self._offsets.setdefault(interval.contig, []).append((interval, offset))
            offset += len(interval)
        pieces = reverse_pieces(self._genome, intervals)
        if self._stage is None:
            bits = self._arrays["bits"] = self._file("bits", np.float32, total)
            for bases in annotate(pieces, self._model, piece=self._piece):
                start, end = self._forward(bases)
                at = self._at(bases.contig, start, end)
                bits[at : at + end - start] = bases.bits[::-1]
                self._on_bases(end - start)
            return
        for stage in range(self._stage + 1):
            self._arrays[f"prob{stage}"] = self._file(f"prob{stage}", np.float32, total)
            self._masks.append(self._file(f"mask{stage}", np.uint8, total))
        for chunked in find_boundaries(pieces, self._model, self._stage, piece=self._piece):
            start, end = self._forward(chunked)
            at = self._at(chunked.contig, start, end)
            for stage, positions in enumerate(chunked.stages):
                place = at + end - 1 - (positions.position - chunked.start) - start
                self._masks[stage][place] = positions.mask
                self._arrays[f"prob{stage}"][place] = positions.prob
            self._on_bases(end - start)

    def bits(self, contig: str, start: int, end: int) -> NDArray[np.float32]:
        """Return -log2 p (L,) of each base given those after it, over a piece of an interval that has been run."""
        at = self._at(contig, start, end)
        return np.array(self._arrays["bits"][at : at + end - start])

    def stages(self, contig: str, start: int, end: int) -> tuple[StagePositions, ...]:
        """Return the boundaries over a piece of an interval that has been run, in the forward strand's order.

        Where `mask` is set, a chunk begins on the reverse strand, so that a chunk *ends* with that base here.
        """
        at = self._at(contig, start, end)
        place = slice(at, at + end - start)
        stages = []
        position = np.arange(end - start)
        for stage, masks in enumerate(self._masks):
            mask = masks[place][position].astype(bool)
            stages.append(StagePositions(position + start, self._arrays[f"prob{stage}"][place][position], mask))
            position = position[mask]
        return tuple(stages)

    def count(self, contig: str, stage: int) -> int:
        """Return how many chunks of a stage the reverse strand of a contig has in all intervals run."""
        return sum(
            int(np.count_nonzero(self._masks[stage][offset : offset + len(interval)]))
            for interval, offset in self._offsets[contig]
        )

    def _forward(self, part: Part) -> tuple[int, int]:
        """Where a part of the reverse strand lies on the forward one."""
        end = self._genome[part.contig].length - part.start
        return end - len(part.codes), end

    def _at(self, contig: str, start: int, end: int) -> int:
        for interval, offset in self._offsets[contig]:
            if interval.start <= start and end <= interval.end:
                return offset + start - interval.start
        raise KeyError(f"{contig}:{start}-{end} has not been run")

    def _file(self, name: str, kind: type, length: int) -> NDArray[Any]:
        path = Path(self._folder.name) / name
        path.unlink(missing_ok=True)  # what is mapped still keeps its own file
        reserve(path, max(length, 1) * np.dtype(kind).itemsize)
        return np.memmap(path, dtype=kind, mode="r+", shape=(max(length, 1),))


def groups(intervals: Sequence[Interval]) -> Iterator[list[Interval]]:
    """Gather intervals into groups of some megabases, contigs whole, so that small contigs are run side by side."""
    group: list[Interval] = []
    for interval in intervals:
        if group and sum(map(len, group)) >= _GROUP and interval.contig != group[-1].contig:
            yield group
            group = []
        group.append(interval)
    if group:
        yield group
