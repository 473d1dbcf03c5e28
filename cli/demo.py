"""`hnet-dna demo`: the whole tour on the genome in the package."""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from . import options, show, tables


def demo(
    out: options.NewFolder = Path("hnet-dna-demo"),
    minutes: Annotated[float, typer.Option(metavar="X", help="Train this long.", min=0.0)] = 4.0,
    quiet: options.Quiet = False,
) -> None:
    """Pretrain on the yeast genome, evaluate on a held-out chromosome, and write its chunks.

    Takes the training time and about a minute more on two CPU cores.

    Example: hnet-dna demo --minutes 1 --out quick-look
    """
    from hnet_dna.training.demo import demo as take_the_tour

    from .run_view import RunView

    with show.Reports(quiet=quiet) as reports, RunView(quiet) as view:
        made = take_the_tour(out, minutes=minutes, command=sys.argv, observer=view.observer, on_progress=reports)
    if made.run.comparison is not None:
        tables.print_table(tables.comparison_table(made.run.comparison, f"tiny ({made.run.model.config})"))
    show.results.print(
        f"\n{made.chunks:,} chunks of {made.contig}: {made.bed}\n"
        f"  its sequence: {made.fasta}\n"
        f"  genes to show beside them: {made.annotation}\n"
        f"  the model: {made.run.path} (config, weights, metrics.jsonl, results.json)\n"
        "Next:\n"
        f"  load {made.fasta} as genome in IGV, then {made.bed}\n"
        f"  hnet-dna segment YOUR.fa --model {quote(str(made.run.path))} > boundaries.bed\n"
        "  hnet-dna pretrain --genome YOUR.fa --out run --minutes 30",
        soft_wrap=True,
    )
