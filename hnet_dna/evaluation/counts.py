"""Words of a genome's training part, counted once and kept: of hg38 it takes ten minutes."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from hnet_dna.evaluation.markov import count_words
from hnet_dna.files import home, write_beside
from hnet_dna.genome.genome import Genome
from hnet_dna.sequence.interval import Interval

_KEPT_FROM = 100_000_000  # bases; fewer are counted again faster than their 350 MB are read
_FOLDER = "markov"
_VERSION = 1  # of what is counted, and how it is kept

Counts = dict[int, NDArray[np.unsignedinteger]]


def genome_counts(genome: Genome, train: Iterable[Interval], orders: Iterable[int]) -> Counts:
    """Return `count_words` of some intervals of a genome, from the user's cache where they were counted before.

    What is kept is named by the checksums of the contigs, the intervals and the orders. A damaged file is counted
    again, and where none can be written nothing is kept.
    """
    train, orders = list(train), list(orders)
    return _kept(genome, train, orders) if _is_large(train) else _counted(genome, train, orders)


def _is_large(train: Iterable[Interval]) -> bool:
    return sum(map(len, train)) >= _KEPT_FROM


def _counted(genome: Genome, train: list[Interval], orders: list[int]) -> Counts:
    return count_words((genome.codes(part) for interval in train for part in genome.segments(interval)), orders)


def _kept(genome: Genome, train: list[Interval], orders: list[int]) -> Counts:
    path = home() / _FOLDER / f"{_name(genome, train, orders)}.npz"
    with suppress(OSError):  # no room, or no right to write
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):  # others that want the same wait for it
            if (kept := _read(path, orders)) is not None:
                return kept
            counts = _counted(genome, train, orders)
            tables: dict[str, Any] = {str(order): table for order, table in counts.items()}
            with suppress(OSError), write_beside(path) as temporary, temporary.open("wb") as file:
                np.savez(file, **tables)
            return counts
    return _counted(genome, train, orders)


def _name(genome: Genome, train: list[Interval], orders: list[int]) -> str:
    named = {interval.contig for interval in train}
    contigs = {contig.name: contig.md5 for contig in genome.contigs if contig.name in named}
    counted = {"version": _VERSION, "contigs": contigs, "train": [asdict(part) for part in train], "orders": orders}
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:32]


def _read(path: Path, orders: list[int]) -> Counts | None:
    """Read what was kept, whose checksums the archive has; None where there is none that is whole."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            counts = {order: kept[str(order)] for order in orders}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    whole = all(table.shape == (4**order, 4) and table.dtype.kind == "u" for order, table in counts.items())
    return counts if whole else None
