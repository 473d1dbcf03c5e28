"""`hnet-dna evaluate`: bits per base on held-out bases, beside simple models and by class."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import join
from typing import Annotated

import typer

from hnet_dna.errors import UsageError

from . import options, show, tables
from .inputs import check_pipes


def evaluate(
    genome: options.Genome = None,
    model: options.Model = options.BUILT_IN,
    device: options.Device = None,
    precision: options.InPrecision = "fp32",
    streams: options.Streams = None,
    held_out: options.HeldOut = None,
    split: options.Split = None,
    regions: options.UsedRegions = None,
    annotation: Annotated[
        Path | None,
        typer.Option(
            metavar="ANNOTATION",
            help="Also report each class of this annotation: GFF3, GTF, GenBank, or BED with classes in column 4.",
        ),
    ] = None,
    as_json: options.AsJson = False,
    aliases: options.Aliases = False,
    quiet: options.Quiet = False,
) -> None:
    """Report held-out bits per base of a model, and of uniform and Markov models counted on the rest of the genome.

    By default, a model from a run on this genome is evaluated on what that run held out, and any other model on what
    pretrain holds out by default. Intervals are 95 % block-bootstrap intervals over blocks of 10,000 bases.

    Example: hnet-dna evaluate --genome yeast --model run --annotation genes.gff3
    """
    if genome is None:
        raise UsageError("evaluate needs --genome")
    check_pipes({"--genome": genome, "--annotation": annotation, "--split": split, "--regions": regions})
    from hnet_dna.evaluation.run import evaluate as run

    opened = show.open_genome(genome, quiet, aliases=aliases)
    loaded = show.load_model(model, device, precision)
    with show.Reports(quiet=quiet) as reports:
        comparison = run(
            opened,
            loaded,
            held_out=held_out or (),
            split=split or "",
            regions=regions or "",
            annotation=annotation,
            streams=streams,
            on_start=lambda bases, rule: show.notes.print(f"evaluated on: {show.counted(bases, 'base')}, {rule}"),
            on_progress=reports,
        )
    if comparison.trained_on:
        show.notes.print(f"the model was trained on {comparison.trained_on:,} of them: these are not held-out figures")
    if as_json:
        typer.echo(json.dumps({**comparison.to_dict(), "trained_on_bases": comparison.trained_on}, indent=2))
        return
    tables.print_table(tables.comparison_table(comparison, str(model), comparison.trained_on or 0))
    tables.print_table(tables.classes_table(comparison))
    if annotation is not None and not opened.streamed:
        given = ["--genome", genome, "--model", str(model), "--annotation", str(annotation)]
        show.wrote([], quiet, then=join(["hnet-dna", "explain", *given, "--out", show.unused("report")]))
