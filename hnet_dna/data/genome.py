"""A genome as training and evaluation see it: a memory map of one byte per base, and a table of contigs.

The store is built once from FASTA, beside it or in the user's cache folder, and mapped read-only by whoever needs it,
so that no file handle is ever shared between processes. It records size and times of its FASTA and is rebuilt when
they differ. Layout: codes of all contigs, then a JSON table, then the table's length and a magic word, so that it is
written in one pass.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from hnet_dna.data.fasta import Piece, read_fasta
from hnet_dna.errors import SequenceError, did_you_mean
from hnet_dna.files import write_beside
from hnet_dna.sequence.codes import LETTER_BITS, N_CODE, SOFT_MASK, Codes, runs, to_text
from hnet_dna.sequence.interval import Interval

STORE_SUFFIX = ".hnetdna"
_MAGIC = b"hnet-dna store 1"
_TAIL = struct.Struct("<Q16s")


@dataclass(frozen=True)
class Contig:
    """One record of the FASTA file.

    Attributes:
        name: first word of the header.
        offset: where its codes begin in the store.
        length: bases.
        md5: of the upper-case letters, as SAM's M5 and refget define it (U counts as T).
        soft_masked: lower-case bases.
        ambiguous: IUPAC letters other than A, C, G, T, N.
        uracils: letters that were U in the file.
        gc: bases G and C.
        n_runs: runs of N as (start, end).
    """

    name: str
    offset: int
    length: int
    md5: str
    soft_masked: int
    ambiguous: int
    uracils: int
    gc: int
    n_runs: tuple[tuple[int, int], ...]

    @property
    def n_bases(self) -> int:
        """Letters N."""
        return sum(end - start for start, end in self.n_runs)


class Genome:
    """Contigs and their bases, read-only."""

    def __init__(self, source: Path, contigs: tuple[Contig, ...], codes: Codes) -> None:
        self.source, self.contigs, self._codes = source, contigs, codes
        self._by_name = {contig.name: contig for contig in contigs}

    @classmethod
    def open(cls, fasta: str | Path) -> Genome:
        """Open the store of a FASTA file, building it where there is none that fits."""
        fasta = Path(fasta)
        if not fasta.is_file():
            what = "is a directory" if fasta.is_dir() else "no such file"
            raise SequenceError(f"{fasta}: {what}; expected a FASTA file")
        key = _key(fasta)
        places = (_store_beside(fasta), _store_in_cache(fasta))
        for place in places:
            genome = _read_store(place, fasta, key)
            if genome is not None:
                return genome
        problem: OSError | None = None
        for place in places:
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                _build_store(fasta, place, key)
            except SequenceError:
                raise
            except OSError as error:
                problem = error
                continue
            genome = _read_store(place, fasta, key)
            if genome is None:
                raise SequenceError(f"{fasta} changed while it was read; run the command again")
            return genome
        raise SequenceError(f"{fasta}: its store can be written neither at {places[0]} nor at {places[1]} ({problem})")

    def __getitem__(self, name: str) -> Contig:
        if name not in self._by_name:
            raise SequenceError(f"{self.source}: no contig {name}. {did_you_mean(name, list(self._by_name)[:20])}")
        return self._by_name[name]

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
        return self._codes[contig.offset + interval.start : contig.offset + interval.end]

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


def whole(contig: Contig) -> Interval:
    """Return a contig as an interval."""
    return Interval(contig.name, 0, contig.length)


def _key(fasta: Path) -> dict[str, int]:
    status = fasta.stat()
    return {"size": status.st_size, "modified_ns": status.st_mtime_ns}


def _store_beside(fasta: Path) -> Path:
    return fasta.with_name(fasta.name + STORE_SUFFIX)


def _store_in_cache(fasta: Path) -> Path:
    digest = hashlib.sha256(str(fasta.resolve()).encode()).hexdigest()[:16]
    return user_cache_path("hnet-dna") / "genomes" / f"{fasta.name}.{digest}{STORE_SUFFIX}"


def _read_store(place: Path, fasta: Path, key: dict[str, int]) -> Genome | None:
    """Map a store; None where there is none, or where it is of another FASTA, another version, or damaged."""
    try:
        with place.open("rb") as file:
            table = _read_table(file, place.stat().st_size)
    except OSError:
        return None
    if table is None or table["key"] != key:
        return None
    contigs = tuple(Contig(**{**c, "n_runs": tuple(map(tuple, c["n_runs"]))}) for c in table["contigs"])
    return Genome(fasta, contigs, np.memmap(place, dtype=np.uint8, mode="r", shape=(table["bases"],)))


def _read_table(file: BinaryIO, size: int) -> dict[str, Any] | None:
    if size < _TAIL.size:
        return None
    file.seek(size - _TAIL.size)
    length, magic = _TAIL.unpack(file.read(_TAIL.size))
    if magic != _MAGIC or length > size - _TAIL.size:
        return None
    file.seek(size - _TAIL.size - length)
    table: dict[str, Any] = json.loads(file.read(length))
    return table if table["bases"] + length + _TAIL.size == size else None


def _build_store(fasta: Path, place: Path, key: dict[str, int]) -> None:
    with write_beside(place) as temporary, temporary.open("wb") as file:
        contigs = []
        offset = 0
        for contig in _scan(read_fasta(fasta), file):
            contigs.append({**asdict(contig), "offset": offset})
            offset += contig.length
        table = json.dumps({"key": key, "bases": offset, "contigs": contigs}).encode()
        file.write(table)
        file.write(_TAIL.pack(len(table), _MAGIC))


def _scan(pieces: Iterator[Piece], out: BinaryIO) -> Iterator[Contig]:
    """Write codes to `out` and yield one `Contig` (offset 0) per record."""
    tally: _Tally | None = None
    for piece in pieces:
        if tally is None or tally.name != piece.record:
            if tally is not None:
                yield tally.contig()
            tally = _Tally(piece.record)
        tally.add(piece)
        out.write(piece.codes.tobytes())
    if tally is not None:
        yield tally.contig()


class _Tally:
    """Counts of one record, added up piece by piece."""

    def __init__(self, name: str) -> None:
        self.name, self.length, self.uracils = name, 0, 0
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.counts = np.zeros(256, dtype=np.int64)
        self.runs: list[tuple[int, int]] = []

    def add(self, piece: Piece) -> None:
        self.md5.update(to_text(piece.codes & np.uint8(LETTER_BITS)).encode())
        self.counts += np.bincount(piece.codes, minlength=256)
        for start, end in piece_runs(piece.codes) + piece.start:
            if self.runs and self.runs[-1][1] == start:
                self.runs[-1] = (self.runs[-1][0], int(end))
            else:
                self.runs.append((int(start), int(end)))
        self.length += len(piece.codes)
        self.uracils += piece.uracils

    def contig(self) -> Contig:
        by_letter = self.counts[:SOFT_MASK] + self.counts[SOFT_MASK : 2 * SOFT_MASK]
        return Contig(
            name=self.name,
            offset=0,
            length=self.length,
            md5=self.md5.hexdigest(),
            soft_masked=int(self.counts[SOFT_MASK : 2 * SOFT_MASK].sum()),
            ambiguous=int(by_letter[N_CODE + 1 :].sum()),
            uracils=self.uracils,
            gc=int(by_letter[1] + by_letter[2]),
            n_runs=tuple(self.runs),
        )


def n_ambiguous(codes: Codes) -> int:
    """Count IUPAC letters other than A, C, G, T, N."""
    return int(((codes & LETTER_BITS) > N_CODE).sum())


def piece_runs(codes: Codes) -> NDArray[np.int64]:
    """Return the runs of N in a piece as (K, 2) half-open intervals relative to it."""
    return runs((codes & LETTER_BITS) == N_CODE)
