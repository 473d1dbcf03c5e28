"""Held-out bits per base of a model beside those of uniform and Markov models, as a whole and by class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

from hnet_dna.data.split import Split
from hnet_dna.evaluation.breakdown import GENOME, Breakdown, ClassBits
from hnet_dna.evaluation.counts import Counts, genome_counts
from hnet_dna.evaluation.markov import MIXTURE, ORDERS, Baselines, count_words, markov_name
from hnet_dna.evaluation.novelty import Containment, Novelty
from hnet_dna.evaluation.score import Score
from hnet_dna.genome.genome import Genome, known_bases
from hnet_dna.inference.strands import annotate_intervals
from hnet_dna.model.lm import HNetLM
from hnet_dna.progress import OnProgress, Work, ignore
from hnet_dna.sequence.interval import Interval

Parts: TypeAlias = "list[tuple[Interval, ...]]"  # intervals of each of several genomes
MODEL = "model"
_STRETCH = 1_000_000
# What a base that is trained on pays for, so that both together take a tenth of training: bases predicted, and bases
# whose words are counted and looked up (`benchmarks/closing.py`). On a CPU predicting costs 0.4 of training, words
# 0.004 of it. A GPU that trains on a million bases a second waits for one core, which needs 4 us and 0.4 us.
_AFFORDED = {"cpu": (1 / 10, 10.0), "cuda": (1 / 80, 1 / 8)}
_LEAST, _MOST = (1_100_000, 50_000_000), 20_000_000


@dataclass(frozen=True)
class Sample:
    """How much of large genomes an evaluation takes, at most.

    Attributes:
        held_out: bases that are predicted.
        train: bases in which words are counted for the Markov models.
    """

    held_out: int
    train: int

    @classmethod
    def after(cls, trained: int, device: str, ranks: int) -> Sample:
        """Return what takes at most about a tenth of the time of training, or, if that is more, about a minute.

        It follows from what was trained, and not from a clock: a run that is repeated is evaluated on the same bases.

        Args:
            trained: bases trained on.
            device: kind of device that they were trained on, "cpu" or "cuda".
            ranks: processes that trained; one of them evaluates.
        """
        predicted, counted = (int(trained * afforded / ranks) for afforded in _AFFORDED[device])
        return cls(min(max(predicted, _LEAST[0]), _MOST), max(counted, _LEAST[1]))


@dataclass(frozen=True)
class Comparison:
    """Bits per base on the held-out part.

    Attributes:
        model: sums for the model, each held-out stretch streamed whole.
        classes: bits per base by class, all bases first.
        orders: of the Markov models.
        trained_on: how many of the bases the model was trained on; None where that is not known.
        containment: how much of the held-out sequence's words the training part has; None where that was not looked up.
        counted: bases of the training part whose words the Markov models know.
    """

    model: Score
    classes: list[ClassBits]
    orders: tuple[int, ...]
    trained_on: int | None = None
    containment: Containment | None = None
    counted: int = 0

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
            "counted_bases": self.counted,
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
    orders: Sequence[int] = ORDERS,
    sample: Sample | None = None,
    streams: int | None = None,
    on_progress: OnProgress = ignore,
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
        sample: what to take at most, shared out evenly over the genomes: where there is more, evenly spread stretches
            of a megabase. Only a training part that is taken whole is searched for words of the held-out bases.
        streams: held-out intervals that are run side by side, at most; what suits the model's device where None.
        on_progress: called with a `Progress` as the work goes on.
    """
    taken, train = sampled(genomes, sample)
    total = sum(known_bases(each.genome, intervals) for each, intervals in zip(genomes, taken, strict=True))
    if not total:
        return None
    breakdown = Breakdown([MODEL, "uniform", *map(markov_name, orders), MIXTURE], annotation)
    score = Score()
    counted = [
        (each.genome, s)
        for each, part in zip(genomes, train, strict=True)
        for i in part
        for s in each.genome.segments(i)
    ]
    novelty = None
    with Work(on_progress, "evaluating", total, "bases") as work:
        if bases_of(train) == bases_of(each.split.train for each in genomes):
            work.at("looking up words of the training part")
            novelty = Novelty(counted)
        others: Counts | None = None
        for each, held_out, part in zip(genomes, taken, train, strict=True):
            if not held_out:
                continue
            work.at("counting words for the Markov models")
            if part:
                counts = genome_counts(each.genome, part, orders)
            else:
                counts = others = others or count_words((genome.codes(segment) for genome, segment in counted), orders)
            baselines = Baselines.of_counts(counts)
            work.at()
            by_contig = {name: sorted(i for i in held_out if i.contig == name) for name in {i.contig for i in held_out}}
            for bases in annotate_intervals(each.genome, held_out, model, streams=streams, on_bases=work.add):
                score += Score.of(bases)
                bits = {MODEL: bases.bits, **baselines.feed(bases.codes, first=bases.first)}
                marked = novelty.mark(each.genome, by_contig, bases, each.name) if novelty else None
                breakdown.add(bases, bits, each.name, marked)
    containment = novelty.containment() if novelty else None
    return Comparison(
        score, breakdown.results(), tuple(orders), containment=containment, counted=sum(len(s) for _, s in counted)
    )


def sampled(genomes: Sequence[HeldOut], sample: Sample | None) -> tuple[Parts, Parts]:
    """Return the held-out intervals of each genome, and those to count words in, cut down to what a sample takes."""
    held_out: Parts = [each.split.held_out for each in genomes]
    train: Parts = [each.split.train for each in genomes]
    if sample is None:
        return held_out, train
    return _spread_over(held_out, sample.held_out), _spread_over(train, sample.train)


def bases_of(parts: Iterable[Iterable[Interval]]) -> int:
    """Return the bases of the intervals of several genomes."""
    return sum(len(interval) for intervals in parts for interval in intervals)


def _spread_over(parts: Parts, most: int) -> Parts:
    """Cut the intervals of each genome down to its even share of `most` bases."""
    share = max(1, most // max(1, sum(map(bool, parts))))
    return [spread(intervals, share) for intervals in parts]


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
