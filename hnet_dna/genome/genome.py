"""The class `Genome`: contigs by name, and their bases, read-only.

Bases come from a memory-mapped store (see `store.py`). A `Genome` may be sent to other processes by any start method:
what travels is the store's path, and the receiver maps it anew.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hnet_dna.errors import SequenceError
from hnet_dna.genome.contig_names import same_contig, unknown_contig
from hnet_dna.genome.store import Contig, Store, read_store
from hnet_dna.plural import counted
from hnet_dna.sequence.codes import Codes, to_text
from hnet_dna.sequence.interval import Interval

_log = logging.getLogger(__name__)


class Genome:
    """Contigs and their bases; `hnet_dna.open_genome` opens one.

    It has as many items as contigs, iterates over their names, and `genome["chr1"]` is a `Contig`. Positions are
    0-based, and ends are not included.

    Attributes:
        source: the FASTA or .2bit file; `stdin`, `pipe` or the pipe's own path for what came through a pipe; a name for
            sequences that were in memory.
        contigs: in the order of the file.
        aliases: whether files that are read with this genome may call its contigs by other names.
        streamed: whether it came through a pipe or from memory, so that it cannot be opened again by its source.
    """

    def __init__(self, source: Path, store: Store, *, streamed: bool = False, aliases: bool = False) -> None:
        self.source, self.contigs, self.streamed, self._store = source, store.contigs, streamed, store
        self._by_name = {contig.name: contig for contig in store.contigs}
        self.aliases, self._found = aliases, dict[str, str]()

    def with_aliases(self) -> Genome:
        """Return the same genome, with which other files may call contigs by the names that known assemblies have.

        These are chr1, 1, CM000663.2 and NC_000001.11, for a contig of the length that the assembly has, and names that
        differ only by `chr` or by Roman numerals. What is written keeps the names of the genome.
        """
        return Genome(self.source, self._store, streamed=self.streamed, aliases=True)

    def find(self, name: str) -> str:
        """Return the name that a contig has here: `name` itself, or with aliases that of the contig it stands for."""
        if not self.aliases or name in self._by_name:
            return name
        if name not in self._found:
            own = same_contig(name, self.contigs)
            if own is not None and not any(other != key for key, other in self._found.items()):
                _log.info("names of contigs are read by aliases: %s is %s in %s", name, own, self.source.name)
            self._found[name] = own or name
        return self._found[name]

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.source, self._store.place, self._store.key, self.streamed, self.aliases)

    def __getitem__(self, name: str) -> Contig:
        if name not in self._by_name:
            raise unknown_contig(name, self.contigs, self.source.name)
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __len__(self) -> int:
        return len(self.contigs)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __repr__(self) -> str:
        contigs = counted(len(self), "contig")
        return f"<Genome {self.source.name}: {contigs}, {counted(self.length, 'base')}>"

    @property
    def store_path(self) -> Path:
        """The file that the bases are mapped from."""
        return self._store.place

    @property
    def length(self) -> int:
        """Bases of all contigs, N included."""
        return sum(contig.length for contig in self.contigs)

    def sequence(self, name: str, start: int = 0, end: int | None = None) -> str:
        """Return bases [start, end) of a contig as text, soft-masked ones in lower case; all of it by default.

        Raises:
            SequenceError: there is no such contig, or it ends before `end`.
            ValueError: not 0 <= start <= end.
        """
        return to_text(self.codes(Interval(name, start, self[name].length if end is None else end)))

    def codes(self, interval: Interval) -> Codes:
        """Return the codes of an interval, (L,), without copying; an end past the contig is a `SequenceError`."""
        contig = self[interval.contig]
        if interval.end > contig.length:
            raise SequenceError(
                f"{interval} ends {counted(interval.end - contig.length, 'base')} past {contig.name} "
                f"({counted(contig.length, 'base')} in {self.source.name})"
            )
        return self._store.codes[contig.offset + interval.start : contig.offset + interval.end]

    def segments(self, interval: Interval) -> list[Interval]:
        """Return the parts of an interval between runs of N."""
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
    """Return how many bases of intervals are not N."""
    return sum(len(segment) for interval in intervals for segment in genome.segments(interval))


def whole(contig: Contig) -> Interval:
    """Return a contig as an interval."""
    return Interval(contig.name, 0, contig.length)


def _reopen(source: Path, place: Path, key: dict[str, int], streamed: bool, aliases: bool = False) -> Genome:
    store = read_store(place, key)
    if store is None:
        lost = "has been removed" if streamed else "has been removed or replaced"
        lives = "; it lives only as long as the process that read it" if streamed else ""
        raise SequenceError(f"{place}: the store of {source} {lost} since it was opened{lives}")
    return Genome(source, store, streamed=streamed, aliases=aliases)
