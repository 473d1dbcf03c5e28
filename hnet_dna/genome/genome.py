"""A genome as training and evaluation see it: contigs by name, and their bases, read-only.

Bases come from a memory-mapped store (see `store`). A `Genome` may be sent to other processes by any start method:
what travels is the store's path, and the receiver maps it anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hnet_dna.errors import SequenceError
from hnet_dna.files import descriptor, is_stream
from hnet_dna.genome.names import unknown_contig
from hnet_dna.genome.store import Contig, Store, open_store, read_store, temporary_store
from hnet_dna.sequence.codes import Codes
from hnet_dna.sequence.interval import Interval


class Genome:
    """Contigs and their bases.

    Attributes:
        source: the FASTA or .2bit file; of what came through a pipe, `stdin`, `pipe` or the pipe's own path.
        contigs: in the order of the file.
        streamed: whether it came through a pipe, so that it cannot be opened again.
    """

    def __init__(self, source: Path, store: Store, *, streamed: bool = False) -> None:
        self.source, self.contigs, self.streamed, self._store = source, store.contigs, streamed, store
        self._by_name = {contig.name: contig for contig in store.contigs}

    @classmethod
    def open(cls, source: str | Path) -> Genome:
        """Open a FASTA file (plain, gzip or bgzip) or a .2bit file, building its store where there is none.

        FASTA may also come from stdin (`-`) or through a pipe, which is read here, once.
        """
        if is_streamed(source):
            number = 0 if str(source) == "-" else descriptor(Path(source))
            name = Path(source) if number is None else Path("pipe" if number else "stdin")
            return cls(name, temporary_store(source), streamed=True)
        source = Path(source)
        if not source.is_file():
            what = "is a directory" if source.is_dir() else "no such file"
            raise SequenceError(f"{source}: {what}; expected a FASTA file")
        return cls(source, open_store(source))

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.source, self._store.place, self._store.key, self.streamed)

    def __getitem__(self, name: str) -> Contig:
        if name not in self._by_name:
            raise unknown_contig(name, self.contigs, self.source.name)
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    @property
    def store_path(self) -> Path:
        """The file that the bases are mapped from."""
        return self._store.place

    @property
    def length(self) -> int:
        """Bases of all contigs, N included."""
        return sum(contig.length for contig in self.contigs)

    def codes(self, interval: Interval) -> Codes:
        """Return the codes of an interval without copying; one past the contig's end is an error."""
        contig = self[interval.contig]
        if interval.end > contig.length:
            raise SequenceError(
                f"{interval} ends {interval.end - contig.length:,} bases past {contig.name} "
                f"({contig.length:,} bases in {self.source.name})"
            )
        return self._store.codes[contig.offset + interval.start : contig.offset + interval.end]

    def segments(self, interval: Interval) -> list[Interval]:
        """Return what lies between the runs of N inside an interval."""
        segments, start = [], interval.start
        for run_start, run_end in self[interval.contig].n_runs:
            if run_end <= interval.start or run_start >= interval.end:
                continue
            if run_start > start:
                segments.append(Interval(interval.contig, start, run_start))
            start = max(start, run_end)
        if start < interval.end:
            segments.append(Interval(interval.contig, start, interval.end))
        return segments


def known_bases(genome: Genome, intervals: Iterable[Interval]) -> int:
    """Return how many bases of intervals lie outside runs of N."""
    return sum(len(segment) for interval in intervals for segment in genome.segments(interval))


def whole(contig: Contig) -> Interval:
    """Return a contig as an interval."""
    return Interval(contig.name, 0, contig.length)


def is_streamed(source: str | Path) -> bool:
    """Tell whether a genome would come from stdin (`-`), a pipe or another thing that can be read once only."""
    return str(source) == "-" or is_stream(Path(source))


def _reopen(source: Path, place: Path, key: dict[str, int], streamed: bool) -> Genome:
    store = read_store(place, key)
    if store is None:
        raise SequenceError(f"{place}: the store of {source} has been removed or replaced since it was opened")
    return Genome(source, store, streamed=streamed)
