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
    minutes: Annotated[float, typer.Option(metavar="X", help="Minutes of training.", min=0.0)] = 4.0,
    quiet: options.Quiet = False,
) -> None:
    """Pretrain on the yeast genome, evaluate on a held-out chromosome, and write the chunks of that chromosome.

    Takes about a minute more than the training, on two CPU cores.

    Example: hnet-dna demo --minutes 1 --out quick-look
    """
    from hnet_dna.training.demo import demo as take_the_tour

    from .run_view import RunView

    with show.Reports(quiet=quiet) as reports, RunView(quiet) as view:
        made = take_the_tour(out, minutes=minutes, command=sys.argv, observer=view.observer, on_progress=reports)
    if made.run.comparison is not None:
        tables.print_table(tables.comparison_table(made.run.comparison, f"tiny ({made.run.model.config})"))
    show.wrote([made.run.path], quiet, what="the model, its card and its results")
    show.wrote([made.fasta], quiet, what=f"{made.contig}, which the model did not see in training")
    drawn = f"{show.counted(made.chunks, 'chunk')} of it; in IGV, open the sequence as genome, and then these"
    then = f"hnet-dna segment YOUR.fa --model {quote(str(made.run.path))} > boundaries.bed"
    show.wrote([made.bed], quiet, what=drawn, then=then)
