"""`hnet-dna probe` and `hnet-dna predict`: heads on frozen vectors."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from hnet_dna.errors import UsageError

from . import options, show, tables
from .inputs import check_pipes
from .outputs import BINARY, check_outputs, output, shares_terminal


def probe(
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="LABELS",
            help="CSV or TSV with a header, '-' for stdin; or a BED, which labels rows of --embeddings by position.",
        ),
    ],
    out: options.NewFolder,
    embeddings: Annotated[
        Path | None, typer.Option(metavar="PARQUET", help="Table made by 'hnet-dna embed', instead of --model.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help=f"Embed the sequences in LABELS with this model. {options.MODEL_HELP}",
            show_default=f"{options.BUILT_IN}, unless --embeddings is given",
        ),
    ] = None,
    device: options.Device = None,
    precision: options.InPrecision = "fp32",
    genome: Annotated[
        str | None,
        typer.Option(
            metavar="GENOME",
            help="With --embeddings: the genome of their regions, for baselines and to check a BED against it.",
        ),
    ] = None,
    task: options.Task = "classification",
    head: Annotated[
        str | None,
        typer.Option(
            metavar="HEAD",
            help="Classifier. On one vector per sequence: logistic (default), ridge (default of regression), svm, mlp. "
            "On all vectors of a sequence, in their order: conv, attention.",
        ),
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL", help=options.LEVEL_HELP, show_default="chunk, or all that conv and attention read"
        ),
    ] = None,
    pooling: Annotated[
        str | None, typer.Option("--pool", metavar="POOLING", help=options.POOLING_HELP, show_default="mean")
    ] = None,
    strand: options.Strand = "both",
    folds: Annotated[int, typer.Option(metavar="N", help="Number of folds of the cross-validation.", min=2)] = 5,
    test: options.TestFile = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="SPLIT",
            help="Column with train, valid or test; with --embeddings, also a BED with these in column 4.",
            show_default="a column called split",
        ),
    ] = None,
    label: options.LabelColumn = None,
    id_column: options.IdColumn = None,
    sequence: options.SequenceColumn = None,
    group: options.GroupColumn = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the folds.", min=0)] = 0,
    plot: Annotated[
        bool, typer.Option("--plot", help="Draw ROC and precision-recall curves, or a scatter plot (needs matplotlib).")
    ] = False,
    aliases: options.Aliases = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a head on frozen vectors and judge it by nested cross-validation, beside baselines on the same folds.

    Folds keep groups together: those of --group or of a column such as contig, or else families of
    similar sequences. The folder gets the fitted head, a table of predictions with their folds, and the report.

    Example: hnet-dna probe labels.csv --model run --out probe
    """
    from hnet_dna.probing.run import probe as run_probe

    check_pipes({"LABELS": labels, "--embeddings": embeddings, "--genome": genome, "--test": test})
    if aliases and genome is None:
        raise UsageError("--aliases belongs to --genome")
    read = show.open_genome(genome or "", quiet, aliases=True) if aliases else genome
    if model is None and embeddings is None:
        model = options.BUILT_IN
    loaded = None if model is None else show.load_model(model, device, precision)
    with show.Reports(quiet=quiet) as progress:
        result = run_probe(
            labels, out, embeddings=embeddings, model=loaded, genome=read, task=task, head=head, level=level,
            pooling=pooling, strand=strand, folds=folds, test=test, split=split, label=label, id_column=id_column,
            sequence=sequence, group=group, seed=seed, plot=plot, on_progress=progress,
        )  # fmt: skip
    tables.print_table(tables.metrics_table(result.title, result.results))
    for line in result.conclusions:
        show.results.print(line, soft_wrap=True)
    # predict has one vector for each sequence, none for a chunk
    then = None if result.about.pooling is None else f"hnet-dna predict NEW.fa --head {quote(str(out))}"
    show.wrote([out], quiet, what="the head, its report, and predictions of the rows held out", then=then)


def predict(
    sequences: Annotated[
        str, typer.Argument(metavar="SEQUENCES", help="FASTA, or CSV or TSV with a column of sequences; '-' for stdin.")
    ],
    head: Annotated[Path, typer.Option(metavar="PATH", help="Folder made by 'hnet-dna probe' or 'finetune'.")],
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL", help="The model that the head was trained on. Default: the place where probe found it."
        ),
    ] = None,
    device: options.Device = None,
    precision: options.InPrecision = "fp32",
    sequence: options.SequenceColumn = None,
    bigwig: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Write predictions of a head for single bases as X.bw; with several labels, X.LABEL.bw for each.",
        ),
    ] = None,
    out: options.OutFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Apply a head to new sequences: a table of ids and predictions, with class scores if the head has them.

    A model that was fine-tuned on labels of single bases gives BED: the stretches where a label is more likely than
    not, with the mean probability times 1,000 as score.

    Example: hnet-dna predict new.fa --head probe
    """
    from hnet_dna.probing.prediction_file import bigwigs_of, predict_to_file

    read: list[str | Path | None] = [sequences, head, model]
    check_outputs({"--out": out}, read)
    written = check_outputs({"--out": out, "--bigwig": bigwigs_of(head, bigwig)}, read, BINARY)
    with show.Reports(quiet=quiet, on_data=shares_terminal(out)) as progress, output(out) as stream:
        predict_to_file(
            sequences, head, stream, bigwig=bigwig, model=model, sequence=sequence, device=device,
            precision=precision,  # type: ignore[arg-type]
            on_progress=progress,
        )  # fmt: skip
    show.wrote(written, quiet)
