"""`hnet-dna genome`: look at a genome before spending hours on it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from . import show

if TYPE_CHECKING:
    from hnet_dna.data.genome import Contig

genome = typer.Typer(no_args_is_help=True, help="Look at a genome.")


@genome.callback()
def _genome() -> None:
    pass


@genome.command()
def inspect(
    fasta: Annotated[str, typer.Argument(help="FASTA file, plain, gzip or bgzip; 'yeast' is the one in the package.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show contigs, lengths, GC, N, soft-masked share, other IUPAC codes, and M5 checksums.

    Example: hnet-dna genome inspect genome.fa.gz
    """
    from hnet_dna.data.bundled import open_genome

    opened = open_genome(fasta)
    rows = [_describe(contig) for contig in opened.contigs]
    if as_json:
        typer.echo(json.dumps({"fasta": str(opened.source), "bases": opened.length, "contigs": rows}, indent=2))
        return
    table = Table(title=f"{opened.source.name}: {len(rows):,} contigs, {opened.length:,} bases")
    table.add_column("contig")
    for name in ("bases", "GC %", "N", "N runs", "soft-masked %", "IUPAC"):
        table.add_column(name, justify="right")
    table.add_column("M5", overflow="fold")
    for row in rows:
        table.add_row(
            row["name"],
            f"{row['length']:,}",
            "-" if row["gc"] is None else f"{100 * row['gc']:.2f}",
            f"{row['n']:,}",
            f"{row['n_runs']:,}",
            f"{100 * row['soft_masked'] / row['length']:.2f}",
            f"{row['ambiguous']:,}",
            row["md5"],
        )
    show.results.print(table)


def _describe(contig: Contig) -> dict[str, Any]:
    known = contig.length - contig.n_bases - contig.ambiguous
    return {
        "name": contig.name,
        "length": contig.length,
        "gc": contig.gc / known if known else None,  # share of A, C, G, T
        "n": contig.n_bases,
        "n_runs": len(contig.n_runs),
        "soft_masked": contig.soft_masked,
        "ambiguous": contig.ambiguous,
        "uracils": contig.uracils,
        "md5": contig.md5,
    }
