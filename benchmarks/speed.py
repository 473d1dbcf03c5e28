"""Prints speed of a training step and of `segment` for a preset, as ratios to this machine's matrix product.

python benchmarks/speed.py [--threads 2] [--preset tiny]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from hnet_dna.config.presets import preset
from hnet_dna.evaluate.stream import PIECE, Stream
from hnet_dna.model.hnet import StageOutput
from hnet_dna.model.likelihood import targets_of
from hnet_dna.model.lm import HNetLM
from hnet_dna.ops import use_backend
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.train.loss import language_model_loss
from hnet_dna.train.optim import build_optimizer
from hnet_dna.train.recipe import Recipe


def seconds(call: Callable[[], object], repeats: int = 5) -> float:
    """Return the best time of a few calls, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Speed on this machine.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--preset", default="tiny")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    letters, recipe = alphabet("dna"), Recipe()
    model = HNetLM(preset(arguments.preset, letters.name, letters.vocab_size))
    optimizer = build_optimizer(model, model.config, recipe)
    codes = torch.randint(0, 4, (recipe.batch, recipe.window + 1), dtype=torch.uint8)
    targets = [recipe.ratio_target(s) for s in range(model.n_chunking_stages)]
    weights = [recipe.ratio_weight(s) for s in range(model.n_chunking_stages)]
    rate: list[StageOutput] = []

    def step() -> None:
        output = model(codes[:, :-1].long())
        rate[:] = output.stages
        optimizer.zero_grad(set_to_none=True)
        loss = language_model_loss(output, targets_of(codes[:, 1:]), letters, targets, weights)
        loss.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    square = torch.randn(1024, 1024)
    flops = 2 * 1024**3 / seconds(lambda: square @ square)
    bases = recipe.batch * recipe.window
    train = bases / seconds(step)
    with use_backend("reference"):
        slow = bases / seconds(step, repeats=1)
    piece = torch.randint(0, 4, (PIECE,), dtype=torch.uint8).numpy()
    stream = Stream(model.eval())
    segment = len(piece) / seconds(lambda: stream.feed(piece))
    single = Stream(model)
    single.feed(piece[:1000])
    generate = 1 / seconds(lambda: single.feed(piece[:1]), repeats=200)
    share = float(rate[0].boundary_mask.float().mean()) if rate else 1.0
    print(f"{arguments.preset}, {arguments.threads} threads, batch {recipe.batch} x {recipe.window}")
    print(f"fp32 matrix product            {flops / 1e9:10.0f} GFLOP/s")
    print(f"training step                  {train:10,.0f} bases/s  ({share:.2f} chunks per base)")
    print(f"  on the reference backend     {slow:10,.0f} bases/s  ({train / slow:.1f}x slower)")
    print(f"segment, pieces of {PIECE:,}       {segment:10,.0f} bases/s  ({segment / train:.1f}x training)")
    print(f"base by base                   {generate:10,.0f} bases/s")


if __name__ == "__main__":
    main()
