"""Tables of vectors on disk.

Parquet: columns id, contig, start, end, strand, (index, prob for chunks,) and `vector`, a list of float32 of fixed
size; the model's digest and the settings are in the file's metadata. `.npy`: a matrix for random access, with the ids
beside it in `<name>.ids.txt`. `.h5ad`: AnnData (extra `anndata`).

Rows are written in parts as they come, so that memory does not grow with them, and the parts become the file at the
end. A run that is cut short leaves its parts in a hidden folder, from which `resume` goes on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.files import write_beside

METADATA_KEY = b"hnet_dna"
_KINDS = (".parquet", ".npy", ".h5ad")


@dataclass(frozen=True)
class Table:
    """Vectors read back.

    Attributes:
        id, contig: (N,) text.
        start, end: (N,) places in the contig, 0-based half-open.
        strand: (N,) `-` where the sequence is the reverse complement of its place, else `+` or `.`.
        vector: (N, D) float32.
        metadata: model digest and settings.
    """

    id: list[str]
    contig: list[str]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    strand: list[str]
    vector: NDArray[np.float32]
    metadata: dict[str, Any]


def places(path: Path) -> list[Path]:
    """Return the files that a table of this name is: a matrix has its ids beside it."""
    return [path, path.with_suffix(".ids.txt")] if path.suffix == ".npy" else [path]


class TableWriter:
    """Writes a table in parts, and by `finish` the file; a context manager that leaves no empty parts behind."""

    def __init__(self, path: Path, width: int, metadata: dict[str, Any], *, resume: bool = False) -> None:
        if path.suffix not in _KINDS:
            raise UsageError(f"{path}: expected a name that ends in {', '.join(_KINDS)}")
        if path.suffix == ".h5ad" and find_spec("anndata") is None:
            raise UsageError("writing .h5ad needs anndata: pip install 'hnet-dna[anndata]'")
        self._path, self._width, self._metadata = path, width, metadata
        self._folder = path.with_name(f".{path.name}.parts")
        self._settings = self._folder / "settings.json"
        self.rows = self.inputs = 0
        if resume and self._settings.is_file():
            self._go_on()
        else:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir()
            self._settings.write_text(json.dumps(metadata))

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep the parts for `resume` where there is anything in them."""
        if not self.rows:
            shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, rows: Sequence[dict[str, Any]], inputs: int) -> None:
        """Write rows, each with the columns and `vector`, that come from `inputs` further sequences."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = [name for name in (rows[0] if rows else {}) if name != "vector"]
        data = {name: [row[name] for row in rows] for name in columns}
        matrix = np.array([row["vector"] for row in rows], dtype=np.float32).reshape(len(rows), self._width)
        data["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), self._width)
        self.rows += len(rows)
        self.inputs += inputs
        # The name says how many sequences have been read when the part is complete.
        with write_beside(self._folder / f"part-{self.inputs:012d}.parquet") as temporary:
            pq.write_table(pa.table(data), str(temporary))

    def finish(self) -> None:
        """Make the file out of the parts, and remove them."""
        writer = {".parquet": self._parquet, ".npy": self._npy, ".h5ad": self._h5ad}[self._path.suffix]
        writer()
        shutil.rmtree(self._folder)

    def _go_on(self) -> None:
        import pyarrow.parquet as pq

        before = json.loads(self._settings.read_text())
        if before != self._metadata:
            changed = [key for key in self._metadata if before.get(key) != self._metadata[key]]
            raise UsageError(f"--resume: {self._path} was begun with other settings ({', '.join(changed)})")
        for part in self._parts():
            self.inputs = int(part.stem.split("-")[1])
            self.rows += pq.ParquetFile(str(part)).metadata.num_rows

    def _parts(self) -> list[Path]:
        return sorted(self._folder.glob("part-*.parquet"))

    def _tables(self) -> Iterator[Any]:
        import pyarrow.parquet as pq

        for part in self._parts():
            table = pq.read_table(str(part))
            if table.num_rows:
                yield table

    def _require_rows(self) -> None:
        if not self.rows:
            raise SequenceError(f"{self._path}: nothing could be embedded, so there is nothing to write")

    def _parquet(self) -> None:
        import pyarrow.parquet as pq

        self._require_rows()
        tables = self._tables()
        first = next(tables)
        schema = first.schema.with_metadata({METADATA_KEY: json.dumps(self._metadata).encode()})
        with write_beside(self._path) as temporary, pq.ParquetWriter(str(temporary), schema) as file:
            file.write_table(first.cast(schema))
            for table in tables:
                file.write_table(table.cast(schema))

    def _npy(self) -> None:
        self._require_rows()
        matrix, ids = places(self._path)
        header = {"descr": "<f4", "fortran_order": False, "shape": (self.rows, self._width)}
        with write_beside(matrix) as temporary:
            with temporary.open("wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                for table in self._tables():
                    file.write(_matrix(table).astype("<f4", copy=False).tobytes())
            with write_beside(ids) as names, names.open("w", encoding="utf-8", newline="\n") as lines:
                for table in self._tables():
                    lines.writelines(f"{name}\n" for name in table["id"].to_pylist())

    def _h5ad(self) -> None:
        import anndata
        import pandas as pd

        self._require_rows()
        tables = list(self._tables())
        names = [name for name in tables[0].column_names if name != "vector"]
        columns = {name: [value for table in tables for value in table[name].to_pylist()] for name in names}
        observed = pd.DataFrame(columns, index=[str(i) for i in range(self.rows)])
        data = anndata.AnnData(np.concatenate([_matrix(table) for table in tables]), obs=observed)
        data.uns["hnet_dna"] = json.dumps(self._metadata)
        with write_beside(self._path) as temporary:
            data.write_h5ad(temporary)


def read_table(path: Path) -> Table:
    """Read a Parquet table of vectors, refusing files that are none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise SequenceError(f"{path}: no such file; expected a table made by 'hnet-dna embed --out X.parquet'")
    try:
        table = pq.read_table(str(path))
    except (pa.ArrowInvalid, OSError) as error:
        raise SequenceError(f"{path} is not a readable Parquet file ({error})") from None
    metadata = (table.schema.metadata or {}).get(METADATA_KEY)
    if metadata is None or "vector" not in table.column_names:
        raise SequenceError(f"{path} is not a table made by 'hnet-dna embed'")
    return Table(
        table["id"].to_pylist(),
        table["contig"].to_pylist(),
        np.array(table["start"].to_pylist(), dtype=np.int64),
        np.array(table["end"].to_pylist(), dtype=np.int64),
        # Tables of before this column was written read every region forward.
        table["strand"].to_pylist() if "strand" in table.column_names else ["."] * table.num_rows,
        _matrix(table),
        json.loads(metadata),
    )


def _matrix(table: Any) -> NDArray[np.float32]:
    column = table["vector"].combine_chunks()
    flat: NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(table.num_rows, -1)
