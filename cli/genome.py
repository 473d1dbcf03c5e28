"""`hnet-dna genome`: look at a genome before spending hours on it, fetch one, cut out a part."""

from __future__ import annotations

import gzip
import json
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer
from rich.table import Table

from . import options, show, tables
from .groups import Commands
from .outputs import check_outputs, output

genome = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="Inspect genomes, download known ones, cut out parts.\n\nExample: hnet-dna genome inspect yeast",
)


@genome.callback()
def _genome() -> None:
    pass


@genome.command()
def inspect(
    fasta: Annotated[str, typer.Argument(metavar="GENOME", help=options.GENOME_HELP)],
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Show contigs, lengths, GC, N, soft-masked share, other IUPAC codes, MD5 checksums (M5), and which assembly it is.

    Example: hnet-dna genome inspect genome.fa.gz
    """
    from hnet_dna.genome.describe import describe_genome

    described = describe_genome(show.open_genome(fasta, quiet))
    if as_json:
        values = asdict(described)
        typer.echo(json.dumps({"fasta": values.pop("source"), **values}, indent=2, default=str))
        return
    contigs = show.counted(len(described.contigs), "contig")
    table = Table(title=f"{Path(described.source).name}: {contigs}, {show.counted(described.bases, 'base')}")
    table.add_column("contig")
    for name in ("bases", "GC %", "N", "N runs", "soft-masked %", "IUPAC"):
        table.add_column(name, justify="right")
    table.add_column("M5", overflow="fold")
    for one in described.contigs:
        gc = "-" if one.gc is None else f"{100 * one.gc:.2f}"
        masked = f"{100 * one.soft_masked / one.length:.2f}"
        counts = f"{one.length:,}", gc, f"{one.n:,}", f"{one.n_runs:,}", masked, f"{one.ambiguous:,}"
        table.add_row(one.name, *counts, one.md5)
    tables.print_table(table)
    show.results.print(f"Assembly: {described.assembly or 'none of the known ones'}")
    if described.store is not None:
        show.results.print(f"Store: {described.store}")
        show.wrote([], quiet, then=f"hnet-dna pretrain --genome {quote(fasta)} --out {show.unused('run')}")


@genome.command()
def fetch(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of a known genome; 'hnet-dna genome list' shows them.")
    ],
    quiet: options.Quiet = False,
) -> None:
    """Download a known genome, check it, and prepare it, so that --genome NAME works.

    An interrupted download continues where it stopped. Genomes are kept in $HNET_DNA_HOME or the user's cache folder.

    Example: hnet-dna genome fetch hg38
    """
    from hnet_dna.genome.known import assembly_to_fetch, fetch_genome

    assembly = assembly_to_fetch(name)
    show.notes.print(f"{assembly.assembly}, {assembly.organism}: {assembly.url}")
    show.notes.print(assembly.licence or "terms of use: not on record here, see the source")
    with show.Reports(quiet=quiet) as reports:
        fetched = fetch_genome(name, on_progress=reports)
    typer.echo(fetched.source)
    checked = "checksum of the file and " if assembly.md5 or assembly.sha256 else ""
    show.notes.print(f"{checked}contigs agree with the manifest")
    show.wrote([], quiet, then=f"hnet-dna genome inspect {name}")


@genome.command()
def extract(
    fasta: Annotated[str, typer.Argument(metavar="GENOME", help=options.GENOME_HELP)],
    regions: Annotated[
        list[str],
        typer.Argument(
            metavar="REGION",
            help="contig:start-end as in samtools (1-based, both ends included), or the name of a contig.",
        ),
    ],
    out: options.OutFile = None,
    aliases: options.Aliases = False,
    quiet: options.Quiet = False,
) -> None:
    """Write parts of a genome as FASTA, each named after its region; soft-masked bases stay lower case.

    Example: hnet-dna genome extract yeast chrXV:1-50000 > sample.fa
    """
    written = check_outputs({"--out": out}, [fasta])
    from hnet_dna.annotation.extract import extract as extracted
    from hnet_dna.genome.fasta import write_fasta

    parts = extracted(show.open_genome(fasta, quiet, aliases=aliases), regions)
    with output(out) as stream:
        write_fasta(((part.name, part.codes) for part in parts), stream)
    show.wrote(written, quiet)


@genome.command()
def annotation(
    name: Annotated[str, typer.Argument(metavar="NAME", help="yeast, the genome in the package.")],
    out: options.OutFile = None,
) -> None:
    """Write the annotation (GFF3) of the genome in the package.

    Example: hnet-dna genome annotation yeast > genes.gff3
    """
    from hnet_dna.genome.known import annotation_path

    path = annotation_path(name)
    written = check_outputs({"--out": out}, [path])
    with gzip.open(path, "rt") as lines, output(out) as stream:
        stream.writelines(lines)
    show.wrote(written)


@genome.command("list")
def list_known() -> None:
    """List the known genomes: name, assembly, organism, size, and where each was downloaded to.

    Example: hnet-dna genome list
    """
    from hnet_dna.genome.known import known_genomes

    table = Table()
    for column in ("name", "assembly", "organism", "bases in chromosomes", "fetched to"):
        table.add_column(column, justify="right" if column.startswith("bases") else "left", overflow="fold")
    for one in known_genomes():
        place = "in the package" if one.bundled else str(one.path or "-")
        table.add_row(one.name, one.assembly, one.organism, f"{one.bases:,}", place)
    tables.print_table(table)
