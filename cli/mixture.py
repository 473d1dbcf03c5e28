"""What people see of the genomes that a run reads, and of what is held out of them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from . import show

if TYPE_CHECKING:
    from hnet_dna.data.genome_mix import GenomeMix
    from hnet_dna.data.mixture import Mixture
    from hnet_dna.data.split import Split
    from hnet_dna.genome.genome import Genome
    from hnet_dna.sequence.alphabet import Alphabet


def open_genomes(mix: GenomeMix, quiet: bool, letters: Alphabet) -> list[Genome]:
    """Open the genomes of a mix, and say what was found and how far that is."""
    from hnet_dna.genome.open import open_genome as open_one

    if mix.plain:
        entry = mix.entries[0]
        return [show.open_genome(str(entry.genome), quiet, letters, aliases=entry.aliases)]
    made = logging.getLogger("hnet_dna.genome.store")
    level, opened = made.level, list[Any]()
    made.setLevel(logging.WARNING)  # hundreds of stores would be hundreds of lines
    try:
        with show.Progress("opening", len(mix.entries), "genomes", quiet=quiet) as progress:
            for number, entry in enumerate(mix.entries, start=1):
                opened.append(open_one(entry.genome, aliases=entry.aliases))
                progress.update(number, detail=entry.name)
    finally:
        made.setLevel(level)
    return opened


MOST_GENOMES = 12  # that are shown one by one


def mixture_lines(mixture: Mixture) -> list[str]:
    """Say which genomes a run reads, and what each part of them is."""
    if not mixture.several:
        return split_lines(mixture.parts[0].split)
    total = sum(part.genome.length for part in mixture.parts)
    lines = [f"genomes: {len(mixture.parts):,}, {total:,} bases"]
    for part in mixture.parts[:MOST_GENOMES]:
        split = part.split
        sizes = ", ".join(
            f"{name} {sum(map(len, intervals)):,}"
            for name, intervals in (("train", split.train), ("valid", split.valid), ("test", split.test))
        )
        contigs = show.counted(len(part.genome.contigs), "contig")
        lines.append(f"  {part.name}: {part.share:.2%} of the windows; {contigs}, bases: {sizes}; {split.rule}")
    if len(mixture.parts) > MOST_GENOMES:
        lines.append(f"  ... and {len(mixture.parts) - MOST_GENOMES:,} more")
    return lines


def split_lines(split: Split) -> list[str]:
    """Say what each part of a split is."""
    lines = [f"split: {split.rule}"]
    total = sum(len(interval) for part in (split.train, split.valid, split.test) for interval in part)
    for part in ("train", "valid", "test"):
        intervals = getattr(split, part)
        places = ", ".join(map(str, intervals[:3])) + (" ..." if len(intervals) > 3 else "")
        bases = sum(map(len, intervals))
        share = f" ({bases / total:.1%})" if bases else ""
        lines.append(f"  {part}: {bases:,} bases{share}: {places or 'nothing'}")
    if not split.valid:
        lines.append("  no best model is kept without a validation part; a BED file for --split can mark one as valid")
    return lines
