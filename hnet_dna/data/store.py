"""The store: a genome as one file of one byte per base, and a table of its contigs.

It is built once from FASTA or .2bit, beside it or in the user's cache folder, and mapped read-only by whoever needs it,
so that no file handle is ever shared between processes. It records size and times of its source and is rebuilt when
they differ. Processes that need it at the same time wait for the one that builds it. Layout: codes of all contigs,
then a JSON table, then the table's length and a magic word, so that it is written in one pass and a file cut short is
never taken for a whole one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock

from hnet_dna.data.fasta import Piece, read_fasta
from hnet_dna.data.twobit import TWOBIT_SUFFIX, read_twobit
from hnet_dna.errors import SequenceError
from hnet_dna.files import home, write_beside
from hnet_dna.sequence.codes import LETTER_BITS, N_CODE, SOFT_MASK, Codes, runs_of_n, to_text

STORE_SUFFIX = ".hnetdna"
_MAGIC = b"hnet-dna store 1"
_TAIL = struct.Struct("<Q16s")
_log = logging.getLogger(__name__)


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


@dataclass(frozen=True)
class Store:
    """An open store.

    Attributes:
        place: its file.
        key: size and times of the source that it was built from.
        contigs: in the order of the source.
        codes: of all contigs, one after the other, mapped from the file.
    """

    place: Path
    key: dict[str, int]
    contigs: tuple[Contig, ...]
    codes: Codes


def open_store(source: Path) -> Store:
    """Open the store of a FASTA or .2bit file, building it where there is none that fits."""
    key = _key(source)
    places = (source.with_name(source.name + STORE_SUFFIX), _place_in_cache(source))
    for place in places:
        found = read_store(place, key)
        if found is not None:
            return found
    problem: OSError | None = None
    for place in places:
        lock = place.with_name(f".{place.name}.lock")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock):
                found = read_store(place, key)  # another process may have built it meanwhile
                try:
                    if found is None:
                        _build(source, place, key)
                        _log.info("%s: the genome's store, made once (%s bytes)", place, f"{place.stat().st_size:,}")
                finally:
                    # Who waits on the removed lock finds the store, or builds it; who comes later looks for it first.
                    lock.unlink(missing_ok=True)
        except OSError as error:
            problem = error
            continue
        found = found or read_store(place, key)
        if found is None or _key(source) != key:
            place.unlink(missing_ok=True)
            raise SequenceError(f"{source} changed while it was read; run the command again")
        return found
    raise SequenceError(f"{source}: its store can be written neither at {places[0]} nor at {places[1]} ({problem})")


def read_store(place: Path, key: dict[str, int]) -> Store | None:
    """Map a store; None where there is none, or where it is of another source, another version, or damaged."""
    try:
        with place.open("rb") as file:
            table = _read_table(file, place.stat().st_size)
    except OSError:
        return None
    if table is None:
        _log.warning("%s is damaged, or not a store of this version; it will be built again", place)
        return None
    if table["key"] != key:
        return None
    contigs = tuple(Contig(**{**c, "n_runs": tuple(map(tuple, c["n_runs"]))}) for c in table["contigs"])
    mapped = np.memmap(place, dtype=np.uint8, mode="r", shape=(table["bases"],))
    return Store(place, key, contigs, np.asarray(mapped))  # a plain array slices faster than a memmap


def _key(source: Path) -> dict[str, int]:
    # The time of last change of status also moves when a file is replaced by one of the same size and age.
    status = source.stat()
    return {"size": status.st_size, "modified_ns": status.st_mtime_ns, "changed_ns": status.st_ctime_ns}


def _place_in_cache(source: Path) -> Path:
    digest = hashlib.sha256(str(source.resolve()).encode()).hexdigest()[:16]
    return home() / "stores" / f"{source.name}.{digest}{STORE_SUFFIX}"


def _read_table(file: BinaryIO, size: int) -> dict[str, Any] | None:
    if size < _TAIL.size:
        return None
    file.seek(size - _TAIL.size)
    length, magic = _TAIL.unpack(file.read(_TAIL.size))
    if magic != _MAGIC or length > size - _TAIL.size:
        return None
    file.seek(size - _TAIL.size - length)
    try:
        table: dict[str, Any] = json.loads(file.read(length))
    except ValueError:
        return None
    return table if table["bases"] + length + _TAIL.size == size else None


def _build(source: Path, place: Path, key: dict[str, int]) -> None:
    pieces = read_twobit(source) if source.suffix == TWOBIT_SUFFIX else read_fasta(source)
    with write_beside(place) as temporary, temporary.open("wb") as file:
        contigs = []
        offset = 0
        for contig in _scan(pieces, file):
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
        for start, end in runs_of_n(piece.codes) + piece.start:
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
