"""`hnet-dna evaluate`: bits per base on held-out bases, beside simple models and by class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hnet_dna.errors import UsageError

from . import options, show
from .inputs import check_pipes


def evaluate(
    genome: options.Genome = None,
    model: options.Model = options.BUILT_IN,
    held_out: options.HeldOut = None,
    split: options.Split = None,
    regions: options.UsedRegions = None,
    annotation: Annotated[
        Path | None,
        typer.Option(
            metavar="ANNOTATION", help="GFF3, GTF, GenBank, or BED with a class in column 4: report on its classes too."
        ),
    ] = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Report bits per base of a model, beside uniform and Markov models counted on the rest of the genome.

    Without options a model of a run on this genome is judged on what the run held out, and any other on what pretrain
    holds out by default. Intervals are 95 % block-bootstrap intervals over blocks of 10,000 bases.

    Example: hnet-dna evaluate --genome yeast --model run --annotation genes.gff3
    """
    if genome is None:
        raise UsageError("evaluate needs --genome")
    check_pipes({"--genome": genome, "--annotation": annotation, "--split": split, "--regions": regions})
    from hnet_dna.annotation.reader import read_annotation
    from hnet_dna.data.split import split_genome, split_of_run
    from hnet_dna.errors import SequenceError
    from hnet_dna.evaluation.compare import compare
    from hnet_dna.genome.genome import known_bases
    from hnet_dna.sequence.interval import intersection

    opened = show.open_genome(genome, quiet)
    trained = split_of_run(opened, model)
    parts = split_genome(opened, tuple(held_out or ()), split or "", regions or "", trained)
    seen = sum(map(len, intersection(parts.held_out, trained.train))) if trained else 0
    classes = read_annotation(annotation, opened) if annotation else None
    if annotation and classes is not None:
        annotated = {interval.contig for intervals in classes.values() for interval in intervals}
        if bare := sorted({interval.contig for interval in parts.held_out} - annotated):
            named = ", ".join(bare[:5]) + (f" and {len(bare) - 5} more" if len(bare) > 5 else "")
            show.notes.print(f"{annotation.name} has no line on {named}: bases there are in none of its classes")
    loaded = show.load_model(model)
    show.say_if_windowed(loaded)
    show.notes.print(f"evaluated on: {sum(map(len, parts.held_out)):,} bases, {parts.rule}")
    if seen:
        show.notes.print(f"the model was trained on {seen:,} of them: these are not held-out figures")
    with show.Progress("evaluating", known_bases(opened, parts.held_out), "bases", quiet=quiet) as progress:
        comparison = compare(loaded, opened, parts, annotation=classes, on_progress=progress.part)
    if comparison is None:
        raise SequenceError(f"{opened.source}: nothing to evaluate on: no base is held out")
    if as_json:
        typer.echo(json.dumps({**comparison.to_dict(), "trained_on_bases": seen if trained else None}, indent=2))
        return
    show.results.print(show.comparison_table(comparison, str(model), seen))
    show.results.print(show.classes_table(comparison))
