"""Tables of vectors on disk.

- `.parquet`: columns id, contig, start, end, contig_length, strand, checksum, for chunks also index and prob, and
  `vector`, a list of float32 of fixed size. The model's digest and the settings are in the file's metadata.
- `.npy`: a matrix for random access, with the ids beside it in `<name>.ids.txt`, one a line.
- `.h5ad`: AnnData (extra `anndata`).

Rows are written in parts as they come, so that memory does not grow with the table, and at the end the parts become the
file. A run that is cut short leaves its parts in a hidden folder, from which `resume` goes on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnet_dna.embedding.inputs import Sequence as EmbeddedSequence
from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.files import LOCK_FILE, sole_owner, write_beside
from hnet_dna.tables import data_frame, require_one_line

METADATA_KEY = b"hnet_dna"
_READ_KEY = b"sequences_read"
_KINDS = (".parquet", ".npy", ".h5ad")


@dataclass(frozen=True)
class Table:
    """A table of vectors that was read from Parquet.

    Attributes:
        id, contig: (N,) text.
        start, end: (N,) places in the contig, 0-based half-open.
        contig_length: (N,) bases of the whole contig; None in tables made before this column existed.
        strand: (N,) `-` where the sequence is the reverse complement of its place, else `+` or `.`.
        checksum: (N,) of the letters (`checksum_of`); None in tables made before this column existed.
        vector: (N, D) float32.
        metadata: the model, its digest, and the settings.
    """

    id: list[str]
    contig: list[str]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    contig_length: NDArray[np.int64] | None
    strand: list[str]
    checksum: list[int] | None
    vector: NDArray[np.float32]
    metadata: dict[str, Any]

    def to_pandas(self) -> Any:
        """Return a DataFrame: id, chrom, start, end (0-based half-open), strand, and vector, an array (D,) per row."""
        return data_frame(
            {
                "id": self.id,
                "chrom": self.contig,
                "start": self.start,
                "end": self.end,
                "strand": self.strand,
                "vector": list(self.vector),
            }
        )


def places(path: Path) -> list[Path]:
    """Return the files that make up a table of this name: a matrix has its ids in a second file."""
    return [path, path.with_suffix(".ids.txt")] if path.suffix == ".npy" else [path]


def check_kind(path: Path) -> None:
    """Refuse a name of a table that has none of the endings known, or one that needs a package that is missing."""
    if path.suffix not in _KINDS:
        raise UsageError(f"{path}: expected a name that ends in {', '.join(_KINDS)}")
    if path.suffix == ".h5ad" and find_spec("anndata") is None:
        raise UsageError("writing .h5ad needs anndata: pip install 'hnet-dna[anndata]'")


class TableWriter:
    """Writes a table in parts, which `finish` turns into the file; a context manager that leaves no empty parts behind.

    Attributes:
        rows: written so far, by earlier jobs too.
        inputs: sequences read so far, by earlier jobs too.
    """

    def __init__(self, path: Path, width: int, metadata: dict[str, Any], *, resume: bool = False) -> None:
        check_kind(path)
        self._path, self._width, self._metadata, self._resume = path, width, metadata, resume
        self._folder = path.with_name(f".{path.name}.parts")
        self._settings = self._folder / "settings.json"
        self._lock = ExitStack()
        self._read = hashlib.sha256()  # of all sequences read so far
        self._read_before = ""  # its value when the last part was complete that an earlier job has left
        self.rows = self.inputs = 0

    def __enter__(self) -> TableWriter:
        """Lock the folder of parts for this process; go on with the parts left there, or remove them."""
        self._lock.enter_context(sole_owner(self._folder))
        try:
            if self._resume and self._settings.is_file():
                self._go_on()
            else:
                self._clear()
                self._settings.write_text(json.dumps(self._metadata))
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the folder; keep the parts for `resume` if they hold any row."""
        if not self.rows:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()

    def unread(self, sequences: Iterable[EmbeddedSequence]) -> Iterator[EmbeddedSequence]:
        """Yield the sequences that no earlier job has embedded, after checking that those before them are the same.

        Raises:
            SequenceError: the sequences that the parts were made of are not the first of these.
        """
        count = 0
        for sequence in sequences:
            # Lengths too, so that no two lists of sequences are one text.
            about = (sequence.id, sequence.contig, sequence.start, sequence.end, sequence.strand, len(sequence.codes))
            self._read.update(repr(about).encode())
            self._read.update(np.ascontiguousarray(sequence.codes).tobytes())
            count += 1
            if count > self.inputs or not self._read_before:
                yield sequence
            elif count == self.inputs:
                self._require_same()
        if self._read_before and count < self.inputs:
            self._require_same()

    def _require_same(self) -> None:
        if self._read.hexdigest() != self._read_before:
            raise SequenceError(
                f"{self._path}: the table was begun with other sequences than the first {self.inputs:,} given now, so "
                "it cannot be continued; begin again without `resume`"
            )
        self._read_before = ""

    def add(self, rows: Sequence[dict[str, Any]], inputs: int) -> None:
        """Write the rows, each with the columns and `vector`, that `inputs` further sequences gave.

        Raises:
            SequenceError: an id holds a line break, and would be two lines in a list of ids.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        for row in rows:
            require_one_line(row["id"], "id", str(self._path))
        columns = [name for name in (rows[0] if rows else {}) if name != "vector"]
        data = {name: [row[name] for row in rows] for name in columns}
        matrix = np.array([row["vector"] for row in rows], dtype=np.float32).reshape(len(rows), self._width)
        data["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), self._width)
        self.rows += len(rows)
        self.inputs += inputs
        # The name says how many sequences have been read when the part is complete.
        with write_beside(self._folder / f"part-{self.inputs:012d}.parquet") as temporary:
            digest = {_READ_KEY: self._read.hexdigest().encode()}
            pq.write_table(pa.table(data).replace_schema_metadata(digest), str(temporary))

    def finish(self) -> None:
        """Make the file of the parts, and remove them."""
        writer = {".parquet": self._parquet, ".npy": self._npy, ".h5ad": self._h5ad}[self._path.suffix]
        writer()
        shutil.rmtree(self._folder)

    def _go_on(self) -> None:
        import pyarrow.parquet as pq

        before = json.loads(self._settings.read_text())
        # The digest identifies the model, wherever its folder lies now.
        changed = [key for key in self._metadata if key != "model" and before.get(key) != self._metadata[key]]
        if changed:
            raise UsageError(
                f"{self._path} was begun with other settings ({', '.join(changed)}); it cannot be continued"
            )
        for part in self._parts():
            file = pq.ParquetFile(str(part))
            self.inputs = int(part.stem.split("-")[1])
            self.rows += file.metadata.num_rows
            self._read_before = (file.schema_arrow.metadata or {}).get(_READ_KEY, b"unknown").decode()

    def _clear(self) -> None:
        """Remove the parts that an earlier job has left."""
        for left in self._folder.iterdir():
            if left.name != LOCK_FILE:
                left.unlink()

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


def read_table(path: str | Path) -> Table:
    """Read a Parquet table of vectors, as `embed_to_table` and `hnet-dna embed` write it.

    Raises:
        SequenceError: there is no such file, or it is not a table of vectors.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
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
        np.array(table["contig_length"].to_pylist(), dtype=np.int64) if "contig_length" in table.column_names else None,
        # Tables made before this column existed read every region forward.
        table["strand"].to_pylist() if "strand" in table.column_names else ["."] * table.num_rows,
        table["checksum"].to_pylist() if "checksum" in table.column_names else None,
        _matrix(table),
        json.loads(metadata),
    )


def _matrix(table: Any) -> NDArray[np.float32]:
    column = table["vector"].combine_chunks()
    flat: NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(table.num_rows, -1)
