"""Prints speed of training, of `segment`, of bases one at a time and of Mamba-2 mixers, beside their goals.

    python benchmarks/speed.py [--threads 2] [--preset tiny] [--twin tiny-mamba2]

All in one run, since machines differ and change: training beside the isotropic twin, step by step in turns, on the
genome in the package; mixers as shares of this machine's matrix product, and beside the PyTorch path of transformers
where that is installed; `segment` as a multiple of training. With one thread it counts processor time, which other work
on the machine disturbs least.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode
from training import Training, clock, seconds_per_step

from hnet_dna.config.schema import StageConfig
from hnet_dna.genome.fasta import Piece
from hnet_dna.inference.generate import sample
from hnet_dna.inference.one_base import OneBase
from hnet_dna.inference.stream import PIECE, forward, forward_one, read_sources
from hnet_dna.model.cost import cost_of
from hnet_dna.model.hnet import InnerState
from hnet_dna.model.lm import HNetOutput
from hnet_dna.model.mixer import Mamba2
from hnet_dna.model.rows import Rows
from hnet_dna.ops import use_backend
from hnet_dna.sequence.codes import Codes

GENOME = "yeast"
MIXERS = ((64, 32, 0.35), (128, 64, 0.45), (256, 64, 0.55))  # width, state, share of the matrix product aimed at
HEAD, TILE, SHAPE = 64, 64, (8, 1024)
TWIN_GOAL, SEGMENT_GOAL, BASE_GOAL, TRANSFORMERS_GOAL = 1, 6, 2000, 30


def both_ways(mixer: Callable[[torch.Tensor], torch.Tensor], width: int) -> Callable[[], None]:
    """Return a call that runs a mixer forward and backward at 8 x 1,024."""
    x = torch.randn(*SHAPE, width, requires_grad=True)
    return lambda: mixer(x).sum().backward()


def our_mixer(width: int, states: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return our Mamba-2 mixer as a function of only x."""
    mixer = Mamba2(StageConfig(width, 0, states, 4, 2, HEAD, 0, 0, 0, 0, "cosine", 3, 0), TILE)
    return lambda x: mixer(x, Rows.full(x), None)[0]


def transformers_mixer(width: int, states: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the same mixer of transformers, on its PyTorch path."""
    from transformers import Mamba2Config
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    config = Mamba2Config(
        hidden_size=width,
        state_size=states,
        num_heads=2 * width // HEAD,
        head_dim=HEAD,
        n_groups=1,
        chunk_size=TILE,
        use_bias=False,
    )
    mixer = Mamba2Mixer(config, layer_idx=0)
    return lambda x: mixer(x)  # by PyTorch, where the tensors are on a CPU


def seconds(call: Callable[[], object], repeats: int = 5) -> float:
    """Return the best time of a few calls, after one to warm up."""
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
    parser.add_argument("--twin", default="tiny-mamba2")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    names = list(dict.fromkeys([arguments.preset, arguments.twin]))
    trainings = {name: Training(name, (), GENOME) for name in names}
    taken = seconds_per_step(trainings)
    training = trainings[arguments.preset]
    recipe, model = training.recipe, training.model
    assert training.sums is not None
    ratios = [float(p / c) for p, c in training.sums[3:].reshape(2, -1).T] if model.n_chunking_stages else []
    bases = recipe.batch * recipe.window
    train = bases / taken[arguments.preset]
    with use_backend("reference"):
        slow = bases / seconds(training, repeats=1)

    square = torch.randn(1024, 1024)
    peak = 2 * 1024**3 / seconds(lambda: square @ square)
    piece = torch.randint(0, 4, (PIECE,), dtype=torch.uint8).numpy()
    model.eval()
    whole = len(piece) / seconds(lambda: forward(model, piece[None], None, None))
    contig = [Piece("contig", PIECE * i, piece, uracils=0) for i in range(4)]
    sampled = 200 / seconds(lambda: list(sample(model, 200)))
    state = forward(model, piece[None, :100], None, None).state
    one_base = OneBase(model)

    def one_by_one(run: Callable[[Codes, InnerState | None], HNetOutput]) -> None:
        after = state
        for base in piece[100:200]:
            after = run(base.reshape(1, 1), after).state

    fed = 100 / seconds(lambda: one_by_one(partial(forward_one, one_base)))
    plain = 100 / seconds(lambda: one_by_one(lambda codes, after: forward(model, codes, after, None)))

    share = train * cost_of(model.config, ratios, recipe.window).training_flops / peak
    print(f"{arguments.preset}, {arguments.threads} threads, batch {recipe.batch} x {recipe.window}")
    print(f"fp32 matrix product            {peak / 1e9:10.0f} GFLOP/s")
    print(f"training                       {train:10,.0f} bases/s  ({share:.0%} of the matrix product)")
    for ratio in ratios:
        print(f"  positions per chunk          {ratio:10.2f}")
    for name in names[1:]:
        twin = bases / taken[name]
        print(f"  {name:<29}{twin:10,.0f} bases/s  ({train / twin:.2f}x as fast; goal {TWIN_GOAL})")
    print(f"  on the reference backend     {slow:10,.0f} bases/s  ({train / slow:.1f}x slower)")
    print(f"the whole model forward        {whole:10,.0f} bases/s  ({whole / train:.1f}x training)")
    if ratios:
        segment = 4 * len(piece) / seconds(lambda: list(read_sources([contig], model, stage=0)))
        verdict = f"{segment / train:.1f}x training; goal {SEGMENT_GOAL}x"
        print(f"segment, pieces of {PIECE:,}       {segment:10,.0f} bases/s  ({verdict})")
    print(f"base by base, generate         {sampled:10,.0f} bases/s  (goal {BASE_GOAL:,})")
    print(f"  the model by itself          {fed:10,.0f} bases/s")
    print(f"  by PyTorch in place of numpy {plain:10,.0f} bases/s")
    for width, states, goal in MIXERS:
        ours = both_ways(our_mixer(width, states), width)
        with FlopCounterMode(display=False) as counter:
            ours()
        took = seconds(ours)
        rate = counter.get_total_flops() / took / peak
        print(f"mixer of width {width:<4}            {rate:10.0%} of the matrix product  (goal {goal:.0%})")
        try:
            theirs = seconds(both_ways(transformers_mixer(width, states), width), repeats=2)
        except ImportError:
            continue
        print(f"  against transformers         {theirs / took:10.1f}x as fast  (goal {TRANSFORMERS_GOAL}x)")


if __name__ == "__main__":
    main()
