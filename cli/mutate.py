"""`hnet-dna mutate`: every mutation of a region."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hnet_dna.errors import UsageError
from hnet_dna.sequence.strand import check_strand

from . import options, show
from .inputs import check_pipes
from .outputs import check_outputs


def mutate(
    region: Annotated[
        list[str] | None,
        typer.Argument(metavar="REGION", help="contig:start-end as in samtools: 1-based, both ends included."),
    ] = None,
    genome: options.Genome = None,
    model: options.Model = options.BUILT_IN,
    device: options.Device = None,
    precision: options.InPrecision = "fp32",
    bed: Annotated[Path | None, typer.Option(metavar="BED", help="Regions from a BED file instead.")] = None,
    deletions: Annotated[bool, typer.Option("--deletions", help="Score the deletion of each base, too.")] = False,
    window: options.Window = 512,
    context: Annotated[
        int, typer.Option(metavar="N", help="Read at least N bases before each mutation.", min=0)
    ] = 4096,
    strand: options.Strand = "both",
    boundaries: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Compare the chunk boundaries in N bases after a mutation. Default: 64 or less.", min=0
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="PATH", help="Table to write: Parquet if the name ends in .parquet, else TSV."
        ),
    ] = None,
    bigwig: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Write the mean effect of changing each base as bigWig.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="PATH", help="Draw the region: .png, .svg or .pdf.")] = None,
    annotation: Annotated[
        Path | None,
        typer.Option(metavar="ANNOTATION", help="With --plot: GFF3, GTF, GenBank or BED to draw below the mutations."),
    ] = None,
    dependencies: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Write how changing each base of a region changes the prediction of each other base, as .npz or as a "
            "picture; repeat for both.",
        ),
    ] = None,
    jobs: options.Jobs = 1,
    aliases: options.Aliases = False,
    quiet: options.Quiet = False,
) -> None:
    """Score every single-base mutation of regions: log-likelihood ratio, and change of chunk boundaries.

    The ratio is that of 'score --vcf --context': log2 p of the mutated sequence minus log2 p of the reference, as the
    mean of both strands. Overlapping regions are joined.

    Example: hnet-dna mutate chrXV:110,201-110,320 --genome yeast --out mutations.parquet --plot map.svg
    """
    if genome is None:
        raise UsageError("mutate needs --genome")
    if out is None and bigwig is None and plot is None and not dependencies:
        raise UsageError("say what to write: --out, --bigwig, --plot or --dependencies")
    if bool(region) == (bed is not None):
        raise UsageError("name regions as REGION... or by --bed")
    if annotation is not None and plot is None:
        raise UsageError("--annotation belongs to --plot")
    table = "Parquet" if out is not None and out.suffix.lower() == ".parquet" else "text"
    written = check_outputs(
        {"--out": out, "--bigwig": bigwig, "--plot": plot, "--dependencies": dependencies},
        [genome, bed, annotation, model],
        {"--out": table, "--bigwig": "bigWig", "--plot": "", "--dependencies": ""},
    )
    check_pipes({"--genome": genome, "--bed": bed, "--annotation": annotation})
    from hnet_dna.explanation.mutated import mutate_to_files

    opened = show.open_genome(genome, quiet, aliases=aliases)
    loaded = show.load_model(model, device, precision)
    with show.Reports(quiet=quiet) as reports:
        count = mutate_to_files(
            bed or region or (), opened, loaded, out=out, bigwig=bigwig, plot=plot, annotation=annotation,
            dependencies=dependencies or (), deletions=deletions, window=window, context=context,
            strand=check_strand(strand), boundaries=boundaries, jobs=jobs, on_progress=reports,
        )  # fmt: skip
    show.wrote(written, quiet, what=show.counted(count, "mutation") if count else "")
