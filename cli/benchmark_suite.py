"""`hnet-dna benchmark suite`: a collection of published datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hnet_dna.errors import UsageError

from . import options, show, tables

if TYPE_CHECKING:
    from rich.table import Table

    from hnet_dna.finetuning.benchmark import Benchmarks


def suite(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the collection, or of one dataset.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PATH", help="Folder for the results: a new one, or one to continue.")
    ],
    layout: Annotated[str, typer.Option(metavar="LAYOUT", help="genomic-benchmarks, nt or gue.")],
    model: options.Model = options.BUILT_IN,
    device: options.Device = None,
    reference: Annotated[
        str | None,
        typer.Option(metavar="GENOME", help=f"Genome of data sets that are given as intervals. {options.GENOME_HELP}"),
    ] = None,
    head: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HEAD",
            help="Classifier on vectors of the model: logistic, svm, mlp, conv or attention; repeat for more.",
            show_default="logistic and conv",
        ),
    ] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Also fine-tune, both from the model and from random weights.")
    ] = False,
    remove_copies: Annotated[
        bool, typer.Option("--remove-copies", help="Leave out training rows whose sequence is also in the test part.")
    ] = False,
    most: Annotated[
        int | None, typer.Option(metavar="N", help="Use at most this many training rows.", min=2, show_default="all")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of all that is random.", min=0)] = 0,
    aliases: options.Aliases = False,
    quiet: options.Quiet = False,
) -> None:
    """Test a model on each dataset of a collection, with its own train, validation and test parts, beside baselines.

    Writes table.tsv and table.md with 95 % intervals and published figures. If it was stopped, the same command
    continues.

    Example: hnet-dna benchmark suite GUE --layout gue --model run --out gue
    """
    from hnet_dna.finetuning.benchmark import benchmark as run_benchmark

    if aliases and reference is None:
        raise UsageError("--aliases belongs to --reference")
    read = show.open_genome(reference or "", quiet, aliases=True) if aliases else reference
    loaded = show.load_model(model, device)
    with show.Reports(quiet=quiet) as progress:
        benchmarks = run_benchmark(
            folder, out, layout=layout, model=loaded, reference=read, heads=head or ("logistic", "conv"), tune=tune,
            remove_copies=remove_copies, most=most, seed=seed, on_progress=progress,
        )  # fmt: skip
    tables.print_table(_table(benchmarks), keys=2)
    for dataset, said in benchmarks.conclusions.items():
        for line in said:
            show.results.print(f"{dataset}: {line}", soft_wrap=True)
    show.wrote([out / "table.tsv", out / "table.md"], quiet)


def _table(benchmarks: Benchmarks) -> Table:
    from rich.table import Table

    from hnet_dna.finetuning.benchmark import METRICS

    table = Table("dataset", "features")
    for name in METRICS:
        table.add_column(name, justify="right")
    for row in benchmarks.rows:
        cells = [f"{row[m]:.3f} [{row[f'{m}_low']:.3f}, {row[f'{m}_high']:.3f}]" for m in METRICS]
        table.add_row(row["dataset"], row["features"], *cells)
    return table
