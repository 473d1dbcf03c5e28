"""What `hnet-dna score --bigwig` and the like do once the options are checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import show

if TYPE_CHECKING:
    from hnet_dna.genome.genome import Genome
    from hnet_dna.model.lm import HNetLM
    from hnet_dna.sequence.strand import Strand


def score_tracks(
    paths: dict[str, Path],
    summaries: list[Path],
    window: int | None,
    genome: Genome,
    model: HNetLM,
    strand: Strand,
    shard: str | None,
    *,
    quiet: bool,
) -> None:
    """Write log2 p of each base in each of the formats that name the paths, and means in windows as summaries."""
    from hnet_dna.genome.genome import known_bases, whole
    from hnet_dna.genome.shards import shard as shard_of
    from hnet_dna.inference.base_scores import base_scores
    from hnet_dna.tracks.values import Values
    from hnet_dna.tracks.windows import Windows

    windows = None if window is None else Windows(window)
    contigs = genome.contigs if shard is None else shard_of(genome.contigs, shard)
    intervals = [whole(contig) for contig in contigs]
    total = known_bases(genome, intervals) * (2 if strand == "both" else 1)
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
    show.notes.print(f"wrote {', '.join(map(str, [*paths.values(), *summaries]))}")
