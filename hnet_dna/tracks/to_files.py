"""Tracks of a genome in one reading: what a model makes of it is written as it comes, in constant memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from hnet_dna.annotation.regions import read_regions
from hnet_dna.errors import UsageError
from hnet_dna.files import is_streamed
from hnet_dna.genome.fasta import Piece, read_fasta
from hnet_dna.genome.genome import Genome, known_bases, whole
from hnet_dna.genome.open import GenomeLike, find_genome, open_with_progress
from hnet_dna.genome.shards import shard as shard_of
from hnet_dna.genome.twobit import is_twobit
from hnet_dna.inference.base_scores import base_scores
from hnet_dna.inference.load import load_model
from hnet_dna.inference.stream import log_windows, streams_of
from hnet_dna.model.lm import HNetLM
from hnet_dna.progress import OnProgress, Work, ignore, is_small
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.sequence.codes import n_ambiguous, n_known
from hnet_dna.sequence.interval import Interval
from hnet_dna.sequence.strand import Strand, check_strand
from hnet_dna.text import called, watched
from hnet_dna.tracks.bed import bed_file
from hnet_dna.tracks.bigbed import ChunkFile, check_pybigtools
from hnet_dna.tracks.outputs import TrackFiles
from hnet_dna.tracks.segment import Segmenter, Style, in_order
from hnet_dna.tracks.values import Values
from hnet_dna.tracks.windows import Windows

_log = logging.getLogger(__name__)


def segment_to_files(
    genome: GenomeLike,
    model: str | Path | HNetLM,
    files: TrackFiles,
    *,
    stage: int = 0,
    strand: Strand = "+",
    style: Style = "chunks",
    regions: str | Path | Sequence[Interval] | None = None,
    shard: str | None = None,
    streams: int | None = None,
    on_progress: OnProgress = ignore,
) -> int:
    """Find the chunks of a genome and write them in one reading, and say how many there are.

    Memory grows neither with the genome nor with the number of files. Without several streams, the forward strand of a
    whole FASTA file is read as it comes, without a store, and so is that of a pipe in any case.

    Args:
        genome: anything that `open_genome` takes.
        model: anything that `load_model` takes.
        files: where chunks, probabilities and chunks per kilobase go.
        stage: chunking stage, 0 outermost.
        strand: `+`, `-` or `both`.
        style: lines of BED for `chunks`, for their first bases (`points`), or BED12 whose blocks are the chunks of the
            stage outside (`nested`).
        regions: a BED file or intervals; nothing outside them is read, and each on its own.
        shard: I/N, only the I-th of N parts of whole contigs and about equal length.
        streams: contigs, regions and strands that are run side by side, at most; what suits the model's device where
            None. Results that wait for their turn are on the disk.
        on_progress: called with a `Progress` as the work goes on.

    Raises:
        UsageError: the model has no such stage or strand, arguments contradict each other, or a library is missing.
        SequenceError: the genome cannot be read, or a region is not part of it.

    Example:
        >>> from hnet_dna import TrackFiles, segment_to_files
        >>> files = TrackFiles("found.bed", bigwig="found.bw")  # found.bw: the boundary probability of each base
        >>> segment_to_files({"chr1": "ACGTTGCA" * 40}, "five-genomes", files) > 0
        True
    """
    check_strand(strand)
    if shard is not None and regions is not None:
        raise UsageError("give `shard` or `regions`, not both")
    if files.bigbed is not None:
        check_pybigtools()
    of_strands = files.of_strands(strand)
    place = _whole_fasta(genome) if strand == "+" and regions is None and shard is None else None
    loaded = load_model(model)
    if place is not None and ((streams or streams_of(loaded)) == 1 or is_streamed(place)):
        source: _AsItComes | _Stored = _AsItComes(place)
    else:
        source = _Stored(open_with_progress(genome, on_progress), strand, regions, shard)
    log_windows(loaded)
    about = called(source.name) if source.bases is None else ""
    with ExitStack() as stack:
        bed = None if files.out is None else stack.enter_context(bed_file(files.out))
        work = stack.enter_context(Work(on_progress, "segmenting", source.bases, "bases", about=about))
        per_base = {one: paths for one, paths in of_strands.items() if paths.keys() - {"summary"}}
        values = {one: stack.enter_context(Values()) for one in per_base}
        windows = {one: Windows(files.summary) for one in of_strands if files.summary is not None}
        held = None if files.bigbed is None else stack.enter_context(ChunkFile())
        sinks = {one: [sink for sink in (held, windows.get(one)) if sink is not None] for one in of_strands}
        segmenter = Segmenter(
            loaded, bed, stage, style, values.get("+"), values.get("-"), sinks, streams=streams, on_bases=work.add
        )
        count = source.run(segmenter, work)
        for one, counts in windows.items():
            counts.write_bigwig(of_strands[one]["summary"])
        if held is not None and files.bigbed is not None:
            held.write_bigbed(Path(files.bigbed))
        for one, paths in per_base.items():
            values[one].write(paths)
    for line in alphabet(loaded.config.alphabet).rereads(source.ambiguous, source.uracils):
        _log.info(line)
    if count == 0:
        _log.info("%s: no chunks, because it holds nothing but N", called(source.name))
    return count


def score_to_files(
    genome: GenomeLike,
    model: str | Path | HNetLM,
    files: TrackFiles,
    *,
    strand: Strand = "both",
    shard: str | None = None,
    streams: int | None = None,
    on_progress: OnProgress = ignore,
) -> None:
    """Write log2 p of every base of a genome, in one reading and in constant memory.

    Args:
        genome: anything that `open_genome` takes.
        model: anything that `load_model` takes.
        files: where log2 p of each base goes, and its mean in windows. Scores have no BED and no bigBed.
        strand: which strand predicts a base, or the mean of both.
        shard: I/N, only the I-th of N parts of whole contigs and about equal length.
        streams: contigs, regions and strands that are run side by side, at most; what suits the model's device where
            None. Results that wait for their turn are on the disk.
        on_progress: called with a `Progress` as the work goes on.

    Raises:
        UsageError: there is no such strand or part.
        SequenceError: the genome cannot be read.

    Example:
        >>> from hnet_dna import TrackFiles, score_to_files
        >>> score_to_files({"chr1": "ACGTTGCA" * 40}, "five-genomes", TrackFiles(bigwig="s.bw", summary=100))
    """
    check_strand(strand)
    (paths,) = files.of_strands("+").values()
    opened, loaded = open_with_progress(genome, on_progress), load_model(model)
    log_windows(loaded)
    contigs = opened.contigs if shard is None else shard_of(opened.contigs, shard)
    intervals = [whole(contig) for contig in contigs]
    windows = None if files.summary is None else Windows(files.summary)
    total = known_bases(opened, intervals) * (2 if strand == "both" else 1)
    with Values() as values, Work(on_progress, "scoring", total, "bases") as work:
        for contig in contigs:
            values.contig(contig.name, contig.length)
            if windows is not None:
                windows.contig(contig.name, contig.length)
        for scores in base_scores(opened, intervals, loaded, strand, streams=streams, on_bases=work.add):
            values.add(scores.contig, scores.start, scores.log2p)
            if windows is not None:
                windows.add_scores(scores)
        if windows is not None:
            windows.write_bigwig(paths["summary"])
        values.write(paths)


def _whole_fasta(genome: GenomeLike) -> Path | None:
    """Return the FASTA file, pipe or `-` that a genome is, if it is one."""
    place = find_genome(genome) if isinstance(genome, str) else genome
    return place if isinstance(place, Path) and (is_streamed(place) or not is_twobit(place)) else None


class _AsItComes:
    """A FASTA file that is read while its chunks are found.

    Attributes:
        name: for messages.
        bases: how many are run; None where that is not soon counted.
        ambiguous, uracils: IUPAC letters other than A, C, G, T and N, and letters U, in what has been read.
    """

    def __init__(self, place: Path) -> None:
        self.name, self.ambiguous, self.uracils = place, 0, 0
        self.bases = sum(n_known(piece.codes) for piece in read_fasta(place)) if is_small(place) else None

    def run(self, segmenter: Segmenter, work: Work) -> int:
        with watched(self.name, work.read):
            return segmenter.run(self._counted())

    def _counted(self) -> Iterator[Piece]:
        for piece in read_fasta(self.name, check=True):
            self.ambiguous += n_ambiguous(piece.codes)
            self.uracils += piece.uracils
            yield piece


class _Stored:
    """Contigs, or regions, of a genome that has been opened; the attributes are those of `_AsItComes`."""

    def __init__(
        self, genome: Genome, strand: Strand, regions: str | Path | Sequence[Interval] | None, shard: str | None
    ) -> None:
        contigs = genome.contigs if shard is None else shard_of(genome.contigs, shard)
        self.name, self._genome, self._strand = genome.source, genome, strand
        self.ambiguous = sum(contig.ambiguous for contig in contigs)
        self.uracils = sum(contig.uracils for contig in contigs)
        if isinstance(regions, str | Path):
            regions = [region.interval for region in read_regions(regions, genome)]
        self._intervals = [whole(contig) for contig in contigs] if regions is None else in_order(genome, regions)
        self.bases: int | None = known_bases(genome, self._intervals) * (2 if strand == "both" else 1)

    def run(self, segmenter: Segmenter, work: Work) -> int:
        del work  # the segmenter reports to it
        return segmenter.run_strands(self._genome, self._intervals, self._strand)
