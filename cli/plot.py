"""`hnet-dna plot`: one picture of a locus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hnet_dna.errors import SequenceError, UsageError

from . import options, show
from .outputs import check_outputs


def plot(
    region: Annotated[
        str,
        typer.Argument(
            metavar="REGION", help="contig:start-end, counted from 1, both ends included, as samtools has it."
        ),
    ],
    genome: options.Genome = None,
    model: options.Model = options.BUILT_IN,
    annotation: Annotated[
        Path | None, typer.Option(metavar="ANNOTATION", help="GFF3, GTF, GenBank or BED: genes and other features.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="PATH", help="Picture to write: .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Draw a locus: letters, genes, chunks by stage, boundary probability, bits per base.

    Chunks, probability and bits are those of the forward reading, which begins up to 4,096 bases before the region.

    Example: hnet-dna plot chrXV:107,201-107,330 --genome yeast --model run --annotation genes.gff3 --out locus.svg
    """
    if genome is None or out is None:
        raise UsageError("plot needs --genome and --out, the picture to write")
    from hnet_dna.explain.drawing import check_format, need_matplotlib, save

    check_format(out)
    check_outputs({"--out": out}, [genome, annotation, model], {"--out": ""})
    need_matplotlib()
    import numpy as np

    from hnet_dna.data.annotation import read_features
    from hnet_dna.data.fetch import open_genome
    from hnet_dna.data.regions import parse_region
    from hnet_dna.explain.locus import read_locus
    from hnet_dna.explain.locus_figure import draw_locus
    from hnet_dna.sequence.codes import LETTER_BITS

    opened = open_genome(genome)
    interval = parse_region(region, opened)
    if np.all((opened.codes(interval) & LETTER_BITS) >= 4):
        raise SequenceError(f"{genome}: {region} has no A, C, G or T, so that there is nothing to draw")
    features = read_features(annotation, opened) if annotation else []
    loaded = show.load_model(model)
    show.say_if_windowed(loaded)
    locus = read_locus(loaded, opened, interval, features)
    title = f"{interval}  ({opened.source.name}, model {model.name or model})"
    save(draw_locus(locus, title), out)
    show.notes.print(f"wrote {out}")
