"""Finds the chunks of sequences: as arrays, or written with the probabilities behind them in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TextIO

import numpy as np
from numpy.typing import NDArray

from hnet_dna.errors import UsageError
from hnet_dna.genome.fasta import Piece
from hnet_dna.genome.genome import Genome, whole
from hnet_dna.genome.open import GenomeLike, open_genome
from hnet_dna.inference.load import load_model
from hnet_dna.inference.strands import Reading, read_strands
from hnet_dna.inference.stream import StagePositions, read_sources
from hnet_dna.inference.streams import Part
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval, union
from hnet_dna.sequence.strand import Strand, check_strand
from hnet_dna.tracks.bed import bed6, bed12, points
from hnet_dna.tracks.bigbed import ChunkFile
from hnet_dna.tracks.chunks import Chunks, ForwardChunks, ReverseChunks, check_stage
from hnet_dna.tracks.values import Values
from hnet_dna.tracks.windows import Windows

Style = Literal["chunks", "points", "nested"]
OnBases = Callable[[int], None]


@dataclass(frozen=True)
class Segmenter:
    """What to write, and where.

    Attributes:
        model: with at least one chunking stage.
        bed: lines go here, if anywhere.
        stage: chunking stage, 0 outermost.
        style: BED6 of chunks, BED6 of their first bases, or BED12 of chunks with those of the stage outside as blocks.
        plus, minus: get the boundary probability of the stage at each of its positions, strand by strand.
        sinks: get the chunks of the strands that they are for, whatever the style of the lines.
        streams: intervals and strands of a genome that are run side by side, at most; what suits the model's device
            where None.
        piece: bases run at once.
        on_bases: gets how many more bases have been run; on both strands, each counts twice.
    """

    model: HNetLM
    bed: TextIO | None
    stage: int = 0
    style: Style = "chunks"
    plus: Values | None = None
    minus: Values | None = None
    sinks: Mapping[str, Sequence[ChunkFile | Windows]] = field(default_factory=dict)
    streams: int | None = None
    piece: int | None = None
    on_bases: OnBases = lambda count: None

    def __post_init__(self) -> None:
        check_stage(self.model, self.stage)
        if self.style == "nested" and self.stage == 0:
            raise UsageError(
                f"nested chunks need an inner stage, `stage` 1 or more; this model has {self.model.n_chunking_stages} "
                "chunking stages"
            )

    def run(self, pieces: Iterable[Piece]) -> int:
        """Write the forward strand of pieces as they come; return the number of chunks."""
        lines = _Lines(self, "+")
        for _, part, result in read_sources([self._measured(pieces)], self.model, stage=self.stage, piece=self.piece):
            self.on_bases(len(part.codes))
            lines.add(Reading(part, result))
        return lines.count

    def run_strands(self, genome: Genome, intervals: Sequence[Interval], strand: Strand) -> int:
        """Write intervals of a genome, each read on its own, on one strand or both; return the number of chunks."""
        for interval in intervals:
            self._grow(interval.contig, genome[interval.contig].length)
        lines = _Lines(self, strand)
        for reading in read_strands(
            genome,
            intervals,
            self.model,
            strand,
            stages=self.stage + 1,
            streams=self.streams,
            piece=self.piece,
            on_bases=self.on_bases,
        ):
            lines.add(reading)
        return lines.count

    def _measured(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        for piece in pieces:
            self._grow(piece.record, piece.start + len(piece.codes))
            yield piece

    def _grow(self, contig: str, length: int) -> None:
        """Let files have contigs at their whole length, and those of nothing but N too."""
        sinks = (sink for some in self.sinks.values() for sink in some)
        for file in (self.plus, self.minus, *sinks):
            if file is not None:
                file.contig(contig, length)


def segment(
    genome: GenomeLike,
    model: str | Path | HNetLM,
    *,
    stage: int = 0,
    strand: Strand = "+",
    regions: Sequence[Interval] | None = None,
    every_base: bool = False,
    streams: int | None = None,
    on_bases: OnBases = lambda count: None,
) -> Iterator[Chunks]:
    """Yield the learned chunks of each contig as arrays; on both strands, those of `+` before those of `-`.

    Memory holds the chunks of one contig. Contigs of nothing but N are left out.

    Args:
        genome: anything that `open_genome` takes.
        model: anything that `load_model` takes.
        stage: chunking stage, 0 outermost.
        strand: `+`, `-` or `both`.
        regions: read only these, each on its own; the whole genome where None.
        every_base: also give the boundary probability at every base of the contig.
        streams: contigs, regions and strands that are run side by side, at most; what suits the model's device where
            None.
        on_bases: called with the number of bases that have been run since the last call; on both strands, each base
            counts twice.

    Raises:
        UsageError: the model has no such stage, or there is no such strand.
        SequenceError: the genome cannot be read, or a region is not part of it.

    Example:
        >>> from hnet_dna import segment
        >>> [len(chunks) > 0 for chunks in segment("yeast", "five-genomes", regions=[Interval("chrI", 0, 3000)])]
        [True]
    """
    opened, loaded = open_genome(genome), load_model(model)
    check_stage(loaded, stage)
    check_strand(strand)
    intervals = [whole(contig) for contig in opened.contigs] if regions is None else in_order(opened, regions)
    contig: _Contig | None = None
    for reading in read_strands(
        opened, intervals, loaded, strand, stages=stage + 1, streams=streams, on_bases=on_bases
    ):
        name = reading.part.contig
        if contig is None or contig.name != name:
            if contig is not None:
                yield from contig.chunks()
            contig = _Contig(name, stage, opened[name].length if every_base else None)
        contig.add(reading)
    if contig is not None:
        yield from contig.chunks()


def in_order(genome: Genome, regions: Iterable[Interval]) -> list[Interval]:
    """Return the bases of regions as intervals that neither overlap nor touch, in the genome's order."""
    order = {contig.name: index for index, contig in enumerate(genome.contigs)}
    chosen = union(regions)
    for interval in chosen:
        genome.codes(interval)  # an unknown contig, or an end past one, is an error here
    return sorted(chosen, key=lambda interval: (order[interval.contig], interval.start))


class _Contig:
    """The chunks of one contig, strand by strand, gathered as they become complete."""

    def __init__(self, name: str, stage: int, length: int | None) -> None:
        self.name, self._stage, self._length = name, stage, length
        self._plus, self._minus = ForwardChunks(stage), ReverseChunks(stage)
        self._gathered: dict[str, list[Chunks]] = {}
        self._values: dict[str, NDArray[np.float32]] = {}

    def add(self, reading: Reading) -> None:
        if reading.plus is not None:
            stages = reading.plus.stages
            self._gather("+", self._plus.add(reading.part, stages), stages)
        if reading.minus is not None:
            stages = reading.minus.stages
            self._gather("-", self._minus.add(reading.part, stages, reading.minus_chunks), stages)

    def _gather(self, strand: str, chunks: Chunks, stages: tuple[StagePositions, ...]) -> None:
        self._gathered.setdefault(strand, []).append(chunks)
        if self._length is not None:
            if strand not in self._values:
                self._values[strand] = np.full(self._length, np.nan, dtype=np.float32)
            self._values[strand][stages[self._stage].position] = stages[self._stage].prob

    def chunks(self) -> Iterator[Chunks]:
        for strand, gathered in self._gathered.items():
            first = next((chunks.first for chunks in gathered if len(chunks)), 0)
            names = ("start", "end", "probability")
            start, end, probability = (np.concatenate([getattr(one, name) for one in gathered]) for name in names)
            values = self._values.get(strand)
            yield Chunks(self.name, start, end, probability, first, strand, self._stage, values)


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
        self.count = 0

    def add(self, reading: Reading) -> None:
        stage, what, part = self._what.stage, self._what, reading.part
        if reading.plus is not None:
            if what.style == "nested":
                self._blocks["+"].keep(self._plus_blocks(part, reading.plus.stages))
            self._write(self._plus.add(part, reading.plus.stages))
            if what.plus is not None:
                _add_values(what.plus, part, reading.plus.stages[stage])
        if reading.minus is not None:
            if what.style == "nested":
                self._blocks["-"].keep(self._minus_blocks(part, reading.minus.stages))
            self._write(self._minus.add(part, reading.minus.stages, reading.minus_chunks))
            if what.minus is not None:
                _add_values(what.minus, part, reading.minus.stages[stage])
        self._release(part.last)

    def _plus_blocks(self, part: Part, stages: tuple[StagePositions, ...]) -> Chunks:
        builder = self._blocks["+"].builder
        assert isinstance(builder, ForwardChunks)
        return builder.add(part, stages)

    def _minus_blocks(self, part: Part, reverse: tuple[StagePositions, ...]) -> Chunks:
        builder = self._blocks["-"].builder
        assert isinstance(builder, ReverseChunks)
        return builder.add(part, reverse, 0)

    def _write(self, chunks: Chunks) -> None:
        what = self._what
        if not len(chunks.start):
            return
        self.count += len(chunks.start)
        for sink in what.sinks.get(chunks.strand, ()):
            sink.add(chunks)
        if what.bed is None:
            return
        if what.style == "points":
            text = points(chunks)
        elif what.style == "nested":
            text = bed12(chunks, self._blocks[chunks.strand].take(int(chunks.end[-1])))
        else:
            text = bed6(chunks)
        if self._strand != "both":
            what.bed.write(text)
            return
        for line in text.splitlines(keepends=True):
            start, end = line.split("\t", 3)[1:3]
            self._held.append((int(start), int(end), line))

    def _release(self, everything: bool) -> None:
        """Write held lines that no later one can precede."""
        if not self._held or self._what.bed is None:
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
            np.concatenate((getattr(old, name), getattr(blocks, name))) for name in ("start", "end", "probability")
        )
        self._kept = Chunks(blocks.contig, starts, ends, probs, 0, blocks.strand)

    def take(self, end: int) -> Chunks:
        """Give away the blocks up to a position."""
        assert self._kept is not None
        kept = self._kept
        cut = int(np.searchsorted(kept.start, end))
        self._kept = Chunks(kept.contig, kept.start[cut:], kept.end[cut:], kept.probability[cut:], 0, kept.strand)
        return Chunks(kept.contig, kept.start[:cut], kept.end[:cut], kept.probability[:cut], 0, kept.strand)


def _add_values(values: Values, part: Part, stage: StagePositions) -> None:
    dense = np.full(len(part.codes), np.nan, dtype=np.float32)
    dense[stage.position - part.start] = stage.prob
    values.add(part.contig, part.start, dense)
