"""One number per base, written as bigWig or bedGraph.

Values arrive in pieces and wait in a temporary file, so that memory does not grow with the genome; files are written
at the end, when contigs and their exact lengths are known. A value that is NaN is none: the base is absent from files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from hnet_dna.errors import SequenceError
from hnet_dna.files import scratch_file, write_beside
from hnet_dna.tracks.bgzip import text_file
from hnet_dna.tracks.bigwig import write_bigwig

_BLOCK = 1 << 18  # values handed to a writer at once
_FLOAT = np.dtype(np.float32)


@dataclass
class _Contig:
    length: int = 0
    runs: list[tuple[int, int, int]] = field(default_factory=list)  # start, end, offset in the file of values


class Values:
    """Float32 values by base; a context manager that owns its temporary file."""

    def __init__(self) -> None:
        self._file = scratch_file()
        self._contigs: dict[str, _Contig] = {}
        self._written = 0

    def __enter__(self) -> Values:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def contig(self, name: str, length: int) -> None:
        """Tell a contig's length, or that it has grown to at least this."""
        contig = self._contigs.setdefault(name, _Contig())
        contig.length = max(contig.length, length)

    def add(self, contig: str, start: int, values: NDArray[np.floating]) -> None:
        """Add values of consecutive bases, after all that came before in their contig; NaN where there is none."""
        if not len(values):
            return
        if np.isinf(values).any():
            raise ValueError(f"{contig}: values from {start} are not finite")
        end = start + len(values)
        self.contig(contig, end)
        runs = self._contigs[contig].runs
        if runs and runs[-1][1] > start:
            raise ValueError(f"{contig}: values from {start} overlap those before, which end at {runs[-1][1]}")
        data = np.ascontiguousarray(values, dtype=_FLOAT)
        self._file.seek(self._written * _FLOAT.itemsize)
        self._file.write(data.tobytes())
        if runs and runs[-1][1] == start and runs[-1][2] + start - runs[-1][0] == self._written:
            runs[-1] = (runs[-1][0], end, runs[-1][2])
        else:
            runs.append((start, end, self._written))
        self._written += len(values)

    def blocks(self, contig: str) -> list[tuple[int, int, int]]:
        """Return runs of values of a contig, cut into blocks, as start, end, offset."""
        return [
            (s, min(s + _BLOCK, end), offset + s - start)
            for start, end, offset in self._contigs[contig].runs
            for s in range(start, end, _BLOCK)
        ]

    def read(self, offset: int, count: int) -> NDArray[np.float32]:
        """Return values from an offset of `blocks`."""
        self._file.seek(offset * _FLOAT.itemsize)
        return np.frombuffer(self._file.read(count * _FLOAT.itemsize), dtype=_FLOAT)

    def write(self, paths: Mapping[str, Path]) -> None:
        """Write files of the formats that name them: bigwig, bedgraph, parquet; other names are passed over."""
        for kind, write in (
            ("bigwig", self.write_bigwig),
            ("bedgraph", self.write_bedgraph),
            ("parquet", self.write_parquet),
        ):
            if kind in paths:
                write(paths[kind])

    def write_bigwig(self, path: Path) -> None:
        """Write a bigWig; see the function of this name."""
        if not self._contigs:
            raise SequenceError(f"{path}: nothing to write, no contig was read")
        lengths = {name: contig.length for name, contig in self._contigs.items()}
        write_bigwig(path, lengths, self._values)

    def write_bedgraph(self, path: Path) -> None:
        """Write a bedGraph: neighbours of the same value share a line, values with 6 significant digits."""
        with text_file(path) as file:
            for name in self._contigs:
                for start, end, offset in self.blocks(name):
                    values = self.read(offset, end - start)
                    edges = np.concatenate(([0], np.flatnonzero(values[1:] != values[:-1]) + 1, [len(values)]))
                    file.writelines(
                        f"{name}\t{start + a}\t{start + b}\t{v:.6g}\n"
                        for a, b, v in zip(
                            edges[:-1].tolist(), edges[1:].tolist(), values[edges[:-1]].tolist(), strict=True
                        )
                        if v == v  # not NaN
                    )

    def write_parquet(self, path: Path) -> None:
        """Write columns contig, position (0-based) and value (float32), a row group for each block of bases."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        text = pa.dictionary(pa.int32(), pa.string())
        schema = pa.schema([("contig", text), ("position", pa.int64()), ("value", pa.float32())])
        with write_beside(path) as temporary, pq.ParquetWriter(str(temporary), schema) as file:
            for name in self._contigs:
                for start, end, offset in self.blocks(name):
                    values = self.read(offset, end - start)
                    known = np.flatnonzero(~np.isnan(values))
                    contig = pa.DictionaryArray.from_arrays(np.zeros(len(known), dtype=np.int32), pa.array([name]))
                    file.write_table(pa.table([contig, known + start, values[known]], schema=schema))

    def _values(self, contig: str) -> Iterator[tuple[int, NDArray[np.float32], int]]:
        for start, end, offset in self.blocks(contig):
            yield start, self.read(offset, end - start), 1
