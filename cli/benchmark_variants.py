"""`hnet-dna benchmark variants`: likelihoods of variants beside measured effects."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from hnet_dna.errors import UsageError
from hnet_dna.sequence.strand import check_strand

from . import options, show, tables
from .inputs import check_pipes
from .outputs import check_outputs

if TYPE_CHECKING:
    from hnet_dna.probing.effect_benchmark import EffectBenchmark


def variants(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE", help="CSV, TSV, Parquet or VCF with measured effects of variants or sequences."
        ),
    ],
    genome: options.Genome = None,
    model: options.Model = options.BUILT_IN,
    device: options.Device = None,
    precision: options.InPrecision = "fp32",
    value: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column, or field of INFO, with the measured effects.")
    ] = None,
    window: options.Window = 512,
    context: Annotated[int, typer.Option(metavar="N", help="Read at least N bases before each variant.", min=0)] = 4096,
    strand: options.Strand = "both",
    annotation: Annotated[
        Path | None,
        typer.Option(
            metavar="ANNOTATION",
            help="GFF3, GTF or GenBank with genes, whose codon usage becomes one more predictor.",
        ),
    ] = None,
    conservation: Annotated[
        Path | None, typer.Option(metavar="BIGWIG", help="Conservation of each base, as one more predictor.")
    ] = None,
    rows: Annotated[int | None, typer.Option(metavar="N", help="Use N rows, drawn at random.", min=3)] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="PATH", help="Write each row with the scores of all predictors, as TSV."),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            metavar="PARQUET", help="Write the model's scores in TraitGym's format for features, one row per variant."
        ),
    ] = None,
    jobs: options.Jobs = 1,
    as_json: options.AsJson = False,
    aliases: options.Aliases = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare log-likelihood ratios of variants with measured effects, beside predictors that need no model.

    TABLE has changes of residues (deep mutational scans), changes of bases, or whole sequences that replace a place of
    the genome; or it is a VCF whose INFO has the labels. Nothing is trained. Reported are Spearman's correlation, and
    AUROC and AUPRC if there are only two labels, with 95 % bootstrap intervals over positions.

    Example: hnet-dna benchmark variants scan.tsv --genome yeast --model run
    """
    if genome is None:
        raise UsageError("benchmark variants needs --genome")
    written = check_outputs(
        {"--out": out, "--features": features},
        [table, genome, annotation, conservation, model],
        {"--features": "Parquet"},
    )
    check_pipes({"TABLE": table, "--genome": genome, "--annotation": annotation})
    from hnet_dna.probing.effect_benchmark import benchmark_variants

    opened, loaded = show.open_genome(genome, quiet, aliases=aliases), show.load_model(model, device, precision)
    with show.Reports(quiet=quiet) as reports:
        benchmark = benchmark_variants(
            table,
            opened,
            loaded,
            value=value,
            window=window,
            context=context,
            strand=check_strand(strand),
            annotation=annotation,
            conservation=conservation,
            rows=rows,
            jobs=jobs,
            on_progress=reports,
        )
    if features is not None:
        benchmark.write_features(features)
    if out is not None:
        benchmark.write_table(out)
    if as_json:
        typer.echo(json.dumps([asdict(result) for result in benchmark.results], indent=2).replace("NaN", "null"))
    else:
        tables.print_table(_shown(benchmark, str(model)), keys=2)
    show.wrote(written, quiet)


def _shown(benchmark: EffectBenchmark, model: str) -> Table:
    labelled = any(result.auroc is not None for result in benchmark.results)
    table = Table(title=f"{show.counted(len(benchmark.effects), 'measured effect')}; model: {model}")
    table.add_column("group")
    table.add_column("predictor")
    for column in ("rows", "positions", "Spearman [95 %]", *(("AUROC [95 %]", "AUPRC [95 %]") if labelled else ())):
        table.add_column(column, justify="right")
    for result in sorted(benchmark.results, key=lambda one: one.group == "all"):
        metrics = [result.spearman, *((result.auroc, result.auprc) if labelled else ())]
        cells = map(tables.metric_cell, metrics)
        group = "mean |rho|" if result.group == "all" else result.group
        table.add_row(group, result.predictor, f"{result.rows:,}", f"{result.positions:,}", *cells)
    return table
