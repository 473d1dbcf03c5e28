"""`hnet-dna segment`: write learned chunks as BED, and the probabilities behind them as bigWig or bedGraph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from hnet_dna.errors import UsageError

from . import options, show
from .outputs import check_outputs, output, shares_terminal, with_index

if TYPE_CHECKING:
    from hnet_dna.data.fasta import Piece
    from hnet_dna.model.lm import HNetLM

_AMBIGUOUS = "other IUPAC codes read as N"
_URACILS = "U read as T"


def segment(
    fasta: Annotated[str, typer.Argument(metavar="GENOME", help=f"{options.GENOME_HELP} '-' reads FASTA from stdin.")],
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
) -> None:
    """Write the chunks of every contig as BED6, tiling it except for runs of N.

    Name is stage and index; score is 1000 x the boundary probability at the chunk's first base. The first base of a
    contig, and after a run of N, begins a chunk by definition (score 1000).

    Example: hnet-dna segment sample.fa --model run --bigwig boundaries.bw > boundaries.bed
    """
    if strand not in ("+", "-", "both"):
        raise UsageError(f"--strand {strand}: expected +, - or both")
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
    from hnet_dna.data.fetch import find_genome

    source = fasta if fasta == "-" else find_genome(fasta)  # a mistake is told before what takes seconds
    from hnet_dna.tracks.segment import Segmenter
    from hnet_dna.tracks.values import Values

    loaded = show.load_model(model)
    with ExitStack() as stack:
        values = {name: stack.enter_context(Values()) for name in wanted if bigwig or bedgraph}
        with output(out, "bed") as bed:
            bar = stack.enter_context(show.bar(quiet=shares_terminal(out)))
            task = bar.add_task("segmenting", total=None)
            segmenter = Segmenter(
                loaded,
                bed,
                stage,
                "points" if points else "nested" if nested else "chunks",
                values.get("plus"),
                values.get("minus"),
                on_part=lambda contig, position, lines: bar.update(
                    task, description=f"{contig}:{position:,}  {lines:,} chunks"
                ),
            )
            count = _run(source, segmenter, strand, regions, shard)
            for name, path in bigwigs.items():
                values[name].write_bigwig(path)
            for name, path in bedgraphs.items():
                values[name].write_bedgraph(path)
    if count == 0:
        show.notes.print(f"{fasta}: no chunks, because it holds nothing but N")


def write_bed(fasta: str | Path, model: HNetLM, stream: TextIO) -> int:
    """Segment a FASTA file into an open stream; return the number of chunks."""
    from hnet_dna.data.fasta import read_fasta
    from hnet_dna.tracks.segment import Segmenter

    return Segmenter(model, stream).run(read_fasta(fasta))


def _run(path: str | Path, segmenter: Any, strand: str, regions: Path | None, shard: str | None) -> int:
    from hnet_dna.data.fasta import read_fasta
    from hnet_dna.data.genome import Genome, whole
    from hnet_dna.data.regions import read_regions
    from hnet_dna.data.shards import shard as shard_of
    from hnet_dna.data.twobit import TWOBIT_SUFFIX
    from hnet_dna.sequence.alphabet import alphabet
    from hnet_dna.sequence.interval import union

    show.say_if_windowed(segmenter.model)
    count: int
    streamed = not isinstance(path, Path) or path.suffix != TWOBIT_SUFFIX
    if strand == "+" and regions is None and shard is None and streamed:
        seen = {_AMBIGUOUS: 0, _URACILS: 0}
        count = segmenter.run(_counted(read_fasta(path), seen))
    else:
        if not isinstance(path, Path):
            raise UsageError("--strand, --regions and --shard need a file, since they read parts of it; got stdin")
        genome = Genome.open(path)
        contigs = genome.contigs if shard is None else shard_of(genome.contigs, shard)
        intervals = [whole(contig) for contig in contigs]
        if regions is not None:
            chosen = union(region.interval for region in read_regions(regions, genome))
            order = {contig.name: index for index, contig in enumerate(genome.contigs)}
            intervals = sorted(chosen, key=lambda interval: (order[interval.contig], interval.start))
        count = segmenter.run_strands(genome, intervals, strand)
        seen = {
            _AMBIGUOUS: sum(contig.ambiguous for contig in contigs),
            _URACILS: sum(contig.uracils for contig in contigs),
        }
    for what, letters in seen.items():
        if letters and not (what == _AMBIGUOUS and alphabet(segmenter.model.config.alphabet).keeps_ambiguity):
            show.notes.print(f"{letters:,} {what}")
    return count


def _counted(pieces: Iterator[Piece], seen: dict[str, int]) -> Iterator[Piece]:
    """Pass pieces on, counting the letters that the model does not see as they are written."""
    from hnet_dna.sequence.codes import n_ambiguous

    for piece in pieces:
        seen[_AMBIGUOUS] += n_ambiguous(piece.codes)
        seen[_URACILS] += piece.uracils
        yield piece


def _of_strand(path: Path, name: str) -> Path:
    """Put the strand before the ending: b.plus.bw, b.plus.bedgraph.gz."""
    from hnet_dna.tracks.bgzip import is_compressed

    ending = (Path(path.stem).suffix if is_compressed(path) else "") + path.suffix
    return path.with_name(f"{path.name.removesuffix(ending)}.{name}{ending}")
