"""Writes chunks as bigBed, which browsers read in parts and at every zoom.

Chunks arrive in the genome's order and wait in temporary files, so that memory does not grow with the genome; a bigBed
needs its contigs in lexicographic order, and both strands merged by position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from io import BufferedRandom
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.files import scratch_file
from hnet_dna.genome.open import GenomeLike, open_genome
from hnet_dna.tracks.bigbed_process import RECORD
from hnet_dna.tracks.process import track_process

if TYPE_CHECKING:  # what merges files needs no model
    from hnet_dna.tracks.chunks import Chunks

_BLOCK = 1 << 16  # chunks handed to a writer at once
_MOST = (1 << 32) - 1  # bases of a contig that the format can count
_HELD = np.dtype([("start", "<u4"), ("end", "<u4"), ("prob", "<f4")])


@dataclass
class _Run:
    """Chunks that follow each other in a file, and whose numbers do."""

    offset: int
    count: int
    first: int
    end: int  # of the last chunk


@dataclass
class _Strand:
    file: BufferedRandom
    runs: dict[str, list[_Run]] = field(default_factory=dict)
    written: int = 0


@dataclass(frozen=True)
class Rows:
    """Consecutive lines of a bigBed as they are in a file.

    Attributes:
        start, end: (K,) uint32.
        text: the other columns, a line for each, without a line end behind the last.
    """

    start: NDArray[np.uint32]
    end: NDArray[np.uint32]
    text: bytes


class ChunkFile:
    """Chunks of one stage that wait on the disk; a context manager that owns its temporary files."""

    def __init__(self) -> None:
        self._lengths: dict[str, int] = {}
        self._strands: dict[str, _Strand] = {}
        self._stage: int | None = None

    def __enter__(self) -> ChunkFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for strand in self._strands.values():
            strand.file.close()

    def contig(self, name: str, length: int) -> None:
        """Tell a contig's length, or that it has grown to at least this."""
        if length > _MOST:
            raise SequenceError(f"{name} has more than {_MOST:,} bases, which bigBed cannot count; write BED instead")
        self._lengths[name] = max(length, self._lengths.get(name, 0))

    def add(self, chunks: Chunks) -> None:
        """Add chunks, after all that came before on their contig and strand."""
        if self._stage not in (None, chunks.stage):
            raise UsageError("chunks of one stage make a bigBed; write each stage to a file of its own")
        self._stage = chunks.stage
        if not len(chunks):
            return
        self.contig(chunks.contig, int(chunks.end[-1]))
        if chunks.strand not in self._strands:
            self._strands[chunks.strand] = _Strand(scratch_file())
        strand = self._strands[chunks.strand]
        held = np.empty(len(chunks), dtype=_HELD)
        held["start"], held["end"], held["prob"] = chunks.start, chunks.end, chunks.probability
        strand.file.seek(strand.written * _HELD.itemsize)
        strand.file.write(held.tobytes())
        runs = strand.runs.setdefault(chunks.contig, [])
        if (np.diff(chunks.start) < 0).any() or (runs and runs[-1].end > chunks.start[0]):
            raise ValueError(f"{chunks.contig}: chunks from {chunks.start[0]} are not in order")
        end = int(chunks.end[-1])
        if runs and runs[-1].first + chunks.step * runs[-1].count == chunks.first:
            runs[-1].count, runs[-1].end = runs[-1].count + len(chunks), end
        else:
            runs.append(_Run(strand.written, len(chunks), chunks.first, end))
        strand.written += len(chunks)

    def write_bigbed(self, path: Path) -> None:
        """Write a bigBed; see the function of this name."""
        names = {name for strand in self._strands.values() for name in strand.runs}
        lengths = {name: length for name, length in self._lengths.items() if name in names}
        write_records(path, lengths, lambda name: _merged([self._blocks(name, sign) for sign in self._strands]))

    def _blocks(self, contig: str, sign: str) -> Iterator[NDArray[np.void]]:
        strand = self._strands[sign]
        step = 1 if sign == "+" else -1
        for run in strand.runs.get(contig, ()):
            for done in range(0, run.count, _BLOCK):
                count = min(_BLOCK, run.count - done)
                strand.file.seek((run.offset + done) * _HELD.itemsize)
                held = np.frombuffer(strand.file.read(count * _HELD.itemsize), dtype=_HELD)
                block = np.zeros(count, dtype=RECORD)
                for name in ("start", "end", "prob"):
                    block[name] = held[name]
                block["index"] = run.first + step * np.arange(done, done + count)
                block["score"] = np.rint(held["prob"] * 1000)
                block["minus"], block["stage"] = sign == "-", self._stage
                yield block


def _merged(strands: list[Iterator[NDArray[np.void]]]) -> Iterator[NDArray[np.void]]:
    """Merge blocks of strands, each of which is sorted by position."""
    waiting = [np.zeros(0, dtype=RECORD) for _ in strands]
    ended = [False for _ in strands]
    while True:
        for which, blocks in enumerate(strands):
            while not len(waiting[which]) and not ended[which]:
                block = next(blocks, None)
                ended[which] = block is None
                if block is not None:
                    waiting[which] = block
        left = [block for block in waiting if len(block)]
        if not left:
            return
        limit = min(int(block["start"][-1]) for block in left)  # nothing that is still to come begins before it
        cuts = [int(np.searchsorted(block["start"], limit, side="right")) for block in waiting]
        ready = np.concatenate([block[:cut] for block, cut in zip(waiting, cuts, strict=True)])
        waiting = [block[cut:] for block, cut in zip(waiting, cuts, strict=True)]
        yield ready if len(left) == 1 else ready[np.lexsort((ready["minus"], ready["end"], ready["start"]))]


def write_bigbed(chunks: Iterable[Chunks], genome: GenomeLike, out: str | Path) -> None:
    """Write chunks of one stage, on one strand or both, as bigBed with its autoSql schema and zoom levels.

    The columns are those of BED6, then stage and probability. Contigs are in lexicographic order as UCSC wants them,
    and only those with chunks are in the file. Memory does not grow with the genome.

    Args:
        chunks: as `segment` yields them.
        genome: anything that `open_genome` takes, for the lengths of its contigs.
        out: the file.

    Raises:
        UsageError: chunks of several stages, or pybigtools is not installed.
        SequenceError: there are no chunks, or a contig is longer than the format can count.
    """
    check_pybigtools()
    with ChunkFile() as held:
        for contig in open_genome(genome).contigs:
            held.contig(contig.name, contig.length)
        for one in chunks:
            held.add(one)
        held.write_bigbed(Path(out))


def write_records(
    path: Path, lengths: Mapping[str, int], blocks: Callable[[str], Iterable[NDArray[np.void] | Rows]]
) -> int:
    """Write a bigBed from `RECORD`s or `Rows`, and compare what another library reads from it; return their number.

    Args:
        path: put in its place once it has been read back.
        lengths: of the contigs that have chunks, in any order.
        blocks: of one contig, sorted by position.

    Raises:
        OSError: there is no room for it.
        SequenceError: there are no chunks.
    """
    check_pybigtools()
    if not lengths:
        raise SequenceError(f"{path}: no chunks, and a bigBed cannot be empty; what was read holds nothing but N")
    contigs = sorted(lengths)
    count = covered = 0
    with track_process("bigbed_process.py", path) as process:
        process.send({name: lengths[name] for name in contigs})
        for name in contigs:
            reached = 0
            for block in blocks(name):
                start, end = (block.start, block.end) if isinstance(block, Rows) else (block["start"], block["end"])
                ends = np.maximum.accumulate(np.append(reached, end).astype(np.int64))
                covered += int((ends[1:] - np.maximum(ends[:-1], start)).clip(0).sum())
                count, reached = count + len(start), int(ends[-1])
                text = block.text if isinstance(block, Rows) else b""
                data = b"".join((start.tobytes(), end.tobytes(), text)) if text else block.tobytes()  # type: ignore[union-attr]
                process.send([name, len(start), len(text)], data)
        process.send(None)
        held, wanted = process.finish(), {"contigs": dict(lengths), "chunks": count, "bases": covered}
        if held != wanted:
            differences = ", ".join(
                f"{key}: {held[key]}, not {wanted[key]}" for key in wanted if held[key] != wanted[key]
            )
            raise RuntimeError(f"{path}: the bigBed does not hold what was written ({differences[:200]})")
    return count


def check_pybigtools() -> None:
    """Refuse to begin where the library is missing that writes bigBed."""
    if find_spec("pybigtools") is None:
        raise UsageError("bigBed needs pybigtools: pip install 'hnet-dna[bigbed]'")
