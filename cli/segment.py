"""`hnet-dna segment`: write learned chunks as BED or bigBed, and the probabilities behind them as tracks."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from hnet_dna.errors import UsageError
from hnet_dna.files import is_streamed
from hnet_dna.sequence.strand import check_strand
from hnet_dna.tracks.outputs import TrackFiles

from . import options, show
from .browser import hub_of
from .inputs import check_pipes
from .outputs import BINARY, check_outputs, shares_terminal, stdout_or, track_paths, with_index


def segment(
    fasta: Annotated[str, typer.Argument(metavar="GENOME", help=options.GENOME_HELP)],
    model: options.Model = options.BUILT_IN,
    device: options.Device = None,
    precision: options.InPrecision = "fp32",
    streams: options.Streams = None,
    stage: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Chunking stage to write: 0 has chunks of bases, 1 has chunks of stage-0 chunks, and so on.",
            min=0,
        ),
    ] = 0,
    strand: Annotated[str, typer.Option(metavar="STRAND", help="Strand to read: +, - or both.")] = "+",
    regions: Annotated[
        Path | None, typer.Option(metavar="BED", help="Read only these regions, each as a sequence of its own.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Read only part I of N; parts are whole contigs, and about equally long."),
    ] = None,
    points: Annotated[bool, typer.Option("--points", help="Write only the first base of each chunk.")] = False,
    nested: Annotated[
        bool,
        typer.Option(
            "--nested", help="Write BED12: each line is a chunk, whose blocks are chunks of the stage before."
        ),
    ] = False,
    bigbed: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Write the chunks as bigBed; BED is then written only if --out names it."),
    ] = None,
    bigwig: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Also write the boundary probabilities of all bases.")
    ] = None,
    bedgraph: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Also write the boundary probabilities as bedGraph.")
    ] = None,
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
    """Write the chunks of each contig as BED6; they cover the whole contig except runs of N.

    The name of a chunk is its stage and index; the score is 1000 x the boundary probability at its first base. The
    first base of a contig, and the first one after a run of N, begin a chunk by definition (score 1000).

    Example: hnet-dna segment sample.fa --model run --bigwig boundaries.bw > boundaries.bed

    Example: hnet-dna segment genome.fa.gz --model run --bigbed chunks.bb
    """
    strand = check_strand(strand)
    if shard is not None and regions is not None:
        raise UsageError("give --shard or --regions, not both")
    if points and nested:
        raise UsageError("give --points or --nested, not both")
    files = TrackFiles(out, bigbed, bigwig, bedgraph, summary=summary)
    written = check_outputs({"--out": with_index(out), **track_paths(files, strand)}, [fasta, regions, model], BINARY)
    check_pipes({"GENOME": fasta, "--regions": regions})
    from hnet_dna.genome.open import find_genome

    source = find_genome(fasta)  # a mistake is reported before what takes seconds to import
    from hnet_dna.tracks.to_files import segment_to_files

    read = show.open_genome(fasta, quiet, aliases=True) if aliases else fasta
    loaded = show.load_model(model, device, precision)
    lines = out is not None or bigbed is None
    with (
        stdout_or(out) if lines else nullcontext() as place,
        show.Reports(quiet=quiet, on_data=lines and shares_terminal(out)) as reports,
    ):
        count = segment_to_files(
            read,
            loaded,
            replace(files, out=place),
            stage=stage,
            strand=strand,
            style="points" if points else "nested" if nested else "chunks",
            regions=regions,
            shard=shard,
            streams=streams,
            on_progress=reports,
        )
    paths = files.paths(strand)
    tracks = [path for kind in ("bigbed", "bigwig") for path in paths.get(kind, ())]
    then = None if is_streamed(source) else hub_of(tracks, fasta, model)
    show.wrote(written, quiet, what=show.counted(count, "chunk"), then=then)
