"""`hnet-dna score`: log2 p of bases, regions and variants."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hnet_dna.errors import UsageError
from hnet_dna.sequence.strand import check_strand
from hnet_dna.tracks.outputs import TrackFiles

from . import options, show
from .browser import hub_of
from .inputs import check_pipes
from .outputs import BINARY, check_outputs, output, shares_terminal, track_paths, with_index

if TYPE_CHECKING:
    from hnet_dna.tracks.vcf import VcfReport

_WINDOW, _CONTEXT = 512, 4096


def score(
    fasta: Annotated[str | None, typer.Argument(metavar="GENOME", help=options.GENOME_HELP)] = None,
    model: options.Model = options.BUILT_IN,
    device: options.Device = None,
    precision: options.InPrecision = "fp32",
    streams: options.Streams = None,
    vcf: Annotated[
        str | None, typer.Option(metavar="VCF", help="Score these variants instead of bases; '-' reads stdin.")
    ] = None,
    genome: Annotated[
        str | None,
        typer.Option(metavar="GENOME", help="With --vcf: the reference genome, in any form that GENOME may have."),
    ] = None,
    regions: Annotated[
        Path | None, typer.Option(metavar="BED", help="Print the sum and mean of log2 p for each of these regions.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Read only part I of N; parts are whole contigs, and about equally long."),
    ] = None,
    strand: options.Strand = "both",
    bigwig: Annotated[Path | None, typer.Option(metavar="PATH", help="Write log2 p of each base as bigWig.")] = None,
    bedgraph: Annotated[Path | None, typer.Option(metavar="PATH", help="Write log2 p as bedGraph.")] = None,
    parquet: Annotated[Path | None, typer.Option(metavar="PATH", help="Write log2 p as Parquet.")] = None,
    summary: options.Summary = None,
    window: options.Window = _WINDOW,
    context: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help=f"With --regions: bases read around each region (default {_CONTEXT:,}). With --vcf: read at least N "
            "bases before a variant, once for all variants nearby, instead of a window for each (faster where variants "
            "are dense).",
            min=0,
        ),
    ] = None,
    boundaries: Annotated[
        int, typer.Option(metavar="N", help="Compare the chunk boundaries in N bases after a variant, too.", min=0)
    ] = 0,
    controls: Annotated[
        int,
        typer.Option(
            metavar="N", help="With --boundaries: compare each variant with the same change at N places nearby.", min=0
        ),
    ] = 0,
    jobs: options.Jobs = 1,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="With --vcf: stop if a REF is not what the genome has, instead of skipping it."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help="Write to this file instead of stdout; .vcf.gz is compressed and indexed.",
        ),
    ] = None,
    aliases: options.Aliases = False,
    quiet: options.Quiet = False,
) -> None:
    """Score bases (log2 p), regions (sum and mean of log2 p) or variants (log-likelihood ratio of alleles).

    Both strands are read by default: a base is predicted once from what comes before it and once from what comes after
    it, and the mean of the two is written. All scores are in bits.

    Example: hnet-dna score genome.fa --model run --bigwig log2p.bw

    Example: hnet-dna score --vcf in.vcf.gz --genome genome.fa --model run > out.vcf
    """
    strand = check_strand(strand)
    if vcf is None and fasta is None:
        raise UsageError("give a FASTA file, or --vcf with --genome")
    if vcf is not None and (fasta is not None or genome is None):
        if fasta is not None and genome is None:
            raise UsageError(f"--vcf takes its reference by --genome: write --genome {fasta}")
        raise UsageError("--vcf takes its reference by --genome, and no other FASTA")
    if vcf is None and fasta is not None and fasta.lower().endswith((".vcf", ".vcf.gz", ".vcf.bgz")):
        raise UsageError(f"{fasta} looks like variants: write --vcf {fasta}, and the reference as --genome")
    if vcf is None and (genome is not None or strict or window != _WINDOW or boundaries or controls or jobs > 1):
        raise UsageError("--genome, --window, --boundaries, --controls, --jobs and --strict belong to --vcf")
    if regions is None and vcf is None and context is not None:
        raise UsageError("--context belongs to --regions and --vcf")
    tracks = TrackFiles(None, None, bigwig, bedgraph, parquet, summary)
    paths = track_paths(tracks)
    if vcf is not None and (regions is not None or paths):
        raise UsageError("--vcf writes only a VCF; leave out --regions and tracks")
    if vcf is not None and streams is not None:
        raise UsageError("--streams is for tracks and --regions; --vcf has --jobs")
    if shard is not None and (vcf is not None or regions is not None):
        raise UsageError("--shard is for tracks; leave out --vcf and --regions")
    if vcf is None and regions is None and not paths:
        raise UsageError("say what to write: --bigwig, --bedgraph, --parquet or --regions")
    if out is not None and vcf is None and regions is None:
        raise UsageError("--out belongs to --vcf and --regions; tracks have options of their own")
    written = check_outputs(
        {"--out": out if vcf is None else with_index(out), **paths},
        [fasta, genome, vcf, regions, model],
        {"--out": "text" if vcf is None else "VCF", **BINARY},
    )
    check_pipes({"GENOME": fasta, "--genome": genome, "--vcf": vcf, "--regions": regions})
    opened = show.open_genome((fasta if vcf is None else genome) or "", quiet, aliases=aliases)
    loaded = show.load_model(model, device, precision)
    with show.Reports(quiet=quiet, on_data=not paths and shares_terminal(out)) as reports:
        if vcf is not None:
            from hnet_dna.tracks.vcf import score_vcf

            with output(out, "vcf") as lines:
                report = score_vcf(
                    vcf, opened, loaded, lines.buffer, window=window, strand=strand, context=context,
                    boundaries=boundaries, controls=controls, jobs=jobs, strict=strict, command=sys.argv,
                    on_progress=reports,
                )  # fmt: skip
            show.notes.print(_summary(report))
        if regions is not None:
            from hnet_dna.inference.base_scores import score_regions, write_region_scores

            around = _CONTEXT if context is None else context
            scores = score_regions(
                regions, opened, loaded, strand=strand, context=around, streams=streams, on_progress=reports
            )
            with output(out) as table:
                write_region_scores(scores, table)
        if paths:
            from hnet_dna.tracks.to_files import score_to_files

            score_to_files(opened, loaded, tracks, strand=strand, shard=shard, streams=streams, on_progress=reports)
    shown = fasta is not None and not opened.streamed
    show.wrote(written, quiet, then=hub_of(paths.get("--bigwig", ()), fasta or "", model) if shown else None)


def _summary(report: VcfReport) -> str:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in report.skipped.most_common())
    counts = f"{show.counted(report.records, 'record')}, {show.counted(report.scored, 'allele')} scored"
    return counts + (f"; skipped: {reasons}" if reasons else "")
