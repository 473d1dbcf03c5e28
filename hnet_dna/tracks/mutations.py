"""Writes mutations: a table with one row for each, and a bigWig of the mean effect of the three other bases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from hnet_dna.files import write_beside
from hnet_dna.genome.open import GenomeLike, open_genome
from hnet_dna.inference.mutate import Mutations
from hnet_dna.tracks.bgzip import text_file
from hnet_dna.tracks.values import Values

_Add: TypeAlias = Callable[[dict[str, Any]], None]


def write_mutations(
    mutations: Iterable[Mutations], out: str | Path | None, *, genome: GenomeLike = "", bigwig: str | Path | None = None
) -> int:
    """Write mutations as they come, in memory that does not grow with their number; return how many there are.

    Args:
        mutations: as `mutate` yields them.
        out: Parquet where the name ends in .parquet, else a table with tabs; columns are those of `Mutations.columns`.
            None writes no table.
        genome: what the mutations belong to, for the lengths of contigs in a bigWig.
        bigwig: also write the mean log-likelihood ratio of the three other bases, by base.
    """
    count = 0
    path = None if out is None else Path(out)
    with ExitStack() as stack:
        add: _Add | None = None
        if path is not None:
            add = stack.enter_context(_parquet(path) if path.suffix.lower() == ".parquet" else _tsv(path))
        values = stack.enter_context(Values())
        for piece in mutations:
            columns = piece.columns()
            count += len(columns["start"])
            if add is not None:
                add(columns)
            if bigwig is not None:
                values.add(piece.interval.contig, piece.interval.start, piece.effect)
        if bigwig is not None:
            for contig in open_genome(genome).contigs:
                values.contig(contig.name, contig.length)
            values.write_bigwig(Path(bigwig))
    return count


@contextmanager
def _parquet(path: Path) -> Iterator[_Add]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with write_beside(path) as temporary, ExitStack() as stack:
        file: Any = None

        def add(columns: dict[str, Any]) -> None:
            nonlocal file
            table = pa.table(columns)
            if file is None:
                file = stack.enter_context(pq.ParquetWriter(str(temporary), table.schema))
            file.write_table(table)

        yield add


@contextmanager
def _tsv(path: Path) -> Iterator[_Add]:
    with text_file(path) as stream:
        begun = False

        def add(columns: dict[str, Any]) -> None:
            nonlocal begun
            if not begun:
                stream.write("\t".join(columns) + "\n")
                begun = True
            cells = [
                [f"{value:.6g}" for value in values.tolist()] if values.dtype.kind == "f" else values.tolist()
                for values in columns.values()
            ]
            stream.writelines("\t".join(map(str, row)) + "\n" for row in zip(*cells, strict=True))

        yield add
