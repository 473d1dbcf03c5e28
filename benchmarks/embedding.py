"""Prints sequences per second of `hnet_dna.embed`, length-sorted batches against a loop over single sequences.

python benchmarks/embedding.py [--threads 2]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from hnet_dna.config.presets import preset
from hnet_dna.embedding.embedder import Embedder
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.alphabet import alphabet


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Speed of embedding.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    letters = alphabet("dna")
    torch.manual_seed(0)
    model = HNetLM(preset("tiny", letters.name, letters.vocab_size)).eval()
    random = np.random.default_rng(0)
    print(f"tiny, {options.threads} threads, lengths of half to one and a half times the mean, both strands")
    print(f"{'mean length':>12}{'batched':>12}{'one by one':>12}{'ratio':>8}{'padding':>10}{'difference':>12}")
    for length, count in ((200, 512), (1_000, 128), (10_000, 16)):
        sequences = [
            random.integers(0, 4, size=int(n)).astype(np.uint8)
            for n in random.integers(length // 2, length * 3 // 2, size=count)
        ]
        embedder = Embedder(model)
        embedder.embed(sequences[:4])
        embedder.run = embedder.padded = 0
        began = time.perf_counter()
        batched = embedder.embed(sequences)
        middle = time.perf_counter()
        alone = [Embedder(model).embed([sequence])[0] for sequence in sequences]
        end = time.perf_counter()
        worst = max(float(np.abs(a - b).max()) for a, b in zip(batched, alone, strict=True) if a is not None)  # type: ignore[operator]
        fast, slow = count / (middle - began), count / (end - middle)
        waste = embedder.padded / embedder.run - 1
        print(f"{length:>12,}{fast:>10.1f}/s{slow:>10.1f}/s{fast / slow:>7.1f}x{waste:>10.1%}{worst:>12.1e}")


if __name__ == "__main__":
    main()
