"""Options that several commands share, so that they have one name, one metavar and one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hnet_dna.pretrained.builtin import DEFAULT_MODEL

GENOME_HELP = (
    "FASTA (plain, gzip, bgzip) or .2bit file, '-' for FASTA from stdin, a known genome's name "
    "('hnet-dna genome list'), or 'yeast'."
)
MODEL_HELP = "Run folder, model folder, a built-in model's name, or owner/name on the Hugging Face hub."

Genome = Annotated[str | None, typer.Option(metavar="GENOME", help=GENOME_HELP)]
Model = Annotated[Path, typer.Option(metavar="MODEL", help=MODEL_HELP)]
BUILT_IN = Path(DEFAULT_MODEL)
NewFolder = Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="Folder to create.")]
OutFile = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="PATH", help="Write this file instead of to stdout.")
]
Strand = Annotated[str, typer.Option(metavar="STRAND", help="+, - or both (the mean).")]
Summary = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Also write means in windows of N bases, as bigWig beside the first file: b.N.bw for b.bw.",
    ),
]
Aliases = Annotated[
    bool,
    typer.Option(
        "--aliases",
        help="Let the other files call contigs by other names: chr1, 1, NC_000001.11. Names written are the genome's.",
    ),
]
Level = Annotated[
    str, typer.Option(metavar="LEVEL", help="Where vectors are taken: encoder, decoder, chunk, chunk:1 and so on.")
]
Pooling = Annotated[
    str,
    typer.Option(
        "--pool", metavar="POOLING", help="mean, max, last, or boundary (mean weighted by boundary probability)."
    ),
]
HeldOut = Annotated[
    list[str] | None,
    typer.Option(metavar="CONTIG", help="Contig to hold out; repeat for more. Default: about a tenth of the genome."),
]
Split = Annotated[
    str | None,
    typer.Option(metavar="BED|SHARE", help="BED whose 4th column is train, valid or test; or a share to hold out."),
]
UsedRegions = Annotated[str | None, typer.Option("--regions", metavar="BED", help="Use nothing outside these regions.")]
SequenceColumn = Annotated[
    str | None, typer.Option("--sequence", metavar="COLUMN", help="Column of sequences in CSV and TSV files.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress; notes, warnings and errors stay.")]
