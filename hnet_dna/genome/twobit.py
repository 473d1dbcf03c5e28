"""Reads .2bit files of UCSC, with py2bit (extra `twobit`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hnet_dna.errors import SequenceError
from hnet_dna.genome.fasta import PIECE, Piece
from hnet_dna.sequence.codes import BYTE_TO_CODE
from hnet_dna.text import report_read

_SUFFIX = ".2bit"
_MAGICS = (b"\x43\x27\x41\x1a", b"\x1a\x41\x27\x43")


def is_twobit(path: Path) -> bool:
    """Tell whether a file is, or should be, a .2bit file: by its first bytes or its name."""
    if path.suffix.lower() == _SUFFIX:
        return True
    try:
        with path.open("rb") as file:
            return file.read(4) in _MAGICS
    except OSError:
        return False  # the reader of the file reports it


def read_twobit(path: Path) -> Iterator[Piece]:
    """Yield the bases of a .2bit file piece by piece, with their soft-mask; the format has only A, C, G, T and N."""
    try:
        import py2bit
    except ModuleNotFoundError:
        raise SequenceError(
            f"{path}: reading .2bit needs py2bit; install it with: pip install 'hnet-dna[twobit]', or convert the "
            "file with twoBitToFa"
        ) from None
    try:
        file = py2bit.open(str(path), True)
    except RuntimeError:
        raise SequenceError(f"{path} is not a .2bit file, or is damaged") from None
    try:
        lengths: dict[str, int] = file.chroms()
        if not lengths:
            raise SequenceError(f"{path}: no record in this .2bit file")
        done, total, size = 0, sum(lengths.values()), path.stat().st_size
        for name, length in lengths.items():
            if length == 0:
                raise SequenceError(f"{path}: record {name} has no sequence")
            for start in range(0, length, PIECE):
                text: str = file.sequence(name, start, min(start + PIECE, length))
                codes = np.frombuffer(text.encode().translate(BYTE_TO_CODE), dtype=np.uint8)
                yield Piece(name, start, codes, uracils=0)
                done += len(codes)
                report_read(path, size * done // total, size)
    finally:
        file.close()
