"""`hnet-dna genome`: look at a genome before spending hours on it, fetch one, cut out a part."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from hnet_dna.errors import UsageError

from . import options, show
from .groups import Commands
from .outputs import check_outputs, output

if TYPE_CHECKING:
    from hnet_dna.genome.store import Contig

_LINE = 60  # letters of a line of FASTA

genome = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="Look at genomes, fetch known ones, cut out parts.\n\nExample: hnet-dna genome inspect yeast",
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
    """Show contigs, lengths, GC, N, soft-masked share, other IUPAC codes, M5 checksums, and which assembly it is.

    Example: hnet-dna genome inspect genome.fa.gz
    """
    from hnet_dna.genome.assemblies import recognise

    opened = show.open_genome(fasta, quiet)
    recognised = recognise(opened.contigs)
    rows = [_describe(contig) for contig in opened.contigs]
    if as_json:
        told = {
            "fasta": str(opened.source),
            "store": None if opened.streamed else str(opened.store_path),
            "assembly": str(recognised) if recognised else None,
            "bases": opened.length,
            "contigs": rows,
        }
        typer.echo(json.dumps(told, indent=2))
        return
    table = Table(title=f"{opened.source.name}: {show.counted(len(rows), 'contig')}, {opened.length:,} bases")
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
    show.results.print(f"Assembly: {recognised or 'none of the known ones'}")
    if not opened.streamed:
        show.results.print(f"Store: {opened.store_path}")


@genome.command()
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A known genome; 'hnet-dna genome list' shows them.")],
    quiet: options.Quiet = False,
) -> None:
    """Download a known genome, check it, and prepare it, so that --genome NAME finds it.

    Goes on where an earlier download stopped. Genomes lie in $HNET_DNA_HOME, or in the user's cache folder.

    Example: hnet-dna genome fetch hg38
    """
    from hnet_dna.genome.assemblies import find_assembly
    from hnet_dna.genome.bundled import BUNDLED_NAME
    from hnet_dna.genome.fetch import check_contigs, download

    if name == BUNDLED_NAME:
        raise UsageError(f"{name} is in the package: there is nothing to fetch, use it as --genome {name}")
    assembly = find_assembly(name)
    show.notes.print(f"{assembly.assembly}, {assembly.organism}: {assembly.url}")
    show.notes.print(assembly.licence or "terms of use: not on record here, see the source")
    with show.Progress(f"downloading {assembly.file}", assembly.size, "bytes", quiet=quiet, late=True) as progress:
        place = download(assembly, on_progress=lambda done, total: progress.update(done))
    fetched = show.open_genome(str(place), quiet)
    check_contigs(assembly, fetched)
    typer.echo(fetched.source)
    checked = "checksum of the file and " if assembly.md5 or assembly.sha256 else ""
    show.notes.print(f"{checked}contigs agree with the manifest; use it as --genome {assembly.name}")


@genome.command()
def extract(
    fasta: Annotated[str, typer.Argument(metavar="GENOME", help=options.GENOME_HELP)],
    regions: Annotated[
        list[str],
        typer.Argument(
            metavar="REGION...",
            help="contig:start-end, counted from 1, both ends included, as samtools has it; or a contig's name.",
        ),
    ],
    out: options.OutFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Write parts of a genome as FASTA, each named by its region; soft-masked bases stay lower case.

    Example: hnet-dna genome extract yeast chrXV:1-50000 > sample.fa
    """
    check_outputs({"--out": out}, [fasta])
    from hnet_dna.annotation.regions import parse_region
    from hnet_dna.genome.genome import whole
    from hnet_dna.sequence.codes import to_text
    from hnet_dna.sequence.interval import Interval

    opened = show.open_genome(fasta, quiet)
    parts = []
    for text in regions:
        if text in opened or ":" not in text:
            parts.append((text, whole(opened[text])))
        else:
            interval = parse_region(text, opened)
            parts.append((f"{interval.contig}:{interval.start + 1}-{interval.end}", interval))
    with output(out) as stream:
        for name, interval in parts:
            stream.write(f">{name}\n")
            for start in range(interval.start, interval.end, 1000 * _LINE):
                part = Interval(interval.contig, start, min(start + 1000 * _LINE, interval.end))
                text = to_text(opened.codes(part))
                stream.writelines(f"{text[at : at + _LINE]}\n" for at in range(0, len(text), _LINE))


@genome.command()
def annotation(
    name: Annotated[str, typer.Argument(metavar="NAME", help="yeast: the genome in the package.")],
    out: options.OutFile = None,
) -> None:
    """Write the annotation of the genome in the package as GFF3.

    Example: hnet-dna genome annotation yeast > genes.gff3
    """
    import gzip

    from hnet_dna.genome.bundled import BUNDLED_NAME, bundled_genome

    if name != BUNDLED_NAME:
        raise UsageError(f"{name}: the package has the annotation of {BUNDLED_NAME} alone")
    check_outputs({"--out": out})
    with gzip.open(bundled_genome().annotation, "rt") as lines, output(out) as stream:
        stream.writelines(lines)


@genome.command("list")
def list_known() -> None:
    """List the known genomes: name, assembly, size, and where they are.

    Example: hnet-dna genome list
    """
    from hnet_dna.genome.assemblies import assemblies
    from hnet_dna.genome.bundled import BUNDLED_NAME, bundled_genome
    from hnet_dna.genome.fetch import place_of
    from hnet_dna.genome.genome import Genome

    table = Table()
    for column in ("name", "assembly", "organism", "bases in chromosomes", "fetched to"):
        table.add_column(column, justify="right" if column.startswith("bases") else "left", overflow="fold")
    for known in assemblies():
        place = place_of(known)
        bases = sum(contig.length for contig in known.contigs.values())
        table.add_row(known.name, known.assembly, known.organism, f"{bases:,}", str(place) if place.exists() else "-")
    bundled = bundled_genome()
    told = bundled.manifest
    bases = Genome.open(bundled.fasta).length
    table.add_row(BUNDLED_NAME, str(told["assembly"]), str(told["organism"]), f"{bases:,}", "in the package")
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
