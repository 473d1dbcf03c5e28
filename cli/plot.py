"""`hnet-dna plot`: one picture of a locus, or of a track along all chromosomes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hnet_dna.errors import UsageError

from . import options, show
from .inputs import check_pipes
from .outputs import check_outputs


def plot(
    region: Annotated[
        str | None,
        typer.Argument(metavar="REGION", help="contig:start-end as in samtools: 1-based, both ends included."),
    ] = None,
    karyotype: Annotated[
        Path | None,
        typer.Option(
            metavar="BIGWIG", help="Draw this track along all chromosomes instead, such as one made with --summary."
        ),
    ] = None,
    genome: options.Genome = None,
    model: options.Model = options.BUILT_IN,
    device: options.Device = None,
    precision: options.InPrecision = "fp32",
    annotation: Annotated[
        Path | None, typer.Option(metavar="ANNOTATION", help="GFF3, GTF, GenBank or BED: genes and other features.")
    ] = None,
    mutations: Annotated[
        bool,
        typer.Option("--mutations", help="Also draw the effect of every substitution (regions of up to 2,000 bases)."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="PATH", help="Picture to write: .png, .svg or .pdf.")
    ] = None,
    aliases: options.Aliases = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw a locus (letters, genes, chunks by stage, boundary probability, bits per base), or a genome's chromosomes.

    The model reads forward, from up to 4,096 bases before the region. With --karyotype, draw a bigWig along all
    chromosomes of its genome, one row for each; no model is run.

    Example: hnet-dna plot chrXV:107,201-107,330 --genome yeast --model run --annotation genes.gff3 --out locus.svg

    Example: hnet-dna plot --karyotype boundaries.1000.bw --out karyotype.png
    """
    if karyotype is not None:
        if region is not None or genome is not None or annotation is not None or mutations:
            raise UsageError("--karyotype draws a track; leave out REGION, --genome, --annotation and --mutations")
        if out is None:
            raise UsageError("plot needs --out, the picture to write")
        written = check_outputs({"--out": out}, [karyotype], {"--out": ""})
        from hnet_dna.explanation.figures.karyotype import plot_karyotype

        drawn = plot_karyotype(karyotype, out)
        show.wrote(written, quiet, what=show.counted(len(drawn), "contig"))
        return
    if region is None:
        raise UsageError("give a REGION, or --karyotype with a bigWig")
    if genome is None or out is None:
        raise UsageError("plot needs --genome and --out, the picture to write")
    written = check_outputs({"--out": out}, [genome, annotation, model], {"--out": ""})
    check_pipes({"--genome": genome, "--annotation": annotation})
    from hnet_dna.explanation.figures.locus import plot_locus

    opened = show.open_genome(genome, quiet, aliases=aliases)
    loaded = show.load_model(model, device, precision)
    plot_locus(
        region,
        opened,
        loaded,
        out,
        annotation=annotation,
        mutations=mutations,
    )
    show.wrote(written, quiet)
