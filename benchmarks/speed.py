"""Prints speed of a training step, of `segment`, of bases one at a time and of Mamba-2 mixers, beside their goals.

    python benchmarks/speed.py [--threads 2] [--preset tiny]

All in one run, since machines differ and change: mixers as shares of this machine's matrix product, `segment` as a
multiple of training. With one thread it counts processor time, which other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from hnet_dna.config.presets import preset
from hnet_dna.config.schema import StageConfig
from hnet_dna.data.fasta import Piece
from hnet_dna.evaluate.generate import generate
from hnet_dna.evaluate.stream import PIECE, Stream, find_boundaries, forward
from hnet_dna.model.hnet import StageOutput
from hnet_dna.model.likelihood import targets_of
from hnet_dna.model.lm import HNetLM
from hnet_dna.model.mixer import Mamba2
from hnet_dna.model.rows import Rows
from hnet_dna.ops import use_backend
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.train.loss import language_model_loss
from hnet_dna.train.optim import build_optimizer
from hnet_dna.train.recipe import Recipe

MIXERS = ((64, 32, 0.35), (128, 64, 0.45), (256, 64, 0.55))  # width, state, share of the matrix product aimed at
SEGMENT_GOAL, BASE_GOAL = 6, 2000


def mixer_rate(width: int, states: int) -> float:
    """Return operations per second, of matrix products alone, of a mixer forward and backward at 8 x 1,024."""
    mixer = Mamba2(StageConfig(width, 0, states, 4, 2, 64, 0, 0, 0, 0, "cosine", 3, 0), 64)
    x = torch.randn(8, 1024, width, requires_grad=True)

    def run() -> None:
        y, _ = mixer(x, Rows.full(x), None)
        y.sum().backward()

    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / seconds(run)


def seconds(call: Callable[[], object], repeats: int = 5) -> float:
    """Return the best time of a few calls, after one to warm up."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    call()
    times = []
    for _ in range(repeats):
        began = clock()
        call()
        times.append(clock() - began)
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
    whole = len(piece) / seconds(lambda: stream.feed(piece))
    contig = [Piece("contig", PIECE * i, piece, uracils=0) for i in range(4)]
    segment = 4 * len(piece) / seconds(lambda: list(find_boundaries(contig, model, 0))) if rate else whole
    sampled = 200 / seconds(lambda: list(generate(model, 200)))
    state = forward(model, piece[None, :100], None, None).state
    single, column = Stream(model), piece[:1]
    single.feed(piece[:100])
    fed = 100 / seconds(lambda: [single.feed(column) for _ in range(100)])
    plain = 100 / seconds(lambda: [forward(model, column[None], state, None) for _ in range(100)])
    share = float(rate[0].boundary_mask.float().mean()) if rate else 1.0
    print(f"{arguments.preset}, {arguments.threads} threads, batch {recipe.batch} x {recipe.window}")
    print(f"fp32 matrix product            {flops / 1e9:10.0f} GFLOP/s")
    print(f"training step                  {train:10,.0f} bases/s  ({share:.2f} chunks per base)")
    print(f"  on the reference backend     {slow:10,.0f} bases/s  ({train / slow:.1f}x slower)")
    print(f"the whole model forward        {whole:10,.0f} bases/s  ({whole / train:.1f}x training)")
    if rate:
        told = f"{segment / train:.1f}x training; goal {SEGMENT_GOAL}x"
        print(f"segment, pieces of {PIECE:,}       {segment:10,.0f} bases/s  ({told})")
    print(f"base by base, generate         {sampled:10,.0f} bases/s  (goal {BASE_GOAL:,})")
    print(f"  the model alone              {fed:10,.0f} bases/s")
    print(f"  by PyTorch in place of numpy {plain:10,.0f} bases/s")
    for width, states, goal in MIXERS:
        share = mixer_rate(width, states) / flops
        print(f"mixer of width {width:<4}            {share:10.0%} of the matrix product  (goal {goal:.0%})")


if __name__ == "__main__":
    main()
