"""`hnet-dna merge`: tracks of parts of a genome become one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options, show
from .outputs import check_outputs, with_index


def merge(
    tracks: Annotated[
        list[Path],
        typer.Argument(
            metavar="TRACK", help="BED, bedGraph, bigWig or bigBed files of one kind, in the order of the genome."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help="File to write: X.bed, X.bedgraph, X.bw or X.bb; X.bed.gz is compressed and indexed.",
        ),
    ],
    quiet: options.Quiet = False,
) -> None:
    """Join tracks of different contigs, such as those made with --shard, into one.

    BED and bedGraph files are joined in the order given; in a bigWig or bigBed, contigs are in lexicographic order. A
    contig that is in two files is an error.

    Example: hnet-dna merge part1.bed part2.bed --out all.bed.gz
    """
    from hnet_dna.tracks.merge import kind_of_track, merge_tracks

    kind = kind_of_track(out)
    written = check_outputs(
        {"--out": with_index(out)}, tracks, {"--out": {"text": "text", "bigwig": "bigWig", "bigbed": "bigBed"}[kind]}
    )
    with show.Reports(quiet=quiet) as reports:
        count = merge_tracks(tracks, out, on_progress=reports)
    what = show.counted(count, "line" if kind == "text" else "contig")
    show.wrote(written, quiet, what=f"{what} of {show.counted(len(tracks), 'file')}")
