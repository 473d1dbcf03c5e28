"""Writes a bigWig in a process of its own: pyBigWig crashes where the disk is full, and takes its process with it.

Run as a script, with the path to write; imports nothing of this package. On stdin come a line of JSON with the contigs
and their lengths, then for each block of values a line with contig, start, number and bases per value, and the values
as float32 (NaN where there is none); a line `null` ends them. On stdout goes what the file holds when it is read back.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyBigWig

_MAGIC = 0x888FFC26


def write(path: str, stream: BinaryIO) -> dict[str, object]:
    """Write the file and read it back; return its contigs and the number of bases that have a value."""
    contigs = json.loads(stream.readline())
    file = pyBigWig.open(path, "w")
    file.addHeader([tuple(contig) for contig in contigs])
    while (block := json.loads(stream.readline())) is not None:
        name, start, count, span = block
        values = np.frombuffer(stream.read(4 * count), dtype=np.float32)
        if len(values) != count:
            raise EOFError("the values end too early")
        places = np.flatnonzero(~np.isnan(values))
        if len(places) == count:
            file.addEntries(name, start, values=values, span=span, step=span)
        elif len(places):
            file.addEntries(name, places * span + start, values=values[places], span=span)
    file.close()
    with Path(path).open("rb") as written:  # the last thing that is written, and not checked by pyBigWig
        written.seek(-4, 2)
        if int.from_bytes(written.read(), sys.byteorder) != _MAGIC:
            raise EOFError("the file ends too early")
    file = pyBigWig.open(path)
    held = {"contigs": file.chroms(), "bases": file.header()["nBasesCovered"]}
    file.close()
    return held


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the process that reads our answer decides
    print(json.dumps(write(sys.argv[1], sys.stdin.buffer)))
