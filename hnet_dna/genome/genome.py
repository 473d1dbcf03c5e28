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
from hnet_dna.files import descriptor, is_stream
from hnet_dna.genome.contig_names import same_contig, unknown_contig
from hnet_dna.genome.fasta import Piece, read_fasta
from hnet_dna.genome.store import Contig, Store, open_store, read_store, temporary_store
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

    @classmethod
    def open(cls, source: str | Path) -> Genome:
        """Open a FASTA file (plain, gzip or bgzip) or a .2bit file, and build its store if there is none.

        FASTA may also come from stdin (`-`) or through a pipe, which is read here, once. `open_genome` takes more.
        """
        if is_streamed(source):
            number = 0 if str(source) == "-" else descriptor(Path(source))
            name = Path(source) if number is None else Path("pipe" if number else "stdin")
            return cls.in_memory(read_fasta(source, check=True), name)
        source = Path(source)
        if not source.is_file():
            what = "is a directory" if source.is_dir() else "no such file"
            raise SequenceError(f"{source}: {what}; expected a FASTA file")
        store = open_store(source)
        _check_index(source, store.contigs)
        return cls(source, store)

    @classmethod
    def in_memory(cls, pieces: Iterator[Piece], source: Path) -> Genome:
        """Keep pieces that can be read only once in a temporary store, which lives as long as this genome."""
        return cls(source, temporary_store(pieces), streamed=True)

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


def _check_index(fasta: Path, contigs: Iterable[Contig]) -> None:
    """Log where the .fai beside a FASTA file is not of this file; we do not read it, but other tools do."""
    index = fasta.with_name(f"{fasta.name}.fai")
    try:
        rows = [line.split("\t") for line in index.read_text(errors="replace").splitlines()]
    except OSError:
        return
    if [row[:2] for row in rows] != [[contig.name, str(contig.length)] for contig in contigs]:
        _log.warning(
            "%s is not the index of %s (other contigs or lengths), and tools that use it read wrong bases; make it "
            "anew: samtools faidx %s",
            index, fasta.name, fasta,
        )  # fmt: skip


def known_bases(genome: Genome, intervals: Iterable[Interval]) -> int:
    """Return how many bases of intervals are not N."""
    return sum(len(segment) for interval in intervals for segment in genome.segments(interval))


def whole(contig: Contig) -> Interval:
    """Return a contig as an interval."""
    return Interval(contig.name, 0, contig.length)


def is_streamed(source: str | Path) -> bool:
    """Tell whether a source is stdin (`-`), a pipe, or something else that can be read only once."""
    return str(source) == "-" or is_stream(Path(source))


def _reopen(source: Path, place: Path, key: dict[str, int], streamed: bool, aliases: bool = False) -> Genome:
    store = read_store(place, key)
    if store is None:
        lost = "has been removed" if streamed else "has been removed or replaced"
        lives = "; it lives only as long as the process that read it" if streamed else ""
        raise SequenceError(f"{place}: the store of {source} {lost} since it was opened{lives}")
    return Genome(source, store, streamed=streamed, aliases=aliases)
