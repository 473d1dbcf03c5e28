"""Times the phases of a run's closing evaluation, per base, beside training: what `Sample.after` reckons with.

    python benchmarks/closing.py [--bases 20000000] [--preset tiny]

Words are counted and looked up in the training part; the other phases take held-out bases. The genome is random: no
phase depends on what its bases are. Times are of one processor core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from training import Training

from hnet_dna.evaluation.compare import Sample
from hnet_dna.evaluation.markov import ORDERS, Baselines, count_words
from hnet_dna.evaluation.novelty import Novelty
from hnet_dna.genome.open import open_genome
from hnet_dna.genome.pieces import forward_pieces
from hnet_dna.inference.stream import annotate
from hnet_dna.sequence.interval import Interval

HELD_OUT = 200_000  # bases
HG38 = 2_670_955_626  # bases of its training part


def main() -> None:
    """Print microseconds a base, and what the rule makes of them."""
    parser = argparse.ArgumentParser(description="The closing evaluation, by phase.")
    parser.add_argument("--bases", type=int, default=20_000_000, help="of the training part")
    parser.add_argument("--preset", default="tiny")
    options = parser.parse_args()
    torch.set_num_threads(1)
    letters = np.random.default_rng(0).choice(list("ACGT"), size=options.bases + HELD_OUT)
    genome = open_genome({"train": "".join(letters[HELD_OUT:]), "held": "".join(letters[:HELD_OUT])})
    train, held_out = Interval("train", 0, options.bases), Interval("held", 0, HELD_OUT)
    prices: dict[str, float] = {}

    def timed(what: str, bases: int, work: Callable[[], object]) -> object:
        began = time.process_time()
        result = work()
        prices[what] = (time.process_time() - began) / bases * 1e6
        print(f"{what:<36}{prices[what]:8.3f} us a base", flush=True)
        return result

    training = Training(options.preset, (), "yeast")
    for _ in range(20):
        training()
    per_step, steps = training.recipe.batch * training.recipe.window, 10
    timed(f"training {options.preset}", per_step * steps, lambda: [training() for _ in range(steps)])
    counts = timed("counting words, orders 1 to 12", options.bases, lambda: count_words([genome.codes(train)], ORDERS))
    novelty = timed("looking up words of 31 bases", options.bases, lambda: Novelty([(genome, train)]))
    assert isinstance(counts, dict)
    assert isinstance(novelty, Novelty)
    pieces = timed(
        "the model", HELD_OUT, lambda: list(annotate(forward_pieces(genome, [held_out]), training.model.eval()))
    )
    assert isinstance(pieces, list)
    baselines = Baselines.of_counts(counts)
    timed("Markov models", HELD_OUT, lambda: [baselines.feed(p.codes, first=p.first) for p in pieces])
    timed("words seen in training", HELD_OUT, lambda: [novelty.mark(genome, {"held": [held_out]}, p) for p in pieces])

    cost, count, look, *predicted = prices.values()
    print(f"\n{'bases trained on':>18}{'predicted':>14}{'counted':>16}{'seconds':>10}{'of training':>13}")
    for trained in (5_700_000, 50_000_000, HG38):
        sample = Sample.after(trained, "cpu", 1)
        counted = min(sample.train, HG38)
        looked = counted if counted == HG38 else 0  # only a training part that is counted whole is searched
        seconds = (counted * count + looked * look + sample.held_out * sum(predicted)) / 1e6
        share = seconds / (trained * cost / 1e6)
        print(f"{trained:18,}{sample.held_out:14,}{counted:16,}{seconds:10.0f}{share:13.1%}")


if __name__ == "__main__":
    main()
