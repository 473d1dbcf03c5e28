"""`hnet-dna merge`: tracks of parts of a genome become one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hnet_dna.errors import UsageError

from . import show
from .outputs import check_outputs, output, with_index

_TEXT = (".bed", ".bedgraph", ".bg")


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
) -> None:
    """Join tracks made with --shard (or otherwise of different contigs) into one.

    Text is laid end to end, so give the files in their order; in a bigWig contigs are in lexicographic order. A contig
    in two files is an error.

    Example: hnet-dna merge part1.bed part2.bed --out all.bed.gz
    """
    from hnet_dna.tracks.bgzip import is_compressed

    compressed = is_compressed(out)
    kind = (Path(out.stem) if compressed else out).suffix.lower()
    if kind not in _TEXT and (compressed or kind not in (".bw", ".bigwig")):
        raise UsageError(f"--out {out}: expected a name that ends in .bed, .bed.gz, .bedgraph, .bedgraph.gz or .bw")
    check_outputs({"--out": with_index(out)}, tracks, {"--out": "text" if kind in _TEXT else "bigWig"})
    from hnet_dna.tracks.merge import merge_bed, merge_bigwig

    if kind in _TEXT:
        with output(out, "bed") as stream:
            count = merge_bed(tracks, stream)
        show.notes.print(f"{out}: {count:,} line(s) of {len(tracks):,} file(s)")
    else:
        count = merge_bigwig(tracks, out)
        show.notes.print(f"{out}: {count:,} contig(s) of {len(tracks):,} file(s)")
