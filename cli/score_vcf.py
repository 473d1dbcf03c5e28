"""What `hnet-dna score --vcf` does once its options are checked."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import show
from .outputs import output, shares_terminal

if TYPE_CHECKING:
    from hnet_dna.genome.genome import Genome
    from hnet_dna.model.lm import HNetLM


def score_vcf(
    vcf: str, genome: Genome, model: HNetLM, name: str, *, out: Path | None, quiet: bool, **settings: Any
) -> None:
    """Score the variants of a VCF by a model of that name; `settings` are those of `VcfScorer`."""
    from hnet_dna.text import called, count_lines, watched
    from hnet_dna.tracks.vcf import VcfScorer

    with ExitStack() as stack:
        stream = stack.enter_context(output(out, "vcf"))
        total = count_lines(vcf, "a VCF file") if show.is_small(vcf) else None
        about = called(vcf) if total is None else ""
        progress = stack.enter_context(
            show.Progress("scoring", total, "records", about=about, quiet=quiet, on_data=shares_terminal(out))
        )
        scorer = VcfScorer(genome, model, name, on_records=progress.update, command=sys.argv, **settings)
        stack.enter_context(watched(vcf, progress.read))
        report = scorer.run(vcf, stream.buffer)
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in report.skipped.most_common())
    show.notes.print(
        f"{show.counted(report.records, 'record')}, {show.counted(report.scored, 'allele')} scored"
        + (f"; skipped: {reasons}" if reasons else "")
    )
