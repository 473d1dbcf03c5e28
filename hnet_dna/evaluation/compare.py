"""Held-out bits per base of a model beside those of uniform and Markov models, as a whole and by class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from hnet_dna.data.split import Split
from hnet_dna.evaluation.breakdown import GENOME, Breakdown, ClassBits
from hnet_dna.evaluation.counts import Counts, genome_counts
from hnet_dna.evaluation.markov import MAX_ORDER, MIXTURE, Baselines, count_words, markov_name
from hnet_dna.evaluation.novelty import Containment, Novelty
from hnet_dna.evaluation.score import Score
from hnet_dna.genome.genome import Genome, known_bases
from hnet_dna.genome.pieces import forward_pieces
from hnet_dna.inference.stream import annotate
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval

MODEL = "model"
_STRETCH = 1_000_000


@dataclass(frozen=True)
class Comparison:
    """Bits per base on the held-out part.

    Attributes:
        model: sums for the model, each held-out stretch streamed whole.
        classes: bits per base by class, all bases first.
        orders: of the Markov models.
        trained_on: how many of the bases the model was trained on; None where that is not known.
        containment: how much of the held-out sequence's words the training part has; None where that was not looked up.
    """

    model: Score
    classes: list[ClassBits]
    orders: tuple[int, ...]
    trained_on: int | None = None
    containment: Containment | None = None

    @property
    def whole(self) -> ClassBits:
        """All held-out bases."""
        return self.classes[0]

    @property
    def genomes(self) -> list[ClassBits]:
        """Each genome, where there are several."""
        return [one for one in self.classes if one.group == GENOME]

    @property
    def best_order(self) -> int:
        """The k with the fewest bits."""
        return min(self.orders, key=lambda order: self.whole.bits_per_base[markov_name(order)])

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "held_out_bases": self.whole.bases,
            "bits_per_base": self.whole.bits_per_base,
            "bits_per_base_95": [self.whole.low, self.whole.high],
            "best_markov_order": self.best_order,
            "positions_per_chunk": self.model.positions_per_chunk,
            "classes": [asdict(one) for one in self.classes[1:]],
            "containment": self.containment.to_dict() if self.containment else None,
        }


@dataclass(frozen=True)
class HeldOut:
    """A genome to evaluate on.

    Attributes:
        genome: the genome.
        split: `held_out` is predicted, `train` is what the Markov models count.
        name: by which its figures are reported, where there are several genomes.
    """

    genome: Genome
    split: Split
    name: str = ""


def compare(
    model: HNetLM,
    genomes: Sequence[HeldOut],
    *,
    annotation: Mapping[str, Sequence[Interval]] | None = None,
    orders: Sequence[int] = range(1, MAX_ORDER + 1),
    most: int | None = None,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
) -> Comparison | None:
    """Evaluate on the held-out parts; None where they have no base at all.

    Each genome's Markov models are counted on its own training part; those of a genome without one, which was held out
    whole, on the training parts of all the others.

    Args:
        model: any with an alphabet.
        genomes: what to evaluate on, and what only trained; several are classes of the comparison, and so are their
            contigs, as NAME:CONTIG.
        annotation: classes of intervals to report on, of a single genome.
        orders: of the Markov models.
        most: bases to evaluate on, shared out evenly over the genomes; where there are more, evenly spread stretches
            of a megabase are taken.
        on_progress: called with what is being done and the share of it done.
    """
    taken = [each.split.held_out for each in genomes] if most is None else spread_over(genomes, most)
    total = sum(known_bases(each.genome, intervals) for each, intervals in zip(genomes, taken, strict=True))
    if not total:
        return None
    breakdown = Breakdown([MODEL, "uniform", *map(markov_name, orders), MIXTURE], annotation)
    score = Score()
    on_progress("looking up words of the training part", 0.0)
    novelty = Novelty(
        [(each.genome, s) for each in genomes for interval in each.split.train for s in each.genome.segments(interval)]
    )
    others: Counts | None = None
    for each, held_out in zip(genomes, taken, strict=True):
        if not held_out:
            continue
        on_progress("counting words for the Markov models", score.read / total)
        if each.split.train:
            counts = genome_counts(each.genome, each.split.train, orders)
        else:
            counts = others = others or _counts_of_all(genomes, orders)
        baselines = Baselines.of_counts(counts)
        by_contig = {name: sorted(i for i in held_out if i.contig == name) for name in {i.contig for i in held_out}}
        for bases in annotate(forward_pieces(each.genome, held_out), model):
            score += Score.of(bases)
            bits = {MODEL: bases.bits, **baselines.feed(bases.codes, first=bases.first)}
            breakdown.add(bases, bits, each.name, novelty.mark(each.genome, by_contig, bases, each.name))
            on_progress("evaluating", score.read / total)
    return Comparison(score, breakdown.results(), tuple(orders), containment=novelty.containment())


def spread_over(genomes: Sequence[HeldOut], most: int) -> list[tuple[Interval, ...]]:
    """Return the held-out intervals of each genome, cut down to its even share of `most` bases."""
    share = max(1, most // max(1, sum(bool(each.split.held_out) for each in genomes)))
    return [spread(each.split.held_out, share) for each in genomes]


def _counts_of_all(genomes: Sequence[HeldOut], orders: Sequence[int]) -> Counts:
    parts = ((each.genome, part) for each in genomes for i in each.split.train for part in each.genome.segments(i))
    return count_words((genome.codes(part) for genome, part in parts), orders)


def spread(intervals: Sequence[Interval], most: int) -> tuple[Interval, ...]:
    """Return intervals as they are, or, where they have more than `most` bases, evenly spread stretches of them."""
    total = sum(map(len, intervals))
    if total <= most:
        return tuple(intervals)
    size, kept, due = max(1, min(_STRETCH, most // 8)), [], 0.0
    for interval in intervals:
        for start in range(interval.start, interval.end, size):
            stretch = Interval(interval.contig, start, min(start + size, interval.end))
            due += len(stretch) * most / total
            if due >= len(stretch):
                kept.append(stretch)
                due -= len(stretch)
    return tuple(kept)
