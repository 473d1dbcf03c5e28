"""Heads over vectors in their order: a network on `Inputs`, its settings chosen inside the rows it is trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hnet_dna.errors import CheckpointError, SequenceError
from hnet_dna.files import write_beside
from hnet_dna.probing.fitting import Goal, Rows, Schedule, Training, predict
from hnet_dna.probing.inputs import Inputs, backwards
from hnet_dna.probing.network import Network, Shape

SEQUENCE_HEADS = ("conv", "attention")
_ALIGNED = 1024  # bases of sequences of one length that may be aligned
_TRIAL = 2  # epochs at least after which the better of two settings goes on


@dataclass
class OnInputs:
    """A network on inputs that do not change; what `Training` trains."""

    network: Network
    inputs: Inputs

    @property
    def module(self) -> nn.Module:
        """The weights that are trained."""
        return self.network

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Bases of each row."""
        return self.inputs.lengths

    @property
    def symmetric(self) -> bool:
        """Whether both strands are read."""
        return self.network.shape.symmetric

    def logits(self, rows: Rows, *, turned: bool) -> Tensor:
        """Return the outputs of rows."""
        x = self.inputs.batch(rows, turned=turned)
        device = self.network.mean.device
        lengths = torch.from_numpy(self.inputs.lengths[rows]).to(device)
        result: Tensor = self.network(x.to(device), lengths)
        return backwards(result, lengths) if turned and result.dim() == 3 else result

    def groups(self) -> list[dict[str, Any]]:
        """Return all parameters as one group."""
        return [{"params": list(self.network.parameters())}]


@dataclass(frozen=True)
class SequenceHead:
    """A fitted network with what its outputs mean."""

    network: Network
    goal: Goal

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the scores; empty for regression."""
        return self.goal.classes

    def scores(self, inputs: Inputs, rows: Rows | None = None) -> NDArray[np.float64]:
        """Return the probabilities (N, classes) of rows, or the numbers (N, 1) of a regression.

        Those of a head per base are (N, L, classes) and (N, L, 1), and mean nothing after the end of a row.
        """
        rows = np.arange(len(inputs.lengths)) if rows is None else rows
        positions = self.network.shape.positions
        if positions and (others := inputs.lengths[rows][inputs.lengths[rows] != positions]).size:
            raise SequenceError(
                f"the head was trained on aligned sequences of {positions:,} bases, and one has {others[0]:,}; give "
                "sequences of that length"
            )
        return self.goal.scores(predict(OnInputs(self.network, inputs), rows))


def fit_sequence_head(
    kind: str,
    inputs: Inputs,
    goal: Goal,
    target: NDArray[np.generic],
    train: Rows,
    valid: Rows,
    seed: int,
    schedule: Schedule | None = None,
    on_rows: Callable[[int], None] = lambda count: None,
) -> tuple[SequenceHead, dict[str, Any]]:
    """Train a head on rows; return it, and the settings and epochs that the validation rows chose.

    Two settings are tried for a few epochs, and the better one goes on: both strands alike, or as given with the
    position (where all lengths are equal). Without validation rows the first is taken, and all epochs are run.
    """
    longest = int(inputs.lengths.max())
    per_base = target.ndim == 3
    aligned = longest if not per_base and longest <= _ALIGNED and len(np.unique(inputs.lengths)) == 1 else 0
    settings = [(0, inputs.turns), (aligned, False)]
    mean, deviation = _moments(inputs, train)
    schedule = schedule or Schedule.for_rows(len(train))
    trainings = []
    for positions, symmetric in settings[: 2 if len(valid) and settings[0] != settings[1] else 1]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Network(
                Shape(kind, inputs.width, goal.outputs, positions, symmetric, letters=inputs.letters, per_base=per_base)
            )
        network.scale_to(mean, deviation)
        network.to("cuda" if torch.cuda.is_available() else "cpu")
        trainings.append(Training(OnInputs(network, inputs), goal, target, train, valid, schedule, seed))
    if len(trainings) > 1:
        for training in trainings:
            training.run(max(_TRIAL, schedule.epochs // 8), on_rows)
    training = min(trainings, key=lambda each: each.best[0])
    training.run(on_rows=on_rows)
    training.use_best()
    what = training.what
    assert isinstance(what, OnInputs)
    chosen = {
        "symmetric": what.symmetric,
        "positions": what.network.shape.positions,
        "epochs": training.best[1],
        "inner_folds": int(len(valid) > 0),
    }
    return SequenceHead(what.network, goal), chosen


def _moments(inputs: Inputs, rows: Rows) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation of inputs over the bases of (some of) the rows trained on."""
    if inputs.width <= 4:  # letters are of one scale already
        return torch.zeros(inputs.width), torch.ones(inputs.width)
    some = rows[:: max(1, len(rows) // 500)]
    bases = torch.cat([inputs.batch(np.array([row]))[0] for row in some])
    return bases.mean(0), bases.std(0, unbiased=False)


def save_network(folder: Path, name: str, head: SequenceHead) -> dict[str, Any]:
    """Write the weights of a head as `name` (safetensors); return the rest, for JSON."""
    from safetensors.torch import save_file

    with write_beside(folder / name) as temporary:
        weights = {key: value.detach().cpu().contiguous() for key, value in head.network.state_dict().items()}
        save_file(weights, temporary)
    return {"shape": asdict(head.network.shape), "goal": asdict(head.goal)}


def load_network(path: Path, settings: dict[str, Any]) -> SequenceHead:
    """Read a head.

    Raises:
        CheckpointError: the weights cannot be read, or are of another shape.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        network = Network(Shape(**settings["shape"]))
        network.load_state_dict(load_file(path))
        goal = settings["goal"]
        goal = Goal(**goal | {"classes": tuple(goal["classes"]), "weights": None})
    except (SafetensorError, OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged head ({json.dumps(str(error))[:200]})") from None
    return SequenceHead(network.eval(), goal)
