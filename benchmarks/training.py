"""Training steps of presets on a genome, timed in turns: what `speed.py` and `twins.py` share."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from hnet_dna.config.settings import resolve
from hnet_dna.data.batches import stream
from hnet_dna.data.mixture import Mixture
from hnet_dna.data.split import split_genome, training_segments
from hnet_dna.data.windows import Position, WindowSampler
from hnet_dna.genome.open import open_genome
from hnet_dna.model.lm import HNetLM
from hnet_dna.training.optim import build_optimizer, set_learning_rate
from hnet_dna.training.ranks import Ranks
from hnet_dna.training.step import Step
from hnet_dna.training.words import learn_words

# Steps before timing, so that it is of what most of a run is: a fresh router sets too many boundaries, unevenly among
# rows, and rates of decay, which decide how the scan divides its tiles, grow at first.
SETTLE = 200
ROUNDS, STEPS = 9, 5


class Training:
    """A training of a preset that goes on by one step for each call, at a constant rate of learning."""

    def __init__(self, preset: str, settings: Sequence[str], genome: str, device: str = "cpu") -> None:
        asked = resolve(preset, settings=settings)
        self.recipe = asked.recipe
        torch.manual_seed(0)
        model = HNetLM(asked.model)
        data = open_genome(genome)
        learn_words(model, Mixture.of(data, split_genome(data)))
        self.model = model.to(device)
        self._optimizer = build_optimizer(self.model, asked.model, asked.recipe)
        set_learning_rate(self._optimizer, asked.recipe.learning_rate)
        sampler = WindowSampler(training_segments(data, split_genome(data)), asked.recipe.window, 0)
        self._batches = stream([data], sampler, Position(), asked.recipe.batch)
        self._step = Step(self.model, asked.recipe, Ranks(device=torch.device(device)))
        self.sums: Tensor | None = None  # of the last step: nats, bases, norm, then positions and chunks of each stage

    def __call__(self) -> None:
        """Take one step."""
        self._optimizer.zero_grad(set_to_none=True)
        self.sums = self._step.run(next(self._batches))
        self._optimizer.step()


def clock() -> float:
    """Return seconds: of the processor with one thread, which other work on the machine disturbs least."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def seconds_per_step(trainings: Mapping[str, Callable[[], None]]) -> dict[str, float]:
    """Return the median seconds of a step of each, in turns, so that a busy machine slows all alike.

    A processor shared with other work is slower, not only less often there: times of runs that were trained at
    different hours cannot be compared, numbers of steps can.
    """
    for step in trainings.values():
        for _ in range(SETTLE):
            step()
    spent: dict[str, list[float]] = {name: [] for name in trainings}
    for _ in range(ROUNDS):
        for name, step in trainings.items():
            began = clock()
            for _ in range(STEPS):
                step()
            spent[name].append((clock() - began) / STEPS)
    return {name: statistics.median(times) for name, times in spent.items()}
