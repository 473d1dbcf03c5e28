"""What `hnet-dna score --regions` does once its options are checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import show
from .outputs import output, shares_terminal

if TYPE_CHECKING:
    from hnet_dna.genome.genome import Genome
    from hnet_dna.model.lm import HNetLM
    from hnet_dna.sequence.strand import Strand


def score_regions(
    path: Path, genome: Genome, model: HNetLM, strand: Strand, context: int, *, out: Path | None, quiet: bool
) -> None:
    """Print sum and mean of log2 p for each region of a BED file."""
    from hnet_dna.annotation.regions import read_regions
    from hnet_dna.genome.genome import known_bases
    from hnet_dna.inference.base_scores import read_for, region_scores

    regions = read_regions(path, genome)
    total = known_bases(genome, read_for(genome, regions, context)) * (2 if strand == "both" else 1)
    about = f"{show.counted(len(regions), 'region')}, {total:,} bases"
    with (
        output(out) as stream,
        show.Progress("scoring", total, "bases", about=about, quiet=quiet, on_data=shares_terminal(out)) as progress,
    ):
        stream.write("#contig\tstart\tend\tname\tbases\tlog2p_sum\tlog2p_mean\n")
        for scored in region_scores(genome, regions, model, strand, context=context, on_bases=progress.add):
            interval = scored.region.interval
            mean = f"{scored.log2p / scored.bases:.6f}" if scored.bases else "."
            stream.write(
                f"{interval.contig}\t{interval.start}\t{interval.end}\t{scored.region.name or '.'}\t{scored.bases}\t"
                f"{scored.log2p:.4f}\t{mean}\n"
            )
