"""`hnet-dna segment`: write learned chunks as BED, and the probabilities behind them as bigWig or bedGraph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from hnet_dna.errors import UsageError
from hnet_dna.sequence.strand import check_strand

from . import options, show
from .inputs import check_pipes
from .outputs import check_outputs, output, shares_terminal, with_index

if TYPE_CHECKING:
    from hnet_dna.genome.fasta import Piece
    from hnet_dna.genome.genome import Genome
    from hnet_dna.model.lm import HNetLM
    from hnet_dna.sequence.interval import Interval


def segment(
    fasta: Annotated[str, typer.Argument(metavar="GENOME", help=options.GENOME_HELP)],
    model: options.Model = options.BUILT_IN,
    stage: Annotated[int, typer.Option(metavar="N", help="Chunking stage, 0 outermost.", min=0)] = 0,
    strand: Annotated[str, typer.Option(metavar="STRAND", help="+, - or both.")] = "+",
    regions: Annotated[
        Path | None, typer.Option(metavar="BED", help="Read these regions alone, each from its start.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Whole contigs, the I-th of N parts of the genome of about equal length."),
    ] = None,
    points: Annotated[bool, typer.Option("--points", help="One line for the first base of each chunk.")] = False,
    nested: Annotated[bool, typer.Option("--nested", help="BED12: chunks with those of the stage outside.")] = False,
    bigwig: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Write boundary probability per base here.")
    ] = None,
    bedgraph: Annotated[Path | None, typer.Option(metavar="PATH", help="The same as bedGraph.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help="Write this file instead of to stdout; .bed.gz is compressed and indexed.",
        ),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Write the chunks of every contig as BED6, tiling it except for runs of N.

    Name is stage and index; score is 1000 x the boundary probability at the chunk's first base. The first base of a
    contig, and after a run of N, begins a chunk by definition (score 1000).

    Example: hnet-dna segment sample.fa --model run --bigwig boundaries.bw > boundaries.bed
    """
    strand = check_strand(strand)
    if shard is not None and regions is not None:
        raise UsageError("give --shard or --regions, not both")
    if points and nested:
        raise UsageError("give --points or --nested, not both")
    wanted = {"+": ["plus"], "-": ["minus"], "both": ["plus", "minus"]}[strand]
    bigwigs, bedgraphs = (
        {name: _of_strand(path, name) if strand == "both" else path for name in wanted} if path is not None else {}
        for path in (bigwig, bedgraph)
    )
    check_outputs(
        {"--out": with_index(out), "--bigwig": [*bigwigs.values()], "--bedgraph": [*bedgraphs.values()]},
        [fasta, regions, model],
        {"--bigwig": "bigWig"},
    )
    check_pipes({"GENOME": fasta, "--regions": regions})
    from hnet_dna.genome.fasta import read_fasta
    from hnet_dna.genome.genome import is_streamed, known_bases
    from hnet_dna.genome.open import find_genome
    from hnet_dna.genome.twobit import is_twobit
    from hnet_dna.sequence.codes import n_known
    from hnet_dna.text import called, watched

    source = find_genome(fasta)  # a mistake is told before what takes seconds
    from hnet_dna.sequence.alphabet import alphabet
    from hnet_dna.tracks.segment import Segmenter
    from hnet_dna.tracks.values import Values

    seen = _Seen()
    genome: Genome | None = None
    intervals: list[Interval] = []
    total: int | None = None
    if strand != "+" or regions is not None or shard is not None or (not is_streamed(source) and is_twobit(source)):
        genome = show.open_genome(fasta, quiet)
        intervals = _chosen(genome, regions, shard, seen)
        total = known_bases(genome, intervals) * len(wanted)
    elif show.is_small(source):
        total = sum(n_known(piece.codes) for piece in read_fasta(source))
    loaded = show.load_model(model)
    show.say_if_windowed(loaded)
    with ExitStack() as stack:
        values = {name: stack.enter_context(Values()) for name in wanted if bigwig or bedgraph}
        with output(out, "bed") as bed:
            about = called(fasta) if total is None else ""
            progress = stack.enter_context(
                show.Progress("segmenting", total, "bases", about=about, quiet=quiet, on_data=shares_terminal(out))
            )
            segmenter = Segmenter(
                loaded,
                bed,
                stage,
                "points" if points else "nested" if nested else "chunks",
                values.get("plus"),
                values.get("minus"),
                on_bases=progress.add,
            )
            if genome is not None:
                count = segmenter.run_strands(genome, intervals, strand)
            else:
                stack.enter_context(watched(source, progress.read))
                count = segmenter.run(_counted(read_fasta(source, check=True), seen))
            for name, path in bigwigs.items():
                values[name].write_bigwig(path)
            for name, path in bedgraphs.items():
                values[name].write_bedgraph(path)
    if seen.ambiguous and not alphabet(loaded.config.alphabet).keeps_ambiguity:
        show.notes.print(f"{seen.ambiguous:,} other IUPAC codes read as N")
    if seen.uracils:
        show.notes.print(f"{seen.uracils:,} U read as T")
    if count == 0:
        show.notes.print(f"{fasta}: no chunks, because it holds nothing but N")


def write_bed(
    fasta: str | Path, model: HNetLM, stream: TextIO, on_bases: Callable[[int], None] = lambda count: None
) -> int:
    """Segment a FASTA file into an open stream; return the number of chunks."""
    from hnet_dna.genome.fasta import read_fasta
    from hnet_dna.tracks.segment import Segmenter

    return Segmenter(model, stream, on_bases=on_bases).run(read_fasta(fasta))


@dataclass
class _Seen:
    """How many letters the model does not see as they are written."""

    ambiguous: int = 0
    uracils: int = 0


def _chosen(genome: Genome, regions: Path | None, shard: str | None, seen: _Seen) -> list[Interval]:
    from hnet_dna.annotation.regions import read_regions
    from hnet_dna.genome.genome import whole
    from hnet_dna.genome.shards import shard as shard_of
    from hnet_dna.sequence.interval import union

    contigs = genome.contigs if shard is None else shard_of(genome.contigs, shard)
    seen.ambiguous = sum(contig.ambiguous for contig in contigs)
    seen.uracils = sum(contig.uracils for contig in contigs)
    if regions is None:
        return [whole(contig) for contig in contigs]
    chosen = union(region.interval for region in read_regions(regions, genome))
    order = {contig.name: index for index, contig in enumerate(genome.contigs)}
    return sorted(chosen, key=lambda interval: (order[interval.contig], interval.start))


def _counted(pieces: Iterator[Piece], seen: _Seen) -> Iterator[Piece]:
    from hnet_dna.sequence.codes import n_ambiguous

    for piece in pieces:
        seen.ambiguous += n_ambiguous(piece.codes)
        seen.uracils += piece.uracils
        yield piece


def _of_strand(path: Path, name: str) -> Path:
    """Put the strand before the ending: b.plus.bw, b.plus.bedgraph.gz."""
    from hnet_dna.tracks.bgzip import is_compressed

    ending = (Path(path.stem).suffix if is_compressed(path) else "") + path.suffix
    return path.with_name(f"{path.name.removesuffix(ending)}.{name}{ending}")
