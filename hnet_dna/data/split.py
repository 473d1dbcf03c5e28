"""Which bases train and which are held out. No base is in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hnet_dna.data.genome import Genome, whole
from hnet_dna.errors import SequenceError, TrainingError
from hnet_dna.sequence.interval import Interval

HELD_OUT_SHARE = 0.1


@dataclass(frozen=True)
class Split:
    """Disjoint intervals for training and for evaluation, and how they were chosen."""

    train: tuple[Interval, ...]
    held_out: tuple[Interval, ...]
    rule: str


def split_genome(genome: Genome, held_out: Sequence[str] = ()) -> Split:
    """Hold out the named contigs, or by default about a tenth of the genome.

    The default takes whole contigs where some come near a tenth together: the one contig closest to it if its share
    lies between 5 and 15 %, else, in genomes of 20 contigs or more, contigs from the shortest up until a tenth is
    reached. Other genomes give the last tenth of each contig.
    """
    if held_out:
        names = {genome[name].name for name in held_out}
        return _by_contig(genome, names, "as asked")
    share = {contig.name: contig.length / genome.length for contig in genome.contigs}
    nearest = min(share, key=lambda name: abs(share[name] - HELD_OUT_SHARE))
    if 0.05 <= share[nearest] <= 0.15 and len(share) > 1:
        return _by_contig(genome, {nearest}, "the contig closest to a tenth of the genome")
    if len(share) >= 20:
        names, total = set(), 0.0
        for name in sorted(share, key=lambda name: (share[name], name)):
            if total >= HELD_OUT_SHARE:
                break
            names.add(name)
            total += share[name]
        if total <= 0.15:
            return _by_contig(genome, names, "the shortest contigs, up to a tenth of the genome")
    cuts = [(contig, contig.length - round(contig.length * HELD_OUT_SHARE)) for contig in genome.contigs]
    return Split(
        tuple(Interval(contig.name, 0, cut) for contig, cut in cuts if cut > 0),
        tuple(Interval(contig.name, cut, contig.length) for contig, cut in cuts if cut < contig.length),
        "the last tenth of each contig",
    )


def training_segments(genome: Genome, split: Split) -> list[Interval]:
    """Return the stretches between runs of N to train on, each of 2 bases or more."""
    segments = [s for interval in split.train for s in genome.segments(interval) if len(s) > 1]
    if not segments:
        raise TrainingError(
            f"{genome.source}: nothing to train on: no stretch of 2 or more bases between the runs of N"
        )
    return segments


def _by_contig(genome: Genome, names: set[str], rule: str) -> Split:
    train = tuple(whole(contig) for contig in genome.contigs if contig.name not in names)
    if not train:
        raise SequenceError(f"{genome.source}: every contig is held out; nothing is left to train on")
    return Split(train, tuple(whole(contig) for contig in genome.contigs if contig.name in names), rule)
