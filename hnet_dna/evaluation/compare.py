"""Held-out bits per base of a model beside those of uniform and Markov models, as a whole and by class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from hnet_dna.data.split import Split
from hnet_dna.evaluation.breakdown import Breakdown, ClassBits
from hnet_dna.evaluation.markov import MAX_ORDER, MIXTURE, Baselines, markov_name
from hnet_dna.evaluation.score import Score
from hnet_dna.genome.genome import Genome, known_bases
from hnet_dna.genome.pieces import forward_pieces
from hnet_dna.inference.stream import annotate
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval

MODEL = "model"


@dataclass(frozen=True)
class Comparison:
    """Bits per base on the held-out part.

    Attributes:
        model: sums for the model, each held-out stretch streamed whole.
        classes: bits per base by class, all bases first.
        orders: of the Markov models.
        trained_on: how many of the bases the model was trained on; None where that is not known.
    """

    model: Score
    classes: list[ClassBits]
    orders: tuple[int, ...]
    trained_on: int | None = None

    @property
    def whole(self) -> ClassBits:
        """All held-out bases."""
        return self.classes[0]

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
            "classes": [asdict(found) for found in self.classes[1:]],
        }


def compare(
    model: HNetLM,
    genome: Genome,
    split: Split,
    *,
    annotation: Mapping[str, Sequence[Interval]] | None = None,
    orders: Sequence[int] = range(1, MAX_ORDER + 1),
    on_progress: Callable[[str, float], None] = lambda what, share: None,
) -> Comparison | None:
    """Evaluate on the held-out part; None where it has no base at all.

    Args:
        model: any with an alphabet.
        genome: what to evaluate on.
        split: `held_out` is predicted, `train` is what the Markov models count.
        annotation: classes of intervals to report on.
        orders: of the Markov models.
        on_progress: called with what is being done and the share of it done.
    """
    total = known_bases(genome, split.held_out)
    if not total:
        return None
    on_progress("counting words for the Markov models", 0.0)
    train = [genome.codes(segment) for interval in split.train for segment in genome.segments(interval)]
    baselines = Baselines(train, orders)
    breakdown = Breakdown([MODEL, "uniform", *map(markov_name, orders), MIXTURE], annotation)
    score = Score()
    for bases in annotate(forward_pieces(genome, split.held_out), model):
        score += Score.of(bases)
        breakdown.add(bases, {MODEL: bases.bits, **baselines.feed(bases.codes, first=bases.first)})
        on_progress("evaluating", score.read / total)
    return Comparison(score, breakdown.results(), tuple(orders))
