"""What a model makes of one strand of a genome, or of both, in the forward strand's coordinates and order.

The model reads one way. On the reverse strand it reads a contig from its end; base i of L bases is base L - 1 - i
there, at even and odd lengths alike. Its probability of a base is conditioned on the bases after it; a boundary before
base j there lies *after* base L - 1 - j here, so that chunk [s, e) there is [L - e, L - s) here.

Strands and intervals are sequences of their own, and so are run side by side. What has to wait, because it came from
the end of a contig or before its turn, is kept in files without names: memory does not grow with the genome. For every
base that waits, the disk holds 4 bytes of bits, and 5 for each stage of boundaries.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnet_dna.files import ScratchFolder, reserve
from hnet_dna.genome.fasta import Piece
from hnet_dna.genome.genome import Genome, known_bases
from hnet_dna.genome.pieces import forward_pieces, reverse_pieces
from hnet_dna.inference.stream import Bases, Result, StagePositions, piece_of, read_sources, streams_of
from hnet_dna.inference.streams import Part, parts
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval
from hnet_dna.sequence.strand import Strand

_FILE = 1 << 22  # bytes of a file at least, so that many small contigs share one


@dataclass(frozen=True)
class Reading:
    """What a model makes of consecutive bases on each strand that is read.

    Attributes:
        part: the bases.
        plus: as the forward strand reads, None if it is not read.
        minus: the same of the reverse strand, in forward positions and order. Where a mask is set, a chunk begins
            there, so that it *ends* with that base here.
        minus_chunks: chunks of the innermost stage on the reverse strand, in all that is read of the contig.
    """

    part: Part
    plus: Result | None
    minus: Result | None = None
    minus_chunks: int = 0


def read_strands(
    genome: Genome,
    intervals: Sequence[Interval],
    model: HNetLM,
    strand: Strand = "+",
    *,
    bits: bool = False,
    stages: int = 0,
    streams: int | None = None,
    piece: int | None = None,
    on_bases: Callable[[int], None] = lambda count: None,
) -> Iterator[Reading]:
    """Read intervals of a genome, each on its own, in their order.

    Args:
        genome: of the intervals.
        intervals: disjoint; those of a contig follow each other.
        model: any with an alphabet.
        strand: `+`, `-` or `both`.
        bits: whether -log2 p of bases is wanted.
        stages: how many chunking stages are wanted, from the outermost.
        streams: the most sequences run side by side; what suits the model's device where None. With more than one,
            or with the reverse strand, results wait on the disk.
        piece: bases run at once.
        on_bases: gets how many more bases have been run; on both strands, each counts twice.
    """
    streams, piece = streams or streams_of(model), piece or piece_of(model)
    stage = None if bits else stages - 1
    if strand == "+" and min(streams, len(intervals)) <= 1:
        pieces = forward_pieces(genome, intervals)
        for _, part, result in read_sources([pieces], model, stage=stage, piece=piece):
            on_bases(len(part.codes))
            yield Reading(part, result)
        return
    contigs: deque[_Contig] = deque()  # those that have begun, until their turn
    opened: dict[int, tuple[_Contig, _Kept]] = {}

    def sources() -> Iterator[Iterable[Piece]]:
        room, number = _Room(), itertools.count()
        for _, those in itertools.groupby(intervals, lambda interval: interval.contig):
            begun = _Contig(genome, list(those), strand, bits, stages)
            contigs.append(begun)
            for kept in begun.open(room):
                opened[next(number)] = begun, kept
                yield (reverse_pieces if kept.turned else forward_pieces)(genome, [kept.interval])

    replayed: Iterator[Reading] = iter(())

    def release(most: float) -> Iterator[Reading]:
        """Yield some of the readings whose turn it is."""
        nonlocal replayed
        while most > 0:
            reading = next(replayed, None)
            if reading is not None:
                yield reading
                most -= 1
            elif contigs and not contigs[0].left:
                replayed = contigs.popleft().readings(max(1, piece // streams))
            else:
                return

    for source, part, result in read_sources(sources(), model, stage=stage, streams=streams, piece=piece):
        contig, kept = opened[source]
        contig.left -= len(part.codes)
        if not kept.keep(part, result):
            del opened[source]
        on_bases(len(part.codes))
        yield from release(2)  # few at a time, so that a GPU does not wait while a whole contig is written
    yield from release(math.inf)


def annotate_intervals(
    genome: Genome,
    intervals: Sequence[Interval],
    model: HNetLM,
    *,
    streams: int | None = None,
    on_bases: Callable[[int], None] = lambda count: None,
) -> Iterator[Bases]:
    """Yield all that a model makes of the forward strand of intervals, as `read_strands` does."""
    stages = model.n_chunking_stages
    for reading in read_strands(genome, intervals, model, bits=True, stages=stages, streams=streams, on_bases=on_bases):
        assert reading.plus is not None
        yield Bases.of(reading.part, reading.plus)


class _Room:
    """Arrays on the disk, which go when nothing refers to them."""

    def __init__(self) -> None:
        self._free = np.zeros(0, dtype=np.uint8)

    def take(self, kind: type, length: int) -> NDArray[Any]:
        """Return an array of zeros."""
        size = -(-np.dtype(kind).itemsize * length // 8) * 8
        if len(self._free) < size:
            with ScratchFolder() as folder:
                path = folder / "results"
                reserve(path, max(size, _FILE))
                self._free = np.asarray(np.memmap(path, dtype=np.uint8, mode="r+"))  # is there without its name, too
        taken, self._free = self._free[:size], self._free[size:]
        return taken.view(kind)[:length]


class _Kept:
    """What a model makes of one strand of an interval, by position on the forward strand."""

    def __init__(self, interval: Interval, length: int, known: int, *, turned: bool) -> None:
        """Prepare for an interval with so many known bases, of a contig of this length."""
        self.interval, self.turned = interval, turned
        self._length, self.left = length, known
        self._bits: NDArray[np.float32] | None = None
        self._stages: list[tuple[NDArray[np.float32], NDArray[np.bool_]]] = []

    def open(self, room: _Room, bits: bool, stages: int) -> None:
        """Take the room for results."""
        size = len(self.interval)
        self._bits = room.take(np.float32, size) if bits else None
        self._stages = [(room.take(np.float32, size), room.take(np.bool_, size)) for _ in range(stages)]

    def keep(self, part: Part, result: Result) -> int:
        """Take the results of a part, whose positions count along its own strand; return how many bases are left."""
        count = len(part.codes)
        start = (self._length - part.end if self.turned else part.start) - self.interval.start
        self.left -= count
        if self._bits is not None:
            self._bits[start : start + count] = result.bits[::-1] if self.turned else result.bits
        for (prob, mask), stage in zip(self._stages, result.stages, strict=False):
            place = stage.position - part.start
            place = start + (count - 1 - place if self.turned else place)
            prob[place], mask[place] = stage.prob, stage.mask
        return self.left

    def result(self, start: int, end: int) -> Result:
        """Return what has been kept of bases [start, end) of the contig."""
        place = slice(start - self.interval.start, end - self.interval.start)
        stages = []
        position = np.arange(end - start)
        for prob, mask in self._stages:
            chosen = mask[place][position]
            stages.append(StagePositions(position + start, prob[place][position], chosen))
            position = position[chosen]
        bits = np.zeros(0) if self._bits is None else self._bits[place].astype(np.float64)
        return Result(tuple(stages), bits)

    def chunks(self) -> int:
        """Return how many chunks of the innermost stage begin."""
        return int(np.count_nonzero(self._stages[-1][1])) if self._stages else 0


class _Contig:
    """Intervals of one contig, on the strands that are wanted, until it is their turn.

    Attributes:
        left: bases that have not been run; on both strands, each counts twice.
    """

    def __init__(self, genome: Genome, intervals: list[Interval], strand: Strand, bits: bool, stages: int) -> None:
        self._genome, self._bits, self._stages = genome, bits, stages
        self._strands: list[tuple[_Kept | None, _Kept | None]] = []  # of each interval, forward and reverse
        self.left = 0
        for interval in intervals:
            one = interval, genome[interval.contig].length, known_bases(genome, [interval])
            plus = None if strand == "-" else _Kept(*one, turned=False)
            minus = None if strand == "+" else _Kept(*one, turned=True)
            self._strands.append((plus, minus))
            self.left += sum(kept.left for kept in (plus, minus) if kept is not None)

    def open(self, room: _Room) -> Iterator[_Kept]:
        """Take the room for each strand of each interval that has a base, one after the other."""
        for kept in itertools.chain.from_iterable(self._strands):
            if kept is not None and kept.left:
                kept.open(room, self._bits, self._stages)
                yield kept

    def readings(self, size: int) -> Iterator[Reading]:
        """Give everything away, in parts of at most `size` bases."""
        strands, self._strands = self._strands, []
        minus_chunks = sum(minus.chunks() for _, minus in strands if minus is not None)
        for plus, minus in strands:
            one = plus or minus
            assert one is not None
            for part in parts(forward_pieces(self._genome, [one.interval]), lambda: size):
                results = [None if kept is None else kept.result(part.start, part.end) for kept in (plus, minus)]
                yield Reading(part, results[0], results[1], minus_chunks)
