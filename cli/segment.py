"""`hnet-dna segment`: write learned chunks as BED or bigBed, and the probabilities behind them as tracks."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from shlex import join, quote
from typing import TYPE_CHECKING, Annotated

import typer

from hnet_dna.errors import UsageError
from hnet_dna.sequence.strand import check_strand

from . import options, show
from .inputs import check_pipes
from .outputs import check_outputs, of_strand, output, shares_terminal, summary_path, with_index

if TYPE_CHECKING:
    from hnet_dna.tracks.segment import Style


def segment(
    fasta: Annotated[str, typer.Argument(metavar="GENOME", help=options.GENOME_HELP)],
    model: options.Model = options.BUILT_IN,
    device: options.Device = None,
    precision: options.InPrecision = "fp32",
    stage: Annotated[int, typer.Option(metavar="N", help="Chunking stage, 0 outermost.", min=0)] = 0,
    strand: Annotated[str, typer.Option(metavar="STRAND", help="+, - or both.")] = "+",
    regions: Annotated[
        Path | None, typer.Option(metavar="BED", help="Read only these regions, each from its start.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Only part I of N, of whole contigs and about equal length."),
    ] = None,
    points: Annotated[bool, typer.Option("--points", help="Write only the first base of each chunk.")] = False,
    nested: Annotated[bool, typer.Option("--nested", help="BED12: chunks of the stage outside are blocks.")] = False,
    bigbed: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Write the chunks as bigBed; BED is then written only if --out names it."),
    ] = None,
    bigwig: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Also write the boundary probability of each base here.")
    ] = None,
    bedgraph: Annotated[Path | None, typer.Option(metavar="PATH", help="The same as bedGraph.")] = None,
    summary: options.Summary = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help="Write to this file instead of stdout; .bed.gz is compressed and indexed.",
        ),
    ] = None,
    aliases: options.Aliases = False,
    quiet: options.Quiet = False,
) -> None:
    """Write the chunks of each contig as BED6; they cover all of it except runs of N.

    The name is stage and index; the score is 1000 x the boundary probability at the chunk's first base. The first
    base of a contig, and the first one after a run of N, begin a chunk by definition (score 1000).

    Example: hnet-dna segment sample.fa --model run --bigwig boundaries.bw > boundaries.bed

    Example: hnet-dna segment genome.fa.gz --model run --bigbed chunks.bb
    """
    strand = check_strand(strand)
    if shard is not None and regions is not None:
        raise UsageError("give --shard or --regions, not both")
    if points and nested:
        raise UsageError("give --points or --nested, not both")
    wanted = ["+", "-"] if strand == "both" else [strand]
    tracks = {
        kind: {one: of_strand(path, one) if strand == "both" else path for one in wanted} if path is not None else {}
        for kind, path in (("bigwig", bigwig), ("bedgraph", bedgraph))
    }
    summaries = {
        one: of_strand(path, one) if strand == "both" else path
        for path in summary_path(summary, {"--bigwig": bigwig, "--bigbed": bigbed, "--out": out})
        for one in wanted
    }
    check_outputs(
        {
            "--out": with_index(out),
            "--bigbed": bigbed,
            "--summary": [*summaries.values()],
            **{f"--{kind}": [*paths.values()] for kind, paths in tracks.items()},
        },
        [fasta, regions, model],
        {"--bigwig": "bigWig", "--bigbed": "bigBed", "--summary": "bigWig"},
    )
    check_pipes({"GENOME": fasta, "--regions": regions})
    from hnet_dna.genome.genome import is_streamed
    from hnet_dna.genome.open import find_genome  # what a mistake needs comes before what takes seconds to import
    from hnet_dna.text import called, watched

    source = find_genome(fasta)
    from hnet_dna.sequence.alphabet import alphabet
    from hnet_dna.tracks.bigbed import check_pybigtools
    from hnet_dna.tracks.job import Segmentation, reads_once

    if bigbed is not None:
        check_pybigtools()

    once = reads_once(fasta, strand, regions, shard)
    read = source if once else show.open_genome(fasta, quiet, aliases=aliases)
    job = Segmentation(read, strand, regions=regions, shard=shard)
    total = show.bases_in(source) if once else job.bases
    loaded = show.load_model(model, device, precision)
    show.say_if_windowed(loaded)
    about = called(fasta) if total is None else ""
    with ExitStack() as stack:
        lines = out is not None or bigbed is None
        bed = stack.enter_context(output(out, "bed")) if lines else None
        on_data = lines and shares_terminal(out)
        progress = stack.enter_context(
            show.Progress("segmenting", total, "bases", about=about, quiet=quiet, on_data=on_data)
        )
        stack.enter_context(watched(source, progress.read))
        style: Style = "points" if points else "nested" if nested else "chunks"
        written = job.write(
            loaded,
            bed,
            stage=stage,
            style=style,
            tracks=tracks,  # type: ignore[arg-type]
            bigbed=bigbed,
            summary=summaries,
            window=summary or 0,
            on_bases=progress.add,
        )
    if written.ambiguous and not alphabet(loaded.config.alphabet).keeps_ambiguity:
        show.notes.print(f"{written.ambiguous:,} other IUPAC codes read as N")
    if written.uracils:
        show.notes.print(f"{written.uracils:,} U read as T")
    if written.chunks == 0:
        show.notes.print(f"{fasta}: no chunks, because it holds nothing but N")
    files = [str(path) for path in (bigbed, *tracks["bigwig"].values()) if path is not None]
    if files and not is_streamed(source):
        show.next_step(f"hnet-dna hub browser --genome {quote(fasta)} --tracks {join(files)} --serve", quiet)
