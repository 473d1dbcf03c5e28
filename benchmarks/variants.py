"""Prints how fast variants are scored, as a share of what the forward rate of the same model allows.

    python benchmarks/variants.py [--count 600] [--model five-genomes] [--threads 1]

Scattered variants have one alternative allele and a window of their own: 2 x (256 + 2 x 256) bases on both strands. Of
dense ones, all substitutions of consecutive bases that share one reading, each costs 2 x 256 bases. The forward rate is
that of one long row of pieces, in the bases of the CPU's own time for one thread, since other work slows both; it is
measured before and after each. Variants are of yeast chromosome XV.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from hnet_dna import load_model, open_genome
from hnet_dna.inference.effects import How
from hnet_dna.inference.stream import PIECE, forward
from hnet_dna.inference.variants import Variant, VariantReader
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval

_BEGIN = 110_000


def forward_rate(model: HNetLM) -> float:
    """Return bases per second of a long sequence."""
    codes = np.random.default_rng(0).integers(0, 4, (1, PIECE)).astype(np.uint8)
    state = forward(model, codes, None, None).state
    rates = []
    for _ in range(5):
        began = time.process_time()
        state = forward(model, codes, state, None).state
        rates.append(PIECE / (time.process_time() - began))
    return statistics.median(rates)


def measure(model: HNetLM, count: int, work: Callable[[], None]) -> tuple[float, float]:
    """Return alleles per second, and the forward rate around it."""
    before = forward_rate(model)
    began = time.process_time()
    work()
    seconds = time.process_time() - began
    return count / seconds, (before + forward_rate(model)) / 2


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Speed of variants.")
    parser.add_argument("--count", type=int, default=600, help="alternative alleles of each kind")
    parser.add_argument("--model", default="five-genomes")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, genome = load_model(options.model), open_genome("yeast")
    text = genome.sequence("chrXV", _BEGIN, _BEGIN + 100 * options.count).upper()

    def variant(offset: int, alleles: int) -> Variant:
        ref, start = text[offset], _BEGIN + offset
        return Variant(Interval("chrXV", start, start + 1), ref, tuple(b for b in "ACGT" if b != ref)[:alleles])

    scattered = [variant(100 * i, 1) for i in range(options.count)]
    dense = [variant(i, 3) for i in range(options.count // 3)]
    print(f"{'':<42}{'alleles/s':>10}{'bases/s':>10}{'limit':>8}{'share':>8}")
    for name, variants, how, bases in (
        ("scattered, a window of 512 each", scattered, How(), 1536),
        ("  the same, at least 512 bases before, shared", scattered, How(context=512), 1536),
        ("dense, a window of 512 each", dense, How(), 512),
        ("dense, at least 4,096 bases before, shared", dense, How(context=4096), 512),
        ("  the same with 64 bases of boundaries", dense, How(context=4096, boundaries=64), 512),
    ):

        def work(variants: list[Variant] = variants, how: How = how) -> None:
            for _ in VariantReader(genome, model, how).read(variants):
                pass

        speed, rate = measure(model, sum(len(one.alts) for one in variants), work)
        print(f"{name:<42}{speed:>10.1f}{rate:>10,.0f}{rate / bases:>8.1f}{speed * bases / rate:>8.0%}")


if __name__ == "__main__":
    main()
