"""`hnet-dna embed`: vectors for sequences or chunks."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from hnet_dna.errors import UsageError

from . import options, show
from .inputs import check_pipes
from .outputs import check_outputs


def embed(
    sequences: Annotated[
        str,
        typer.Argument(
            metavar="SEQUENCES",
            help="FASTA, CSV or TSV with a column of sequences ('-' for stdin), or a genome with --regions.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PATH", help="Table to write: X.parquet, X.npy or X.h5ad.")
    ],
    model: options.Model = options.BUILT_IN,
    device: options.Device = None,
    precision: options.InPrecision = "fp32",
    regions: Annotated[
        Path | None,
        typer.Option(metavar="BED", help="Embed these regions of the genome, each on its BED strand."),
    ] = None,
    sequence: options.SequenceColumn = None,
    level: options.Level = "chunk",
    pooling: options.Pooling = "mean",
    strand: options.Strand = "both",
    per_chunk: Annotated[
        bool, typer.Option("--per-chunk", help="Write one row per chunk, of sequences read forward only.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a table whose writing was interrupted.")] = False,
    aliases: options.Aliases = False,
    quiet: options.Quiet = False,
) -> None:
    """Write one vector per sequence (or per chunk), with ids, in the order of the input.

    Sequences without any A, C, G or T are reported and left out. A region that --regions has on strand - is embedded as
    its reverse complement.

    Example: hnet-dna embed new.fa --model run --out vectors.parquet

    Example: hnet-dna embed genome.fa --regions genes.bed --strand + --model run --out genes.parquet
    """
    from hnet_dna.embedding.table import places
    from hnet_dna.embedding.write import embed_to_table

    written = check_outputs({"--out": places(out)}, [sequences, regions, model], {"--out": ""})
    check_pipes({"SEQUENCES": sequences, "--regions": regions})
    if aliases and regions is None:
        raise UsageError("--aliases belongs to --regions")
    read = show.open_genome(sequences, quiet, aliases=True) if aliases else sequences
    with show.Reports(quiet=quiet) as progress:
        table = embed_to_table(
            read,
            out,
            model=show.load_model(model, device, precision),
            regions=regions,
            sequence=sequence,
            level=level,
            pooling=pooling,
            strand=strand,
            per_chunk=per_chunk,
            resume=resume,
            on_progress=progress,
        )
    labels = "LABELS.bed" if per_chunk else "LABELS.csv"
    probe = f"hnet-dna probe {labels} --embeddings {quote(str(out))} --out {show.unused('probe')}"
    what = f"{show.counted(table.rows, 'row')} of {show.counted(table.width, 'number')}"
    show.wrote(written, quiet, what=what, then=probe if out.suffix == ".parquet" else None)
