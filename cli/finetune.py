"""`hnet-dna finetune`: a model trained on labelled sequences."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from . import options, show, tables
from .inputs import check_pipes


def finetune(
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="LABELS",
            help="CSV or TSV with a header and sequences, '-' for stdin; with --genome, BED or bigWig labels of bases.",
        ),
    ],
    out: options.NewFolder,
    model: options.Model = options.BUILT_IN,
    device: options.Device = None,
    task: options.Task = "classification",
    head: Annotated[
        str, typer.Option(metavar="HEAD", help="Network from vectors to labels: conv (convolutions) or attention.")
    ] = "conv",
    level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help=options.LEVEL_HELP, show_default="encoder + decoder + letters")
    ] = None,
    strand: options.Strand = "both",
    aligned: Annotated[
        bool | None,
        typer.Option(
            "--aligned/--not-aligned",
            help="Whether position and strand mean the same in all sequences, as in promoters cut at the start of "
            "transcription.",
            show_default="chosen inside the training part",
        ),
    ] = None,
    lora: Annotated[
        int,
        typer.Option(
            metavar="RANK",
            help="LoRA: train low-rank changes of this rank instead of all weights; 0 trains all weights.",
            min=0,
        ),
    ] = 0,
    last: Annotated[
        int, typer.Option(metavar="N", help="Train only the last N layers and the head; 0 trains all layers.", min=0)
    ] = 0,
    epochs: Annotated[int, typer.Option(metavar="N", help="Train for at most this many epochs.", min=1)] = 8,
    patience: Annotated[
        int, typer.Option(metavar="N", help="Stop after N epochs without a lower validation loss.", min=1)
    ] = 3,
    batch: Annotated[int, typer.Option(metavar="N", help="Sequences per training step.", min=1)] = 32,
    learning_rate: Annotated[
        float,
        typer.Option(
            "--lr", metavar="RATE", help="Learning rate of the head; that of the model's last layer is half of it."
        ),
    ] = 2e-3,
    layer_decay: Annotated[
        float, typer.Option(metavar="FACTOR", help="Factor on the learning rate with each layer further from the head.")
    ] = 0.9,
    class_weights: Annotated[
        bool, typer.Option("--class-weights", help="Let all classes count the same in the loss, whatever their shares.")
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare/--no-compare", help="Also train from random weights, and fit baselines.")
    ] = True,
    folds: Annotated[int, typer.Option(metavar="N", help="Number of folds of the cross-validation.", min=2)] = 5,
    test: options.TestFile = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="SPLIT",
            help="Column with train, valid or test; with --genome, BED with these in column 4, or a share to hold out.",
            show_default="a column called split",
        ),
    ] = None,
    label: options.LabelColumn = None,
    id_column: options.IdColumn = None,
    sequence: options.SequenceColumn = None,
    group: options.GroupColumn = None,
    genome: Annotated[
        str | None,
        typer.Option(metavar="GENOME", help=f"Genome whose bases LABELS labels. {options.GENOME_HELP}"),
    ] = None,
    window: Annotated[int, typer.Option(metavar="N", help="With --genome: bases read at once.", min=16)] = 512,
    regions: Annotated[
        Path | None, typer.Option(metavar="BED", help="With --genome: use only these regions of it.")
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Seed of folds, order of rows and initial weights of the head.", min=0)
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a fine-tuning that was stopped; needs the same options.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a model together with a head on labelled sequences, and judge it as probe does.

    The folder gets the fine-tuned model, which all commands take as --model, its head for predict, predictions of the
    held-out rows, and the report.

    Example: hnet-dna finetune labels.csv --model run --out tuned
    """
    from hnet_dna.finetuning.run import finetune as run_finetune

    check_pipes({"LABELS": labels, "--test": test, "--genome": genome})
    loaded = show.load_model(model, device)
    with show.Reports(quiet=quiet) as progress:
        result = run_finetune(
            labels, out, model=loaded, task=task, head=head, level=level, strand=strand, aligned=aligned, lora=lora,
            last=last, epochs=epochs, patience=patience, batch=batch, learning_rate=learning_rate,
            layer_decay=layer_decay, class_weights=class_weights, compare=compare, folds=folds, test=test, split=split,
            label=label, id_column=id_column, sequence=sequence, group=group, genome=genome, window=window,
            regions=regions, seed=seed, resume=resume,
            on_progress=progress,
        )  # fmt: skip
    tables.print_table(tables.metrics_table(result.title, result.results))
    for line in result.conclusions:
        show.results.print(line, soft_wrap=True)
    then = f"hnet-dna predict NEW.fa --head {quote(str(out))}"
    show.wrote([out], quiet, what="the tuned model, its head, and the report", then=then)
