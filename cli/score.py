"""`hnet-dna score`: log2 p of bases, regions and variants."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hnet_dna.errors import UsageError
from hnet_dna.sequence.strand import check_strand

from . import options, show
from .inputs import check_pipes
from .outputs import check_outputs, output, shares_terminal, summary_path, with_index

if TYPE_CHECKING:
    from hnet_dna.genome.genome import Genome
    from hnet_dna.model.lm import HNetLM

_WINDOW, _CONTEXT = 512, 4096


def score(
    fasta: Annotated[str | None, typer.Argument(metavar="GENOME", help=options.GENOME_HELP)] = None,
    model: options.Model = options.BUILT_IN,
    vcf: Annotated[
        str | None, typer.Option(metavar="VCF", help="Score these variants instead; '-' reads stdin.")
    ] = None,
    genome: Annotated[
        str | None, typer.Option(metavar="GENOME", help="With --vcf: the reference, given as GENOME is.")
    ] = None,
    regions: Annotated[Path | None, typer.Option(metavar="BED", help="Print sum and mean for each region.")] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Tracks of whole contigs, the I-th of N parts of about equal length."),
    ] = None,
    strand: options.Strand = "both",
    bigwig: Annotated[Path | None, typer.Option(metavar="PATH", help="Write log2 p per base here.")] = None,
    bedgraph: Annotated[Path | None, typer.Option(metavar="PATH", help="The same as bedGraph.")] = None,
    parquet: Annotated[Path | None, typer.Option(metavar="PATH", help="The same as Parquet.")] = None,
    summary: options.Summary = None,
    window: Annotated[
        int, typer.Option(metavar="N", help="With --vcf: bases of reference around a variant.", min=2)
    ] = _WINDOW,
    context: Annotated[
        int, typer.Option(metavar="N", help="With --regions: bases read around each.", min=0)
    ] = _CONTEXT,
    strict: Annotated[bool, typer.Option("--strict", help="With --vcf: stop at a REF that differs.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help="Write this file instead of to stdout; .vcf.gz is compressed and indexed.",
        ),
    ] = None,
    aliases: options.Aliases = False,
    quiet: options.Quiet = False,
) -> None:
    """Score bases (log2 p), regions (sum and mean of log2 p) or variants (log-likelihood ratio of alleles).

    Both strands are read by default: a base is predicted once from what comes before it and once from what comes after
    it, and the mean is given. Unit is bits.

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
    if vcf is None and (genome is not None or strict or window != _WINDOW):
        raise UsageError("--genome, --window and --strict belong to --vcf")
    if regions is None and context != _CONTEXT:
        raise UsageError("--context belongs to --regions")
    tracks = {"bigwig": bigwig, "bedgraph": bedgraph, "parquet": parquet}
    given = {f"--{kind}": path for kind, path in tracks.items()}
    summaries = summary_path(summary, given)
    if vcf is not None and (regions is not None or any(tracks.values())):
        raise UsageError("--vcf writes a VCF alone; leave out --regions and tracks")
    if shard is not None and (vcf is not None or regions is not None):
        raise UsageError("--shard is for tracks; leave out --vcf and --regions")
    if vcf is None and regions is None and not any(tracks.values()):
        raise UsageError("say what to write: --bigwig, --bedgraph, --parquet or --regions")
    if out is not None and vcf is None and regions is None:
        raise UsageError("--out belongs to --vcf and --regions; tracks have options of their own")
    check_outputs(
        {
            "--out": out if vcf is None else with_index(out),
            **given,
            "--summary": summaries,
        },
        [fasta, genome, vcf, regions, model],
        {
            "--out": "text" if vcf is None else "VCF",
            "--bigwig": "bigWig",
            "--parquet": "Parquet",
            "--summary": "bigWig",
        },
    )
    check_pipes({"GENOME": fasta, "--genome": genome, "--vcf": vcf, "--regions": regions})
    opened = show.open_genome((fasta if vcf is None else genome) or "", quiet, aliases=aliases)
    loaded = show.load_model(model)
    if vcf is not None:
        _variants(vcf, opened, loaded, str(model), window, strand, strict, out, quiet)
        return
    show.say_if_windowed(loaded)
    if regions is not None:
        _regions(regions, opened, loaded, strand, context, out, quiet)
    if any(tracks.values()):
        paths = {kind: path for kind, path in tracks.items() if path is not None}
        _tracks(paths, summaries, summary, opened, loaded, strand, shard, quiet)


def _variants(
    vcf: str,
    genome: Genome,
    model: HNetLM,
    name: str,
    window: int,
    strand: Any,
    strict: bool,
    out: Path | None,
    quiet: bool,
) -> None:
    from hnet_dna.text import called, count_lines, watched
    from hnet_dna.tracks.vcf import VcfScorer

    with ExitStack() as stack:
        stream = stack.enter_context(output(out, "vcf"))
        total = count_lines(vcf, "a VCF file") if show.is_small(vcf) else None
        about = called(vcf) if total is None else ""
        progress = stack.enter_context(
            show.Progress("scoring", total, "records", about=about, quiet=quiet, on_data=shares_terminal(out))
        )
        scorer = VcfScorer(
            genome,
            model,
            name,
            window,
            strand,
            strict,
            on_records=progress.update,
            command=sys.argv,
        )
        stack.enter_context(watched(vcf, progress.read))
        report = scorer.run(vcf, stream.buffer)
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in report.skipped.most_common())
    show.notes.print(
        f"{show.counted(report.records, 'record')}, {show.counted(report.scored, 'allele')} scored"
        + (f"; skipped: {reasons}" if reasons else "")
    )


def _regions(
    path: Path, genome: Genome, model: HNetLM, strand: Any, context: int, out: Path | None, quiet: bool
) -> None:
    from hnet_dna.annotation.regions import read_regions
    from hnet_dna.genome.genome import known_bases
    from hnet_dna.inference.base_scores import read_for, region_scores

    regions = read_regions(path, genome)
    total = known_bases(genome, read_for(genome, regions, context)) * _readings(strand)
    about = f"{show.counted(len(regions), 'region')}, {total:,} bases"
    with (
        output(out) as stream,
        show.Progress("scoring", total, "bases", about=about, quiet=quiet, on_data=shares_terminal(out)) as progress,
    ):
        stream.write("#contig\tstart\tend\tname\tbases\tlog2p_sum\tlog2p_mean\n")
        for found in region_scores(genome, regions, model, strand, context=context, on_bases=progress.add):
            interval = found.region.interval
            mean = f"{found.log2p / found.bases:.6f}" if found.bases else "."
            stream.write(
                f"{interval.contig}\t{interval.start}\t{interval.end}\t{found.region.name or '.'}\t{found.bases}\t"
                f"{found.log2p:.4f}\t{mean}\n"
            )


def _readings(strand: str) -> int:
    return 2 if strand == "both" else 1


def _tracks(
    paths: dict[str, Path],
    summaries: list[Path],
    window: int | None,
    genome: Genome,
    model: HNetLM,
    strand: Any,
    shard: str | None,
    quiet: bool,
) -> None:
    from hnet_dna.genome.genome import known_bases, whole
    from hnet_dna.genome.shards import shard as shard_of
    from hnet_dna.inference.base_scores import base_scores
    from hnet_dna.tracks.values import Values
    from hnet_dna.tracks.windows import Windows

    windows = None if window is None else Windows(window)
    contigs = genome.contigs if shard is None else shard_of(genome.contigs, shard)
    intervals = [whole(contig) for contig in contigs]
    total = known_bases(genome, intervals) * _readings(strand)
    with Values() as values, show.Progress("scoring", total, "bases", quiet=quiet) as progress:
        for contig in contigs:
            values.contig(contig.name, contig.length)
            if windows is not None:
                windows.contig(contig.name, contig.length)
        for scores in base_scores(genome, intervals, model, strand, on_bases=progress.add):
            values.add(scores.contig, scores.start, scores.log2p)
            if windows is not None:
                windows.add_scores(scores)
        if windows is not None:
            windows.write_bigwig(*summaries)
        for kind, path in paths.items():
            getattr(values, f"write_{kind}")(path)
    print(f"wrote {', '.join(map(str, [*paths.values(), *summaries]))}", file=sys.stderr)
