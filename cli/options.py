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
Device = Annotated[
    str | None,
    typer.Option(metavar="DEVICE", help="Where the model runs: cpu, cuda or cuda:N. Default: a GPU if there is one."),
]
InPrecision = Annotated[
    str,
    typer.Option(
        metavar="PRECISION", help="fp32; bf16: matrix products in bfloat16, faster on a GPU; auto: bf16 on GPUs."
    ),
]
Streams = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="How many contigs, regions and strands are read at once. Default: 1 on a CPU, 8 on a GPU.",
    ),
]
BUILT_IN = Path(DEFAULT_MODEL)
NewFolder = Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="Folder to create.")]
OutFile = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="PATH", help="Write to this file instead of stdout.")
]
Strand = Annotated[str, typer.Option(metavar="STRAND", help="Strand to read: +, - or both (the mean).")]
Summary = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Also write a summary in windows of N bases, as bigWig beside another output: b.N.bw for b.bw.",
    ),
]
Window = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Compare log2 p over N bases of reference around a variant or mutation, half of them after it.",
        min=2,
    ),
]
Jobs = Annotated[int, typer.Option(metavar="N", help="Number of processes that share the work.", min=1)]
LEVEL_HELP = (
    "Where in the network vectors are taken: encoder or decoder (one for each base), chunk, chunk:1 and so on (one for "
    "each chunk of a stage), letters (the bases themselves), or several joined by +."
)
POOLING_HELP = (
    "How the vectors of a sequence become one: mean, max, last, boundary (mean weighted by boundary probability), "
    "bins:K (means of K equal parts), or several joined by +."
)
Level = Annotated[str, typer.Option(metavar="LEVEL", help=LEVEL_HELP)]
Pooling = Annotated[str, typer.Option("--pool", metavar="POOLING", help=POOLING_HELP)]
Aliases = Annotated[
    bool,
    typer.Option(
        "--aliases",
        help="Accept other names of contigs (chr1, 1, NC_000001.11) in other inputs. Output has the genome's names.",
    ),
]
HeldOut = Annotated[
    list[str] | None,
    typer.Option(metavar="CONTIG", help="Contig to hold out; repeat for more. Default: about a tenth of the genome."),
]
Split = Annotated[
    str | None,
    typer.Option(
        metavar="SPLIT", help="BED with train, valid or test in column 4; or a share to hold out, such as 0.1."
    ),
]
UsedRegions = Annotated[str | None, typer.Option("--regions", metavar="BED", help="Use only these regions.")]
SequenceColumn = Annotated[
    str | None, typer.Option("--sequence", metavar="COLUMN", help="Column of sequences in CSV and TSV files.")
]
TestFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="File like LABELS whose rows are the test part, instead of folds.")
]
LabelColumn = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Column of labels; for multilabel also several columns of 0 and 1: A,B,C."),
]
IdColumn = Annotated[str | None, typer.Option("--id", metavar="COLUMN", help="Column of sequence ids.")]
GroupColumn = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Column of groups; rows of one group are never in different folds.")
]
Task = Annotated[str, typer.Option(metavar="TASK", help="classification, multilabel or regression.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Leave out progress and closing lines; notes and warnings stay.")
]
