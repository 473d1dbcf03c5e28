"""Writes the chunks of a sequence, and the probabilities behind them, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TextIO

import numpy as np

from hnet_dna.errors import UsageError
from hnet_dna.genome.fasta import Piece
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.pieces import forward_pieces
from hnet_dna.inference.strands import ReverseStrand, groups
from hnet_dna.inference.stream import PIECE, Chunked, Part, StagePositions, find_boundaries, parts
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval
from hnet_dna.sequence.strand import Strand
from hnet_dna.tracks.bed import bed6, bed12, points
from hnet_dna.tracks.chunks import Chunks, ForwardChunks, ReverseChunks, check_stage
from hnet_dna.tracks.values import Values

Style = Literal["chunks", "points", "nested"]


@dataclass(frozen=True)
class Segmenter:
    """What to write, and where.

    Attributes:
        model: with at least one chunking stage.
        bed: lines go here.
        stage: chunking stage, 0 outermost.
        style: BED6 of chunks, BED6 of their first bases, or BED12 of chunks with those of the stage outside as blocks.
        plus, minus: get the boundary probability of the stage at each of its positions, strand by strand.
        piece: bases run at once.
        on_bases: told how many bases more have been run; on both strands, each counts twice.
    """

    model: HNetLM
    bed: TextIO
    stage: int = 0
    style: Style = "chunks"
    plus: Values | None = None
    minus: Values | None = None
    piece: int = PIECE
    on_bases: Callable[[int], None] = lambda count: None

    def __post_init__(self) -> None:
        check_stage(self.model, self.stage)
        if self.style == "nested" and self.stage == 0:
            raise UsageError(
                f"nested chunks need an inner stage, --stage 1 or more; this model has {self.model.n_chunking_stages} "
                "chunking stages"
            )

    def run(self, pieces: Iterable[Piece]) -> int:
        """Write the forward strand of pieces as they come; return the number of lines."""
        lines = _Lines(self, "+")
        for bases in find_boundaries(self._measured(pieces), self.model, self.stage, piece=self.piece):
            lines.add(bases, bases, None, 0)
        return lines.close()

    def run_strands(self, genome: Genome, intervals: Sequence[Interval], strand: Strand) -> int:
        """Write intervals of a genome, each read on its own, on one strand or both; return the number of lines."""
        for interval in intervals:
            self._tell(interval.contig, genome[interval.contig].length)
        if strand == "+":
            return self.run(forward_pieces(genome, intervals))
        lines = _Lines(self, strand)
        with ReverseStrand(genome, self.model, stage=self.stage, piece=self.piece, on_bases=self.on_bases) as reverse:
            for group in groups(intervals):
                reverse.run(group)
                for part, bases in self._forward(genome, group, strand):
                    other = reverse.stages(part.contig, part.start, part.end)
                    lines.add(part, bases, other, reverse.count(part.contig, self.stage) if part.first else 0)
        return lines.close()

    def _measured(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        for piece in pieces:
            self._tell(piece.record, piece.start + len(piece.codes))
            yield piece

    def _tell(self, contig: str, length: int) -> None:
        """Let files have contigs at their whole length, and those of nothing but N too."""
        for values in (self.plus, self.minus):
            if values is not None:
                values.contig(contig, length)

    def _forward(
        self, genome: Genome, group: Sequence[Interval], strand: Strand
    ) -> Iterator[tuple[Part, Chunked | None]]:
        pieces = forward_pieces(genome, group)
        if strand == "both":
            for bases in find_boundaries(pieces, self.model, self.stage, piece=self.piece):
                yield bases, bases
        else:
            for part in parts(pieces, self.piece):
                yield part, None


class _Lines:
    """Lines in order of position, whichever strand they are of."""

    def __init__(self, what: Segmenter, strand: Strand) -> None:
        self._what, self._strand = what, strand
        self._plus, self._minus = ForwardChunks(what.stage), ReverseChunks(what.stage)
        self._blocks = {
            "+": _Blocks(ForwardChunks(what.stage - 1)),
            "-": _Blocks(ReverseChunks(what.stage - 1)),
        }
        self._held: list[tuple[int, int, str]] = []
        self._count = 0

    def add(self, part: Part, bases: Chunked | None, reverse: tuple[StagePositions, ...] | None, total: int) -> None:
        stage, what = self._what.stage, self._what
        if bases is not None:
            what.on_bases(len(bases.codes))
            if what.style == "nested":
                self._blocks["+"].keep(self._plus_blocks(bases))
            self._write(self._plus.add(bases))
            if what.plus is not None:
                _add_values(what.plus, bases, bases.stages[stage])
        if reverse is not None:
            if what.style == "nested":
                self._blocks["-"].keep(self._minus_blocks(part, reverse))
            self._write(self._minus.add(part, reverse, total))
            if what.minus is not None:
                _add_values(what.minus, part, reverse[stage])
        self._release(part.last)

    def close(self) -> int:
        """Return the number of lines written."""
        return self._count

    def _plus_blocks(self, bases: Chunked) -> Chunks:
        builder = self._blocks["+"].builder
        assert isinstance(builder, ForwardChunks)
        return builder.add(bases)

    def _minus_blocks(self, part: Part, reverse: tuple[StagePositions, ...]) -> Chunks:
        builder = self._blocks["-"].builder
        assert isinstance(builder, ReverseChunks)
        return builder.add(part, reverse, 0)

    def _write(self, chunks: Chunks) -> None:
        what = self._what
        if not len(chunks.start):
            return
        if what.style == "points":
            text = points(chunks, what.stage)
        elif what.style == "nested":
            text = bed12(chunks, self._blocks[chunks.strand].take(int(chunks.end[-1])), what.stage)
        else:
            text = bed6(chunks, what.stage)
        self._count += len(chunks.start)
        if self._strand != "both":
            what.bed.write(text)
            return
        for line in text.splitlines(keepends=True):
            start, end = line.split("\t", 3)[1:3]
            self._held.append((int(start), int(end), line))

    def _release(self, everything: bool) -> None:
        """Write held lines that no later one can precede."""
        if not self._held:
            return
        waiting = [start for start in (self._plus.pending, self._minus.pending) if start is not None]
        self._held.sort()
        limit = None if everything or not waiting else min(waiting)
        count = len(self._held) if limit is None else sum(start < limit for start, _, _ in self._held)
        self._what.bed.writelines(line for _, _, line in self._held[:count])
        del self._held[:count]


class _Blocks:
    """Chunks of the stage outside, until the chunk that holds them is complete."""

    def __init__(self, builder: ForwardChunks | ReverseChunks) -> None:
        self.builder = builder
        self._kept: Chunks | None = None

    def keep(self, blocks: Chunks) -> None:
        old = self._kept
        if old is None or old.contig != blocks.contig:
            self._kept = blocks
            return
        starts, ends, probs = (
            np.concatenate((getattr(old, name), getattr(blocks, name))) for name in ("start", "end", "prob")
        )
        self._kept = Chunks(blocks.contig, starts, ends, probs, 0, blocks.strand)

    def take(self, end: int) -> Chunks:
        """Give away the blocks up to a position."""
        assert self._kept is not None
        kept = self._kept
        cut = int(np.searchsorted(kept.start, end))
        self._kept = Chunks(kept.contig, kept.start[cut:], kept.end[cut:], kept.prob[cut:], 0, kept.strand)
        return Chunks(kept.contig, kept.start[:cut], kept.end[:cut], kept.prob[:cut], 0, kept.strand)


def _add_values(values: Values, part: Part, stage: StagePositions) -> None:
    dense = np.full(len(part.codes), np.nan, dtype=np.float32)
    dense[stage.position - part.start] = stage.prob
    values.add(part.contig, part.start, dense)
