"""`hnet-dna merge`: tracks of parts of a genome become one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options, show
from .outputs import check_outputs, with_index


def merge(
    tracks: Annotated[
        list[Path], typer.Argument(metavar="TRACK", help="BED, bedGraph or bigWig files, in the order of the genome.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="PATH", help="X.bed, X.bedgraph or X.bw; X.bed.gz is compressed and indexed."
        ),
    ],
    quiet: options.Quiet = False,
) -> None:
    """Join tracks of different contigs, such as those made with --shard, into one.

    BED and bedGraph files are joined in the order given; in a bigWig contigs are in lexicographic order. A contig in
    two files is an error.

    Example: hnet-dna merge part1.bed part2.bed --out all.bed.gz
    """
    from hnet_dna.tracks.merge import kind_of_track, merge_tracks

    text = kind_of_track(out) == "text"
    check_outputs({"--out": with_index(out)}, tracks, {"--out": "text" if text else "bigWig"})
    with show.Progress("merging", about=show.counted(len(tracks), "file"), quiet=quiet) as progress:
        count = merge_tracks(tracks, out, lambda share: progress.update(share=share))
    what = "line" if text else "contig"
    show.notes.print(f"{out}: {show.counted(count, what)} of {show.counted(len(tracks), 'file')}")
