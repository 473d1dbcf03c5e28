"""Held-out bits per base of a model beside those of uniform and Markov models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hnet_dna.data.genome import Genome
from hnet_dna.data.pieces import forward_pieces
from hnet_dna.data.split import Split
from hnet_dna.evaluate.markov import MAX_ORDER, markov_bits
from hnet_dna.evaluate.score import Score
from hnet_dna.evaluate.stream import annotate
from hnet_dna.model.lm import HNetLM


@dataclass(frozen=True)
class Comparison:
    """Bits per base on the held-out part.

    Attributes:
        model: sums for the model, each held-out segment streamed whole.
        markov: bits per base by order k, from 1.
        bases: bases A, C, G, T held out.
    """

    model: Score
    markov: dict[int, float]
    bases: int

    @property
    def best_order(self) -> int:
        """The k with the fewest bits."""
        return min(self.markov, key=lambda order: self.markov[order])

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "held_out_bases": self.bases,
            "bits_per_base": {
                "model": self.model.bits_per_base,
                "uniform": 2.0,
                **{f"markov_{order}": bits for order, bits in self.markov.items()},
            },
            "best_markov_order": self.best_order,
            "positions_per_chunk": self.model.positions_per_chunk,
        }


def compare(
    model: HNetLM,
    genome: Genome,
    split: Split,
    *,
    orders: range = range(1, MAX_ORDER + 1),
    on_progress: Callable[[str, float], None] = lambda what, share: None,
) -> Comparison | None:
    """Evaluate on the held-out part; None where it has no base at all.

    `on_progress` is called with what is being done and the share of it done.
    """
    held_out = [genome.codes(segment) for interval in split.held_out for segment in genome.segments(interval)]
    total = sum(map(len, held_out))
    if not total:
        return None
    score = Score()
    for bases in annotate(forward_pieces(genome, split.held_out), model):
        score += Score.of(bases)
        on_progress("evaluating the model", score.read / total)
    train = [genome.codes(segment) for interval in split.train for segment in genome.segments(interval)]
    markov = {}
    for order in orders:
        on_progress(f"Markov model, k = {order}", (order - 1) / len(orders))
        markov[order] = markov_bits(train, held_out, order)
    return Comparison(score, markov, score.bases)
