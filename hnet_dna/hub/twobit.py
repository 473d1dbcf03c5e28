"""Writes a genome as .2bit, which UCSC's assembly hubs, JBrowse and igv.js read in parts."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hnet_dna.errors import SequenceError
from hnet_dna.files import write_beside
from hnet_dna.genome.genome import Genome
from hnet_dna.sequence.codes import SOFT_MASK, is_acgt
from hnet_dna.sequence.interval import Interval

_MAGIC = 0x1A412743
_VALUE = np.array([2, 1, 3, 0], dtype=np.uint8)  # of A, C, G, T
_PIECE = 1 << 22  # bases, a multiple of 4
_MOST = (1 << 32) - 1


def write_twobit(genome: Genome, path: Path) -> None:
    """Write a .2bit file with its blocks of N and of soft-masked bases; other IUPAC codes become N, as in the format.

    Raises:
        SequenceError: the file would have more than 4 GB, or a contig's name more than 255 letters.
    """
    names = [contig.name.encode() for contig in genome.contigs]
    offset = 16 + sum(5 + len(name) for name in names)
    index = b""
    blocks = []
    for contig, name in zip(genome.contigs, names, strict=True):
        unknown, masked = _blocks(genome, contig.name, contig.length)
        if offset > _MOST or len(name) > 255:
            raise SequenceError(f"{contig.name}: too much for .2bit, which has 4 GB and names of 255 letters at most")
        index += struct.pack("<B", len(name)) + name + struct.pack("<I", offset)
        offset += 16 + 8 * (len(unknown) + len(masked)) + -(-contig.length // 4)
        blocks.append((unknown, masked))
    with write_beside(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<4I", _MAGIC, 0, len(names), 0) + index)
        for contig, some in zip(genome.contigs, blocks, strict=True):
            file.write(struct.pack("<I", contig.length))
            for block in some:
                file.write(struct.pack("<I", len(block)))
                file.write(block[:, 0].astype("<u4").tobytes() + (block[:, 1] - block[:, 0]).astype("<u4").tobytes())
            file.write(bytes(4))
            for start in range(0, contig.length, _PIECE):
                codes = genome.codes(Interval(contig.name, start, min(start + _PIECE, contig.length)))
                letters = np.where(is_acgt(codes), codes & 3, 3)
                values = np.zeros(-(-len(codes) // 4) * 4, dtype=np.uint8)
                values[: len(codes)] = _VALUE[letters]
                four = values.reshape(-1, 4)
                file.write(
                    (four[:, 0] << 6 | four[:, 1] << 4 | four[:, 2] << 2 | four[:, 3]).astype(np.uint8).tobytes()
                )


def _blocks(genome: Genome, contig: str, length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the runs of letters other than A, C, G, T, and of soft-masked ones, as rows of start and end."""
    edges: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]] = ([], [])
    before = [False, False]
    for start in range(0, length, _PIECE):
        codes = genome.codes(Interval(contig, start, min(start + _PIECE, length)))
        for which, flags in enumerate((~is_acgt(codes), (codes & SOFT_MASK) > 0)):
            edges[which].append(np.flatnonzero(np.diff(flags, prepend=before[which])) + start)
            before[which] = bool(flags[-1])
    unknown, masked = (
        np.concatenate([*some, [length] * last]).astype(np.int64).reshape(-1, 2)
        for some, last in zip(edges, before, strict=True)
    )
    return unknown, masked
