"""Writes a bigBed of chunks in a process of its own: pybigtools prints what goes wrong, or panics, and raises nothing.

Run as a script, with the path to write; imports nothing of this package. On stdin come a line of JSON with the
lengths of contigs, then for each block of chunks a line with contig, number and 0, and the chunks as `RECORD`s; or with
the size of text in place of 0, and behind it starts, ends (uint32), and a line of the other columns for each. A line
`null` ends them. On stdout goes what the file holds when it is read back.
"""

from __future__ import annotations

import json
import signal
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

# `minus` is 1 on the reverse strand.
RECORD = np.dtype(
    [
        ("start", "<u4"),
        ("end", "<u4"),
        ("prob", "<f4"),
        ("score", "<u2"),
        ("index", "<i8"),
        ("stage", "u1"),
        ("minus", "u1"),
    ]
)
SCHEMA = """table hnetDnaChunks
"Learned chunks of DNA"
(
    string  chrom;       "Contig"
    uint    chromStart;  "First base, counted from 0"
    uint    chromEnd;    "End, which is not part of the chunk"
    string  name;        "Chunking stage, and number in the contig along the strand"
    uint    score;       "1000 x boundary probability, rounded"
    char[1] strand;      "+ or -"
    uint    stage;       "Chunking stage, 0 outermost"
    float   probability; "Boundary probability at the first base, as the strand reads"
)
"""
_BED_COLUMNS = 6
_DEFINED = 34  # where in the header the number of columns lies that mean what they mean in BED
_DATA = 16  # where the place of the data lies, which begin with the number of items
_MAGIC = 0x8789F2EB


class Chunks:
    """The chunks on a stream, as pybigtools takes them."""

    def __init__(self, stream: BinaryIO) -> None:
        self.lengths: dict[str, int] = json.loads(stream.readline())
        self.last: dict[str, tuple[int, int, str]] = {}
        self._stream = stream

    def __iter__(self) -> Iterator[tuple[str, int, int, str]]:
        """Yield contig, start, end, and the other columns."""
        while (block := json.loads(self._stream.readline())) is not None:
            contig, count, size = block
            chunks = np.frombuffer(self._stream.read(count * RECORD.itemsize), dtype=RECORD) if not size else None
            if chunks is not None:
                starts, ends, others = chunks["start"], chunks["end"], self._others(chunks)
            else:
                starts, ends = np.frombuffer(self._stream.read(8 * count), dtype="<u4").reshape(2, -1)
                others = iter(self._stream.read(size).decode().split("\n"))
            if len(starts) != count:
                raise EOFError("the chunks end too early")
            last = None
            for last in zip(starts.tolist(), ends.tolist(), others, strict=True):
                yield contig, *last
            if last is not None:
                self.last[contig] = last

    @staticmethod
    def _others(chunks: np.ndarray[Any, np.dtype[np.void]]) -> Iterator[str]:
        columns = (chunks[name].tolist() for name in ("stage", "index", "score", "minus", "prob"))
        for stage, index, score, minus, probability in zip(*columns, strict=True):
            yield f"stage{stage}_{index}\t{score}\t{'-' if minus else '+'}\t{stage}\t{probability:.6g}"


def write(path: str, stream: BinaryIO) -> dict[str, object]:
    """Write the file and read it back; return its contigs, how many chunks, and how many bases they cover."""
    import pybigtools

    chunks = Chunks(stream)
    pybigtools.open(path, "w").write(chunks.lengths, iter(chunks), autosql=SCHEMA)
    with Path(path).open("r+b") as written:
        # pybigtools takes all columns for those of BED, so that readers would see stage as thickStart.
        written.seek(_DEFINED)
        written.write(struct.pack("<H", _BED_COLUMNS))
        written.seek(-4, 2)
        if struct.unpack("<I", written.read())[0] != _MAGIC:
            raise EOFError("the file ends too early")
    return _held(path, chunks)


def _held(path: str, chunks: Chunks) -> dict[str, object]:
    """Read the file by another library than wrote it."""
    import pyBigWig

    with Path(path).open("rb") as written:
        written.seek(_DATA)
        (data,) = struct.unpack("<Q", written.read(8))
        written.seek(data)
        (count,) = struct.unpack("<Q", written.read(8))
    file = pyBigWig.open(path)
    if file.SQL().decode() != SCHEMA:
        raise EOFError("the file holds another description of its columns")
    for contig, last in chunks.last.items():
        if last not in (file.entries(contig, last[0], last[1]) or ()):
            raise EOFError(f"the file lacks the last chunk of {contig}")
    held = {"contigs": file.chroms(), "chunks": count, "bases": file.header()["nBasesCovered"]}
    file.close()
    return held


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the process that reads our answer decides
    print(json.dumps(write(sys.argv[1], sys.stdin.buffer)))
