"""The store: a genome as one file of one byte per base, and a table of its contigs.

It is built once from FASTA or .2bit, beside the file or in the user's cache folder, and each process maps it read-only,
so that no file handle is shared between processes. Of many stores, the last 64 are mapped at a time, so that hundreds
of genomes need few handles. It records size and times of its source, and is rebuilt when they
differ. Processes that need it at the same time wait for the one that builds it. What comes through a pipe, or from
memory, has its store in a temporary folder, which is removed when the genome is no longer used.

The file has the codes of all contigs, then a JSON table, then the length of the table and a magic word. It is thus
written in one pass, and a truncated file is never taken for a whole one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import struct
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock

from hnet_dna.errors import SequenceError
from hnet_dna.files import ScratchFolder, home, write_beside
from hnet_dna.genome.fasta import Piece
from hnet_dna.sequence.codes import LETTER_BITS, N_CODE, SOFT_MASK, Codes, runs_of_n, to_text

STORE_SUFFIX = ".hnetdna"
_MAGIC = b"hnet-dna store 1"
_TAIL = struct.Struct("<Q16s")
# Within how many nanoseconds a file may change twice and keep its time: the clock of the system ticks at least every
# 10 ms, and file systems without fractions of seconds count in seconds, or in pairs of them.
_TICK, _COARSE_TICK = 20_000_000, 2_000_000_000
_MOST_MAPPED = 64  # stores at a time, each of which takes a file handle
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Contig:
    """One record of a genome, and counts of its letters.

    Attributes:
        name: first word of the header.
        offset: where its codes begin in the store.
        length: bases.
        md5: checksum of the upper-case letters, as SAM (M5) and refget define it; U counts as T.
        soft_masked: lower-case letters.
        ambiguous: IUPAC letters other than A, C, G, T, N.
        uracils: letters that were U in the file.
        gc: letters G and C.
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
        """Number of letters N."""
        return sum(end - start for start, end in self.n_runs)


@dataclass(eq=False)
class Store:
    """An open store.

    Attributes:
        place: the file.
        key: size and times of the source that it was built from.
        contigs: in the order of the source.
        bases: of all contigs.
        identity: inode and size of the file, by which one that has been replaced is noticed.
        folder: of a temporary store, which goes with it.
    """

    place: Path
    key: dict[str, int]
    contigs: tuple[Contig, ...]
    bases: int
    identity: tuple[int, int]
    folder: ScratchFolder | None = field(default=None, repr=False)
    _codes: Codes | None = field(default=None, repr=False)

    @property
    def codes(self) -> Codes:
        """Codes of all contigs, one after the other, (L,), mapped from the file; slices stay valid by themselves."""
        codes = self._codes
        if codes is None:
            codes = self._codes = self._map()
            _mapped.append(weakref.ref(self))
            if len(_mapped) > _MOST_MAPPED:
                _unmap_the_oldest()
        return codes

    def _map(self) -> Codes:
        try:
            with self.place.open("rb") as file:
                if _identity(file) == self.identity:
                    mapped = np.memmap(file, dtype=np.uint8, mode="r", shape=(self.bases,))
                    return np.asarray(mapped)  # a plain array slices faster than a memmap
        except OSError:
            pass
        raise SequenceError(f"{self.place}: the store has been removed or replaced since it was opened; start again")


_mapped: deque[weakref.ref[Store]] = deque()


def _unmap_the_oldest() -> None:
    """Give up maps so that few are left, those of stores that are no longer used first."""
    for _ in range(len(_mapped)):
        reference = _mapped.popleft()
        if reference() is not None:
            _mapped.append(reference)
    while len(_mapped) > _MOST_MAPPED:
        if (store := _mapped.popleft()()) is not None:
            store._codes = None


def _identity(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_ino, status.st_size


def open_store(source: Path, read: Callable[[Path], Iterator[Piece]]) -> Store:
    """Open the store of a file, and build it first from what `read` makes of the file if there is none that fits."""
    key = _key(source)
    places = (source.with_name(source.name + STORE_SUFFIX), _place_in_cache(source))
    for place in places:
        store = read_store(place, key)
        if store is not None:
            return store
    _wait_for_another_time(key)
    problem: OSError | None = None
    for place in places:
        lock = place.with_name(f".{place.name}.lock")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                with _alone(lock):
                    store = read_store(place, key)  # another process may have built it meanwhile
                    if store is None:
                        _write(read(source), place, key)
                        _log.info("%s: the genome's store, made once (%s bytes)", place, f"{place.stat().st_size:,}")
            finally:
                # Outside of the lock, which is also left behind if a signal comes while it is taken. Whoever waits on
                # the removed lock finds the store, or builds it; later ones look for it first.
                lock.unlink(missing_ok=True)
        except OSError as error:
            problem = error
            continue
        store = store or read_store(place, key)
        if store is None or _key(source) != key:
            place.unlink(missing_ok=True)
            raise SequenceError(f"{source} changed while it was read; run the command again")
        return store
    raise SequenceError(f"{source}: its store can be written neither to {places[0]} nor to {places[1]} ({problem})")


def temporary_store(pieces: Iterator[Piece]) -> Store:
    """Write pieces into a store that is removed when nothing refers to it any more."""
    folder = ScratchFolder()
    place = folder.path / f"genome{STORE_SUFFIX}"
    try:
        _write(pieces, place, {})
    except BaseException:
        folder.remove()  # what is raised may be kept for long, and keeps the folder
        raise
    store = read_store(place, {})
    assert store is not None
    store.folder = folder
    return store


def read_store(place: Path, key: dict[str, int]) -> Store | None:
    """Map a store; return None if there is none, or if it is damaged, or of another source or version."""
    try:
        with place.open("rb") as file:
            identity = _identity(file)
            table = _read_table(file, identity[1])
    except OSError:
        return None
    if table is None:
        _log.warning("%s is damaged, or a store of another version; it will be built again", place)
        return None
    if table["key"] != key:
        return None
    contigs = tuple(Contig(**{**c, "n_runs": tuple(map(tuple, c["n_runs"]))}) for c in table["contigs"])
    store = Store(place, key, contigs, table["bases"], identity)
    try:
        store.codes  # noqa: B018 - mapped from now on, whatever becomes of the file
    except SequenceError:
        return None
    return store


def _key(source: Path) -> dict[str, int]:
    # The time of the last change of status differs even if a file is replaced by one of the same size and age.
    status = source.stat()
    return {"size": status.st_size, "modified_ns": status.st_mtime_ns, "changed_ns": status.st_ctime_ns}


def _wait_for_another_time(key: dict[str, int]) -> None:
    """Wait until any further change of the source would show in its times."""
    tick = _TICK if key["changed_ns"] % 1_000_000_000 else _COARSE_TICK
    wait = key["changed_ns"] + tick - time.time_ns()
    if 0 < wait <= tick:
        time.sleep(wait / 1e9)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock; on a file system without locks, two processes that build a store at once both write it whole."""
    try:
        with FileLock(lock):
            yield
    except NotImplementedError:
        yield


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


def _write(pieces: Iterator[Piece], place: Path, key: dict[str, int]) -> None:
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
    """The counts of one record, added up piece by piece."""

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
