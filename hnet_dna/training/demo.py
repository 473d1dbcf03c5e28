"""The whole tour on the genome in the package: a model is trained, judged, and a chromosome cut into its chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hnet_dna.data.run_record import split_of_run
from hnet_dna.files import refuse_filled, write_beside
from hnet_dna.genome import bundled
from hnet_dna.genome.fasta import write_fasta
from hnet_dna.genome.open import open_genome
from hnet_dna.progress import OnProgress, ignore
from hnet_dna.tracks.outputs import TrackFiles
from hnet_dna.tracks.to_files import segment_to_files
from hnet_dna.training.run import Run, RunObserver, pretrain


@dataclass(frozen=True)
class Demo:
    """What the tour has made.

    Attributes:
        run: the run, in a folder of its own.
        contig: the chromosome that the model did not see.
        fasta: its sequence.
        bed: its chunks.
        chunks: how many.
        annotation: the genes of the genome, as GFF3.
    """

    run: Run
    contig: str
    fasta: Path
    bed: Path
    chunks: int
    annotation: Path


def demo(
    out: str | Path,
    *,
    minutes: float = 4.0,
    command: Sequence[str] = (),
    observer: RunObserver | None = None,
    on_progress: OnProgress = ignore,
) -> Demo:
    """Train a model on the yeast genome in the package, evaluate it, and write the chunks of a held-out chromosome.

    Args:
        out: the folder to create.
        minutes: how long to train; evaluation and chunks take about a minute more on two CPU cores.
        command: kept in the run's record.
        observer: follows the run.
        on_progress: called with a `Progress` while chunks are found.

    Raises:
        UsageError: the folder is not empty.
    """
    out, given = Path(out), bundled.bundled_genome()
    refuse_filled(out)
    run = pretrain(given.fasta, out / "run", minutes=minutes, command=command, observer=observer)
    genome = open_genome(given.fasta)
    split = split_of_run(genome, run.path)
    assert split is not None
    (held_out,) = split.held_out
    fasta, bed = out / f"{held_out.contig}.fa", out / f"{held_out.contig}.chunks.bed"
    with write_beside(fasta) as temporary, temporary.open("w") as stream:
        write_fasta([(held_out.contig, genome.codes(held_out))], stream, line=80)
    chunks = segment_to_files(fasta, run.model, TrackFiles(bed), on_progress=on_progress)
    return Demo(run, held_out.contig, fasta, bed, chunks, given.annotation)
