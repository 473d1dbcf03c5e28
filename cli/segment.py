"""`hnet-dna segment`: write learned chunks as BED."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from hnet_dna.errors import UsageError

from . import show

if TYPE_CHECKING:
    from hnet_dna.data.fasta import Piece

_AMBIGUOUS = "other IUPAC codes read as N"
_URACILS = "U read as T"


def segment(
    fasta: Annotated[str, typer.Argument(help="FASTA file, plain, gzip or bgzip; '-' reads stdin.")],
    model: Annotated[Path | None, typer.Option(help="Run folder or model folder.")] = None,
    stage: Annotated[int, typer.Option(help="Chunking stage, 0 outermost.", min=0)] = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write here instead of to stdout.")] = None,
) -> None:
    """Write the chunks of every contig as BED6, tiling it except for runs of N.

    Name is stage and index; score is 1000 x the boundary probability at the chunk's first base. The first base of a
    contig, and after a run of N, begins a chunk by definition (score 1000).

    Example: hnet-dna segment sample.fa --model run > boundaries.bed
    """
    if model is None:
        raise UsageError(
            "segment needs --model: a folder made by 'hnet-dna pretrain --genome FASTA --out RUN' or 'hnet-dna demo'"
        )
    from hnet_dna.model.lm import HNetLM

    loaded = HNetLM.from_pretrained(model).eval()
    with _output(out) as stream:
        write_bed(fasta, loaded, stage, stream)


def write_bed(fasta: str | Path, model: object, stage: int, stream: TextIO) -> int:
    """Segment a FASTA file into an open text stream; return the number of chunks."""
    import torch

    from hnet_dna.data.fasta import read_fasta
    from hnet_dna.model.lm import HNetLM
    from hnet_dna.sequence.alphabet import alphabet
    from hnet_dna.tracks.bed import bed_lines
    from hnet_dna.tracks.chunks import segment as run_segment

    assert isinstance(model, HNetLM)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    count = 0
    seen = {_AMBIGUOUS: 0, _URACILS: 0}
    with show.bar() as bar:
        task = bar.add_task("segmenting", total=None)
        for chunks in run_segment(_counted(read_fasta(fasta), seen), model, stage=stage):
            stream.write(bed_lines(chunks, stage))
            count += len(chunks.start)
            bar.update(task, description=f"{chunks.contig}:{int(chunks.end[-1]):,}  {count:,} chunks")
    for what, letters in seen.items():
        if letters and not (what == _AMBIGUOUS and alphabet(model.config.alphabet).keeps_ambiguity):
            show.notes.print(f"{letters:,} {what}")
    if count == 0:
        show.notes.print(f"{fasta}: no chunks, because it holds nothing but N")
    return count


def _counted(pieces: Iterator[Piece], seen: dict[str, int]) -> Iterator[Piece]:
    """Pass pieces on, counting the letters that the model does not see as they are written."""
    from hnet_dna.sequence.codes import n_ambiguous

    for piece in pieces:
        seen[_AMBIGUOUS] += n_ambiguous(piece.codes)
        seen[_URACILS] += piece.uracils
        yield piece


@contextmanager
def _output(out: Path | None) -> Iterator[TextIO]:
    if out is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    from hnet_dna.files import write_beside

    with write_beside(out) as temporary, temporary.open("w") as stream:
        yield stream
