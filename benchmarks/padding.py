"""Prints what padding chunk counts to a multiple costs on this CPU: training steps and forward passes of `tiny`.

    python benchmarks/padding.py [--rounds 5]

Processor seconds, the best of the rounds, which alternate between the multiples; one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from hnet_dna.config.presets import preset
from hnet_dna.model import router
from hnet_dna.model.lm import HNetLM

MULTIPLES = (1, 32, 64)


def best(call: Callable[[], object], rounds: int) -> list[float]:
    """Return the least processor time of a call under each multiple."""
    times = [float("inf")] * len(MULTIPLES)
    for _ in range(rounds):
        for index, multiple in enumerate(MULTIPLES):
            router.PAD_TO["cpu"] = multiple
            began = time.process_time()
            call()
            times[index] = min(times[index], time.process_time() - began)
    return times


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Cost of padding chunks.")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = HNetLM(preset("tiny", "dna", 5))

    def train(ids: torch.Tensor) -> None:
        model.zero_grad()
        model(ids).logits.logsumexp(-1).sum().backward()

    def run(ids: torch.Tensor) -> None:
        with torch.inference_mode():
            model(ids)

    print(f"{'':<28}{'chunks':>8}" + "".join(f"{f'to {multiple}':>10}" for multiple in MULTIPLES))
    for name, call, shape in (
        ("training step", train, (4, 1024)),
        ("forward", run, (1, 8192)),
        ("forward", run, (16, 500)),
        ("forward", run, (1, 64)),
    ):
        ids = torch.randint(0, 4, shape)
        call(ids)
        chunks = int(model(ids).stages[0].boundary_mask.sum(1).max())
        times = best(lambda: call(ids), rounds)  # noqa: B023
        print(f"{name + f' {shape[0]} x {shape[1]:,}':<28}{chunks:>8}" + "".join(f"{t * 1e3:>7.1f} ms" for t in times))


if __name__ == "__main__":
    main()
