"""`hnet-dna demo`: the whole tour on the genome in the package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from . import options, show


def demo(
    out: options.NewFolder = Path("hnet-dna-demo"),
    minutes: Annotated[float, typer.Option(metavar="X", help="Train this long.", min=0.0)] = 4.0,
    quiet: options.Quiet = False,
) -> None:
    """Pretrain on the yeast genome, evaluate on a held-out chromosome, and write its chunks.

    Takes the training time and about a minute more on two CPU cores.

    Example: hnet-dna demo --minutes 1 --out quick-look
    """
    from hnet_dna.data.run_record import split_of_run
    from hnet_dna.files import refuse_filled, write_beside
    from hnet_dna.genome.bundled import bundled_genome
    from hnet_dna.genome.genome import known_bases
    from hnet_dna.genome.open import open_genome
    from hnet_dna.sequence.codes import to_text
    from hnet_dna.tracks.job import Segmentation
    from hnet_dna.training.run import pretrain

    from .run_view import RunView

    refuse_filled(out)
    with RunView(quiet) as view:
        run = pretrain(bundled_genome().fasta, out / "run", minutes=minutes, command=sys.argv, observer=view.observer)
    assert run.comparison is not None
    show.print_table(show.comparison_table(run.comparison, f"tiny ({run.model.config})"))

    genome, model = open_genome(bundled_genome().fasta), run.model
    split = split_of_run(genome, run.path)
    assert split is not None
    (held_out,) = split.held_out
    fasta, bed = out / f"{held_out.contig}.fa", out / f"{held_out.contig}.chunks.bed"
    sequence = to_text(genome.codes(held_out))
    with write_beside(fasta) as temporary:
        lines = "\n".join(sequence[start : start + 80] for start in range(0, len(sequence), 80))
        temporary.write_text(f">{held_out.contig}\n{lines}\n")
    total = known_bases(genome, [held_out])
    with (
        write_beside(bed) as temporary,
        temporary.open("w") as stream,
        show.Progress("segmenting", total, "bases", quiet=quiet) as progress,
    ):
        count = Segmentation(fasta).write(model, stream, on_bases=progress.add).chunks
    show.results.print(
        f"\n{count:,} chunks of {held_out.contig}: {bed}\n"
        f"  its sequence: {fasta}\n"
        f"  genes to show beside them: {bundled_genome().annotation}\n"
        f"  the model: {run.path} (config, weights, metrics.jsonl, results.json)\n"
        "Next:\n"
        f"  load {fasta} as genome in IGV, then {bed}\n"
        f"  hnet-dna segment YOUR.fa --model {run.path} > boundaries.bed\n"
        "  hnet-dna pretrain --genome YOUR.fa --out run --minutes 30",
        soft_wrap=True,
    )
