"""Embeds many sequences into a table on disk."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hnet_dna.embedding.embedder import Embedder
from hnet_dna.embedding.inputs import Sequence, SequencesLike, batches, count_sequences, read_regions_of, read_sequences
from hnet_dna.embedding.models import open_model
from hnet_dna.embedding.table import TableWriter, check_kind
from hnet_dna.errors import UsageError
from hnet_dna.genome.open import GenomeLike, open_with_progress
from hnet_dna.model.lm import HNetLM
from hnet_dna.plural import counted
from hnet_dna.pretrained.builtin import DEFAULT_MODEL
from hnet_dna.progress import OnProgress, Work, ignore, is_small
from hnet_dna.sequence.codes import checksum_of
from hnet_dna.text import called, count_lines, watched

_SEQUENCES_AT_ONCE, _BASES_AT_ONCE = 512, 10_000_000  # of one part of the table
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbeddedTable:
    """A table of vectors that was written.

    Attributes:
        path: the file.
        rows: vectors in it, those of an earlier run that this one has gone on with included.
        width: length of a vector.
        left_out: ids of sequences of this run that have no A, C, G or T, and so no row.
        repeated: ids that more than one sequence has, in their order.
    """

    path: Path
    rows: int
    width: int
    left_out: tuple[str, ...]
    repeated: tuple[str, ...]


def embed_to_table(
    sequences: str | Path | SequencesLike | GenomeLike,
    out: str | Path,
    *,
    model: str | Path | HNetLM = DEFAULT_MODEL,
    regions: str | Path | None = None,
    sequence: str | None = None,
    level: str = "chunk",
    pooling: str = "mean",
    strand: str = "both",
    per_chunk: bool = False,
    resume: bool = False,
    on_progress: OnProgress = ignore,
) -> EmbeddedTable:
    """Write one vector for each sequence, or for each of its chunks, with the ids in their order.

    Sequences without any A, C, G or T are left out. Rows are written as they come, so that memory does not grow with
    the table.

    Args:
        sequences: a FASTA, CSV or TSV file, `-` for stdin, or sequences in memory as `embed` takes them; with
            `regions`, a genome, as `open_genome` takes it.
        out: the table: X.parquet, X.npy (with X.ids.txt) or X.h5ad; see `hnet_dna.embedding.table`.
        model: anything that `load_model` takes.
        regions: BED file of regions of the genome. One on strand `-` is read as its reverse complement.
        sequence: column of sequences in a CSV or TSV file, if it has none of the usual names.
        level, pooling, strand: as for `embed`. Chunks are not pooled.
        per_chunk: whether to write one row per chunk, as the forward reading has them.
        resume: whether to continue a table that was interrupted.
        on_progress: called with a `Progress` as the work goes on.

    Raises:
        UsageError: settings that contradict each other, or differ from those of the table to go on with.
        SequenceError: a file that cannot be read as what it should be, or nothing that could be embedded.

    Example:
        >>> import hnet_dna
        >>> table = hnet_dna.embed_to_table({"a": "ACGTTGCA", "b": "GGGCCC", "n": "NNN"}, "vectors.parquet")
        >>> table.rows, table.left_out
        (2, ('n',))
    """
    out = Path(out)
    if per_chunk and ("+" in level or not level.startswith("chunk")):
        raise UsageError(f"`per_chunk` needs one chunk level, got `level` {level}")
    if per_chunk and strand == "-":
        raise UsageError("`per_chunk` gives the chunks of the forward reading; leave out `strand` -")
    check_kind(out)
    genome = open_with_progress(sequences, on_progress) if regions is not None else None
    if genome is not None and regions is not None:
        total = count_lines(regions, "a BED file") if is_small(regions) else None
    else:
        total = count_sequences(sequences, sequence)
    loaded, name = open_model(model)
    embedder = Embedder(loaded, level, pooling, "+" if per_chunk else strand)
    settings = {
        "model": name,
        "model_digest": loaded.digest(),
        "level": level,
        "pooling": None if per_chunk else pooling,
        "strand": embedder.strand,
        "per_chunk": per_chunk,
    }
    left_out: list[str] = []
    times: Counter[str] = Counter()
    source = sequences if isinstance(sequences, str | Path) else ""
    with TableWriter(out, embedder.width, settings, resume=resume) as writer:
        if writer.inputs:
            _log.info("continuing after %s", counted(writer.inputs, "sequence"))
        if genome is not None and regions is not None:
            read = read_regions_of(genome, regions)
        else:
            read = read_sequences(sequences, sequence)
        about = called(source) if total is None else ""
        with (
            Work(on_progress, "embedding", total, "sequences", done=writer.inputs, about=about) as work,
            watched(source, work.read),
        ):
            for batch in batches(writer.unread(_counted(read, times)), _SEQUENCES_AT_ONCE, _BASES_AT_ONCE):
                rows, without_bases = (_chunk_rows if per_chunk else _rows)(embedder, batch)
                left_out += without_bases
                writer.add(rows, len(batch))
                work.add(len(batch))
        writer.finish()
    repeated = [name for name, count in times.items() if count > 1]
    if left_out:
        without = counted(len(left_out), "sequence")
        _log.info("%s without any A, C, G or T left out: %s", without, first_few(left_out))
    if repeated:
        _log.info(
            "%s given more than once, by which no label can be matched: %s",
            counted(len(repeated), "id"),
            first_few(repeated),
        )
    return EmbeddedTable(out, writer.rows, embedder.width, tuple(left_out), tuple(repeated))


def first_few(names: list[str]) -> str:
    """Return the first five names, for a note."""
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")


def _counted(sequences: Iterator[Sequence], times: Counter[str]) -> Iterator[Sequence]:
    """Count ids on the way, also those of sequences that an earlier run has embedded."""
    for sequence in sequences:
        times[sequence.id] += 1
        yield sequence


def _rows(embedder: Embedder, batch: list[Sequence]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return one row for each sequence, and the ids of those without any A, C, G or T."""
    rows, without_bases = [], []
    for sequence, vector in zip(batch, embedder.embed([sequence.codes for sequence in batch]), strict=True):
        if vector is None:
            without_bases.append(sequence.id)
        else:
            rows.append(_columns(sequence) | {"vector": vector})
    return rows, without_bases


def _chunk_rows(embedder: Embedder, batch: list[Sequence]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return one row for each chunk, and the ids of sequences without any A, C, G or T."""
    rows: list[dict[str, Any]] = []
    without_bases = []
    for sequence in batch:
        pieces = list(embedder.chunks(sequence.codes))
        if not pieces:
            without_bases.append(sequence.id)
            continue
        starts = np.concatenate([vectors.position for vectors in pieces])
        values = np.concatenate([vectors.value for vectors in pieces])
        probs = np.concatenate([vectors.weight for vectors in pieces])
        ends = embedder.chunk_ends(starts, sequence.codes)
        for index, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            place = dict(zip(("start", "end"), sequence.place(start, end), strict=True))
            checksum = {"checksum": checksum_of(sequence.codes[start:end])}
            chunk = {"index": index, "prob": float(probs[index]), "vector": values[index]}
            rows.append(_columns(sequence) | place | checksum | chunk)
    return rows, without_bases


def _columns(sequence: Sequence) -> dict[str, Any]:
    return {
        "id": sequence.id,
        "contig": sequence.contig,
        "start": sequence.start,
        "end": sequence.end,
        "contig_length": sequence.contig_length,
        "strand": sequence.strand,
        "checksum": checksum_of(sequence.codes),
    }
