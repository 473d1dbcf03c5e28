"""`hnet-dna score`: log2 p of bases, regions and variants."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hnet_dna.errors import UsageError

from . import options, show
from .outputs import check_outputs, output, shares_terminal, with_index

if TYPE_CHECKING:
    from hnet_dna.data.genome import Genome
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
) -> None:
    """Score bases (log2 p), regions (sum and mean of log2 p) or variants (log-likelihood ratio of alleles).

    Both strands are read by default: a base is predicted once from what comes before it and once from what comes after
    it, and the mean is given. Unit is bits.

    Example: hnet-dna score genome.fa --model run --bigwig log2p.bw

    Example: hnet-dna score --vcf in.vcf.gz --genome genome.fa --model run > out.vcf
    """
    if strand not in ("+", "-", "both"):
        raise UsageError(f"--strand {strand}: expected +, - or both")
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
    if vcf is not None and (regions is not None or any(tracks.values())):
        raise UsageError("--vcf writes a VCF alone; leave out --regions and tracks")
    if shard is not None and (vcf is not None or regions is not None):
        raise UsageError("--shard is for tracks; leave out --vcf and --regions")
    if vcf is None and regions is None and not any(tracks.values()):
        raise UsageError("say what to write: --bigwig, --bedgraph, --parquet or --regions")
    if out is not None and vcf is None and regions is None:
        raise UsageError("--out belongs to --vcf and --regions; tracks have options of their own")
    check_outputs(
        {"--out": out if vcf is None else with_index(out), **{f"--{kind}": path for kind, path in tracks.items()}},
        [fasta, genome, vcf, regions, model],
        {"--out": "text" if vcf is None else "VCF", "--bigwig": "bigWig", "--parquet": "Parquet"},
    )
    from hnet_dna.data.fetch import open_genome

    opened = open_genome((fasta if vcf is None else genome) or "")
    loaded = show.load_model(model)
    if vcf is not None:
        _variants(vcf, opened, loaded, str(model), window, strand, strict, out)
        return
    show.say_if_windowed(loaded)
    if regions is not None:
        _regions(regions, opened, loaded, strand, context, out)
    if any(tracks.values()):
        _tracks({kind: path for kind, path in tracks.items() if path is not None}, opened, loaded, strand, shard)


def _variants(
    vcf: str, genome: Genome, model: HNetLM, name: str, window: int, strand: Any, strict: bool, out: Path | None
) -> None:
    from hnet_dna.tracks.vcf import VcfScorer

    with ExitStack() as stack:
        stream = stack.enter_context(output(out, "vcf"))
        bar = stack.enter_context(show.bar(quiet=shares_terminal(out)))
        task = bar.add_task("scoring variants", total=None)
        scorer = VcfScorer(
            genome,
            model,
            name,
            window,
            strand,
            strict,
            on_records=lambda n: bar.update(task, description=f"{n:,} records"),
        )
        report = scorer.run(vcf, stream)
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in report.skipped.most_common())
    show.notes.print(
        f"{show.counted(report.records, 'record')}, {show.counted(report.scored, 'allele')} scored"
        + (f"; skipped: {reasons}" if reasons else "")
    )


def _regions(path: Path, genome: Genome, model: HNetLM, strand: Any, context: int, out: Path | None) -> None:
    from hnet_dna.data.regions import read_regions
    from hnet_dna.evaluate.base_scores import region_scores

    regions = read_regions(path, genome)
    with output(out) as stream:
        stream.write("#contig\tstart\tend\tname\tbases\tlog2p_sum\tlog2p_mean\n")
        for found in region_scores(genome, regions, model, strand, context=context):
            interval = found.region.interval
            mean = f"{found.log2p / found.bases:.6f}" if found.bases else "."
            stream.write(
                f"{interval.contig}\t{interval.start}\t{interval.end}\t{found.region.name or '.'}\t{found.bases}\t"
                f"{found.log2p:.4f}\t{mean}\n"
            )


def _tracks(paths: dict[str, Path], genome: Genome, model: HNetLM, strand: Any, shard: str | None) -> None:
    from hnet_dna.data.genome import whole
    from hnet_dna.data.shards import shard as shard_of
    from hnet_dna.evaluate.base_scores import base_scores
    from hnet_dna.tracks.values import Values

    contigs = genome.contigs if shard is None else shard_of(genome.contigs, shard)
    with Values() as values, show.bar() as bar:
        task = bar.add_task("scoring", total=sum(contig.length for contig in contigs))
        for contig in contigs:
            values.contig(contig.name, contig.length)
        for scores in base_scores(genome, [whole(contig) for contig in contigs], model, strand):
            values.add(scores.contig, scores.start, scores.log2p)
            bar.update(task, advance=len(scores.log2p), description=f"{scores.contig}:{scores.end:,}")
        for kind, path in paths.items():
            getattr(values, f"write_{kind}")(path)
    print(f"wrote {', '.join(map(str, paths.values()))}", file=sys.stderr)
