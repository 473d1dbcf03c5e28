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
from hnet_dna.plural import counted
from hnet_dna.probing.fitting import Goal, Rows, Schedule, Training, predict
from hnet_dna.probing.inputs import Inputs, backwards
from hnet_dna.probing.network import Network, Shape

SEQUENCE_HEADS = ("conv", "attention")
_ALIGNED = 1024  # bases of sequences of one length that may be aligned
_NEXT_SEED = 1_000_003
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
    """Fitted networks of one shape, whose mean counts, with what their outputs mean."""

    networks: tuple[Network, ...]
    goal: Goal

    @property
    def shape(self) -> Shape:
        """The shape of each network."""
        return self.networks[0].shape

    def to(self, device: torch.device) -> None:
        """Move the networks to a device."""
        for network in self.networks:
            network.to(device)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the scores; empty for regression."""
        return self.goal.classes

    def scores(self, inputs: Inputs, rows: Rows | None = None) -> NDArray[np.float64]:
        """Return the probabilities (N, classes) of rows, or the numbers (N, 1) of a regression.

        Those of a head per base are (N, L, classes) and (N, L, 1), and mean nothing after the end of a row.
        """
        rows = np.arange(len(inputs.lengths)) if rows is None else rows
        positions = self.shape.positions
        if positions and (others := inputs.lengths[rows][inputs.lengths[rows] != positions]).size:
            raise SequenceError(
                f"the head was trained on aligned sequences of {counted(positions, 'base')}, and one has "
                f"{others[0]:,}; give "
                "sequences of that length"
            )
        each = [self.goal.scores(predict(OnInputs(network, inputs), rows)) for network in self.networks]
        mean: NDArray[np.float64] = np.mean(each, axis=0)
        return mean


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
    networks: int = 1,
) -> tuple[SequenceHead, dict[str, Any]]:
    """Train a head on rows; return it, and the settings and epochs that the validation rows chose.

    Two settings are tried for a few epochs, and the better one goes on: both strands alike, or as given with the
    position (where all lengths are equal). Without validation rows the first is taken, and all epochs are run. Several
    networks differ in their seeds, and have the settings of the first.
    """
    longest = int(inputs.lengths.max())
    per_base = target.ndim == 3
    aligned = longest if not per_base and longest <= _ALIGNED and len(np.unique(inputs.lengths)) == 1 else 0
    settings = [(0, inputs.turns), (aligned, False)]
    mean, deviation = _moments(inputs, train)
    schedule = schedule or Schedule.for_rows(len(train))

    def begin(positions: int, symmetric: bool, seed: int) -> Training:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Network(
                Shape(kind, inputs.width, goal.outputs, positions, symmetric, letters=inputs.letters, per_base=per_base)
            )
        network.scale_to(mean, deviation)
        network.to("cuda" if torch.cuda.is_available() else "cpu")
        return Training(OnInputs(network, inputs), goal, target, train, valid, schedule, seed)

    several = len(valid) and settings[0] != settings[1]
    tried = [begin(*setting, seed) for setting in settings[: 2 if several else 1]]
    for training in tried if several else ():
        training.run(max(_TRIAL, schedule.epochs // 8), on_rows)
    best = min(range(len(tried)), key=lambda number: tried[number].best[0])
    positions, symmetric = settings[best]
    trainings = [tried[best]] + [begin(positions, symmetric, seed + _NEXT_SEED * more) for more in range(1, networks)]
    for training in trainings:
        training.run(on_rows=on_rows)
        training.use_best()
    chosen = {
        "symmetric": symmetric,
        "positions": positions,
        "epochs": trainings[0].best[1],
        "inner_folds": int(len(valid) > 0),
    }
    fitted = [training.what for training in trainings]
    return SequenceHead(tuple(one.network for one in fitted if isinstance(one, OnInputs)), goal), chosen


def _moments(inputs: Inputs, rows: Rows) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation of inputs over the bases of (some of) the rows trained on."""
    if inputs.width <= 4:  # letters are of one scale already
        return torch.zeros(inputs.width), torch.ones(inputs.width)
    some = rows[:: max(1, len(rows) // 500)]
    bases = torch.cat([inputs.batch(np.array([row]))[0] for row in some])
    return bases.mean(0), bases.std(0, unbiased=False)


def save_networks(folder: Path, name: str, head: SequenceHead) -> dict[str, Any]:
    """Write the weights of a head as `name` (safetensors); return the rest, for JSON."""
    from safetensors.torch import save_file

    weights = {
        f"{number}.{key}" if number else key: value.detach().cpu().contiguous()
        for number, network in enumerate(head.networks)
        for key, value in network.state_dict().items()
    }
    with write_beside(folder / name) as temporary:
        save_file(weights, temporary)
    return {"shape": asdict(head.shape), "goal": asdict(head.goal), "networks": len(head.networks)}


def load_networks(path: Path, settings: dict[str, Any]) -> SequenceHead:
    """Read a head.

    Raises:
        CheckpointError: the weights cannot be read, or are of another shape.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(path)
        networks = []
        for number in range(settings.get("networks", 1)):  # a single one in heads of before
            prefix = f"{number}." if number else ""
            network = Network(Shape(**settings["shape"]))
            network.load_state_dict({key: weights.pop(prefix + key) for key in network.state_dict()})
            networks.append(network.eval())
        if weights or not networks:
            raise ValueError("unexpected weights")
        goal = settings["goal"]
        goal = Goal(**goal | {"classes": tuple(goal["classes"]), "weights": None})
    except (SafetensorError, OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged head ({json.dumps(str(error))[:200]})") from None
    return SequenceHead(tuple(networks), goal)
