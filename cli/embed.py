"""`hnet-dna embed`: vectors for sequences or chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hnet_dna.errors import UsageError

from . import options, show
from .outputs import check_outputs

if TYPE_CHECKING:
    from hnet_dna.embedding.embedder import Embedder
    from hnet_dna.embedding.inputs import Sequence

_AT_ONCE = 512  # sequences per part of the table


def embed(
    sequences: Annotated[
        str,
        typer.Argument(
            metavar="SEQUENCES", help="FASTA, CSV or TSV with a column of sequences, a genome with --regions, or '-'."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="X.parquet, X.npy or X.h5ad.")],
    model: options.Model = options.BUILT_IN,
    regions: Annotated[
        Path | None, typer.Option(metavar="BED", help="Embed these regions of the genome, each on its strand.")
    ] = None,
    sequence: options.SequenceColumn = None,
    level: options.Level = "chunk",
    pool: options.Pool = "mean",
    strand: options.Strand = "both",
    per_chunk: Annotated[bool, typer.Option("--per-chunk", help="One row per chunk, as --strand + reads.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a table that was cut short.")] = False,
) -> None:
    """Write one vector per sequence (or per chunk), with ids in their order.

    Sequences without any A, C, G or T are reported and left out. A region on strand - of --regions is read as its
    reverse complement.

    Example: hnet-dna embed sample.fa --model run --out vectors.parquet

    Example: hnet-dna embed genome.fa --regions genes.bed --strand + --model run --out genes.parquet
    """
    if per_chunk and not level.startswith("chunk"):
        raise UsageError(f"--per-chunk needs a chunk level, got --level {level}")
    if per_chunk and strand == "-":
        raise UsageError("--per-chunk gives the chunks of the forward reading; leave out --strand -")
    from hnet_dna.embedding.table import TableWriter, places

    check_outputs({"--out": places(out)}, [sequences, regions, model], {"--out": ""})
    from hnet_dna.embedding.embedder import Embedder
    from hnet_dna.embedding.inputs import read_sequences

    loaded = show.load_model(model)
    embedder = Embedder(loaded, level, pool, "+" if per_chunk else strand)  # type: ignore[arg-type]
    settings = {
        "model": show.model_name(model),
        "model_digest": loaded.digest(),
        "level": level,
        "pooling": None if per_chunk else pool,
        "strand": embedder.strand,
        "per_chunk": per_chunk,
    }
    left_out: list[str] = []
    seen: Counter[str] = Counter()
    with TableWriter(out, embedder.width, settings, resume=resume) as writer:
        if writer.inputs:
            show.notes.print(f"going on after {writer.inputs:,} sequences")
        read = islice(_counted(read_sequences(sequences, regions=regions, column=sequence), seen), writer.inputs, None)
        with show.bar() as bar:
            task = bar.add_task("embedding", total=None)
            for batch in _batches(read):
                rows, bad = (_chunk_rows if per_chunk else _rows)(embedder, batch)
                left_out += bad
                writer.add(rows, len(batch))
                bar.update(task, description=f"{writer.inputs:,} sequences, {writer.rows:,} rows")
        writer.finish()
    if left_out:
        names = ", ".join(left_out[:5]) + (" ..." if len(left_out) > 5 else "")
        show.notes.print(f"{len(left_out):,} sequences have no A, C, G or T and were left out: {names}")
    if twice := [name for name, count in seen.items() if count > 1]:
        names = ", ".join(twice[:5]) + (" ..." if len(twice) > 5 else "")
        show.notes.print(f"{len(twice):,} ids occur more than once, and labels by id cannot name them: {names}")
    show.notes.print(f"{writer.rows:,} rows of {embedder.width} numbers: {out}")


def _counted(read: Iterator[Sequence], seen: Counter[str]) -> Iterator[Sequence]:
    """Count ids on the way, also those of sequences that an earlier run has embedded."""
    for sequence in read:
        seen[sequence.id] += 1
        yield sequence


def _batches(read: Iterator[Sequence]) -> Iterator[list[Sequence]]:
    """Gather some hundred sequences, fewer where they are long."""
    batch: list[Sequence] = []
    bases = 0
    for sequence in read:
        batch.append(sequence)
        bases += len(sequence.codes)
        if len(batch) == _AT_ONCE or bases > 10_000_000:
            yield batch
            batch, bases = [], 0
    if batch:
        yield batch


def _rows(embedder: Embedder, batch: list[Sequence]) -> tuple[list[dict[str, Any]], list[str]]:
    vectors = embedder.embed([sequence.codes for sequence in batch])
    rows, bad = [], []
    for sequence, vector in zip(batch, vectors, strict=True):
        if vector is None:
            bad.append(sequence.id)
        else:
            rows.append(_place(sequence) | {"vector": vector})
    return rows, bad


def _chunk_rows(embedder: Embedder, batch: list[Sequence]) -> tuple[list[dict[str, Any]], list[str]]:
    rows: list[dict[str, Any]] = []
    bad = []
    for sequence in batch:
        found = list(embedder.chunks(sequence.codes))
        if not found:
            bad.append(sequence.id)
            continue
        import numpy as np

        starts = np.concatenate([vectors.position for vectors in found])
        values = np.concatenate([vectors.value for vectors in found])
        probs = np.concatenate([vectors.weight for vectors in found])
        ends = embedder.chunk_ends(starts, sequence.codes)
        for index, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            place = dict(zip(("start", "end"), sequence.place(start, end), strict=True))
            extra = {"index": index, "prob": float(probs[index]), "vector": values[index]}
            rows.append(_place(sequence) | place | extra)
    return rows, bad


def _place(sequence: Sequence) -> dict[str, Any]:
    return {
        "id": sequence.id,
        "contig": sequence.contig,
        "start": sequence.start,
        "end": sequence.end,
        "strand": sequence.strand,
    }
