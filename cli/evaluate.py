"""`hnet-dna evaluate`: bits per base on held-out bases, beside simple models and by class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hnet_dna.errors import UsageError

from . import options, show


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
) -> None:
    """Report bits per base of a model, beside uniform and Markov models counted on the rest of the genome.

    Without options the split is the one that pretrain takes by default, so that a model trained on this genome is
    judged on what it has not seen. Intervals are 95 % block-bootstrap intervals over blocks of 10,000 bases.

    Example: hnet-dna evaluate --genome yeast --model run --annotation genes.gff3
    """
    if genome is None:
        raise UsageError("evaluate needs --genome")
    from hnet_dna.data.annotation import read_annotation
    from hnet_dna.data.fetch import open_genome
    from hnet_dna.data.split import split_genome
    from hnet_dna.errors import SequenceError
    from hnet_dna.evaluate.compare import compare

    opened = open_genome(genome)
    parts = split_genome(opened, tuple(held_out or ()), split or "", regions or "")
    classes = read_annotation(annotation, opened) if annotation else None
    loaded = show.load_model(model)
    show.say_if_windowed(loaded)
    show.notes.print(f"evaluated on: {sum(map(len, parts.held_out)):,} bases, {parts.rule}")
    with show.bar() as bar:
        task = bar.add_task("reading", total=1.0)
        comparison = compare(
            loaded,
            opened,
            parts,
            annotation=classes,
            on_progress=lambda what, share: bar.update(task, completed=share, description=what),
        )
    if comparison is None:
        raise SequenceError(f"{opened.source}: nothing to evaluate on: no base is held out")
    if as_json:
        typer.echo(json.dumps(comparison.to_dict(), indent=2))
        return
    show.results.print(show.comparison_table(comparison, str(model)))
    show.results.print(show.classes_table(comparison))
