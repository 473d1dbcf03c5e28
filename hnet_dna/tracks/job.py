"""One job of segmenting: a genome read once, its chunks and probabilities written as they come, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

from hnet_dna.annotation.regions import read_regions
from hnet_dna.errors import UsageError
from hnet_dna.genome.fasta import Piece, read_fasta
from hnet_dna.genome.genome import Genome, is_streamed, known_bases, whole
from hnet_dna.genome.open import find_genome
from hnet_dna.genome.shards import shard as shard_of
from hnet_dna.genome.twobit import is_twobit
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.codes import n_ambiguous
from hnet_dna.sequence.strand import Strand, check_strand
from hnet_dna.tracks.bigbed import ChunkFile
from hnet_dna.tracks.segment import Segmenter, Style, in_order
from hnet_dna.tracks.values import Values
from hnet_dna.tracks.windows import WINDOW, Windows

TrackKind = Literal["bigwig", "bedgraph"]


def reads_once(source: str, strand: Strand = "+", regions: Path | None = None, shard: str | None = None) -> bool:
    """Tell whether a genome can be segmented while it is read, so that it needs no store: the forward strand of FASTA.

    Raises:
        SequenceError: there is no such genome.
        UsageError: its name is ambiguous, or that of an assembly that has not been fetched.
    """
    place = find_genome(source)
    if strand != "+" or regions is not None or shard is not None:
        return False
    return is_streamed(place) or not is_twobit(place)


@dataclass
class Written:
    """What a job of segmenting has written and met.

    Attributes:
        chunks: how many.
        ambiguous: IUPAC letters other than A, C, G, T and N in what was read.
        uracils: letters U, which are read as T.
    """

    chunks: int = 0
    ambiguous: int = 0
    uracils: int = 0


class Segmentation:
    """A genome, and what is to be read of it.

    Attributes:
        bases: how many will be run, each strand counted; None where the genome is read as it comes.
    """

    def __init__(
        self,
        source: str | Path | Genome,
        strand: Strand = "+",
        *,
        regions: Path | None = None,
        shard: str | None = None,
    ) -> None:
        """Choose what is read.

        Args:
            source: a genome, or where `reads_once` says so the FASTA file, pipe or `-` itself.
            strand: `+`, `-` or `both`.
            regions: a BED file; nothing outside it is read, and each region on its own.
            shard: I/N, whole contigs that are the I-th of N parts of about equal length.
        """
        check_strand(strand)
        if shard is not None and regions is not None:
            raise UsageError("give `shard` or `regions`, not both")
        self._source, self._strand, self._written = source, strand, Written()
        self.bases: int | None = None
        if isinstance(source, Genome):
            contigs = source.contigs if shard is None else shard_of(source.contigs, shard)
            self._written.ambiguous = sum(contig.ambiguous for contig in contigs)
            self._written.uracils = sum(contig.uracils for contig in contigs)
            self._intervals = [whole(contig) for contig in contigs]
            if regions is not None:
                self._intervals = in_order(source, (region.interval for region in read_regions(regions, source)))
            self.bases = known_bases(source, self._intervals) * (2 if strand == "both" else 1)

    def write(
        self,
        model: HNetLM,
        bed: TextIO | None,
        *,
        stage: int = 0,
        style: Style = "chunks",
        tracks: Mapping[TrackKind, Mapping[str, Path]] | None = None,
        bigbed: Path | None = None,
        summary: Mapping[str, Path] | None = None,
        window: int = WINDOW,
        on_bases: Callable[[int], None] = lambda count: None,
    ) -> Written:
        """Write lines of BED as they come, then summary, bigBed, and tracks of boundary probability per base.

        Args:
            model: with at least `stage` + 1 chunking stages.
            bed: where the lines go; None for no lines.
            stage: chunking stage, 0 outermost.
            style: see `Segmenter`.
            tracks: by kind, the file for each strand (`+`, `-`) that is read.
            bigbed: the file for the chunks of all strands that are read.
            summary: the bigWig of chunks per kilobase in windows, for each strand that is read.
            window: bases of a window.
            on_bases: called with the number of bases run since the last call.
        """
        files = {kind: paths for kind, paths in (tracks or {}).items() if paths}
        with ExitStack() as stack:
            strands = {strand for paths in files.values() for strand in paths}
            values = {strand: stack.enter_context(Values()) for strand in sorted(strands)}
            chunks = None if bigbed is None else stack.enter_context(ChunkFile())
            windows = {strand: Windows(window) for strand in summary or ()}
            sinks: dict[str, list[ChunkFile | Windows]] = {s: [] if chunks is None else [chunks] for s in "+-"}
            for strand in windows:
                sinks[strand].append(windows[strand])
            segmenter = Segmenter(model, bed, stage, style, values.get("+"), values.get("-"), sinks, on_bases=on_bases)
            if isinstance(self._source, Genome):
                self._written.chunks = segmenter.run_strands(self._source, self._intervals, self._strand)
            else:
                self._written.chunks = segmenter.run(self._counted(read_fasta(self._source, check=True)))
            for strand, path in (summary or {}).items():
                windows[strand].write_bigwig(path)
            if chunks is not None and bigbed is not None:
                chunks.write_bigbed(bigbed)
            for kind, paths in files.items():
                for strand, path in paths.items():
                    (values[strand].write_bigwig if kind == "bigwig" else values[strand].write_bedgraph)(path)
        return self._written

    def _counted(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        for piece in pieces:
            self._written.ambiguous += n_ambiguous(piece.codes)
            self._written.uracils += piece.uracils
            yield piece
