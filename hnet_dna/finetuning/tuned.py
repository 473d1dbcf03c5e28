"""A model that is trained together with a head, and which of its weights are trained at what rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hnet_dna.embedding.levels import LevelReader
from hnet_dna.errors import UsageError
from hnet_dna.model.hnet import ChunkingStage, Innermost
from hnet_dna.model.lm import HNetLM
from hnet_dna.model.stack import Layer
from hnet_dna.probing.fitting import Rows
from hnet_dna.probing.inputs import read_bases, turn
from hnet_dna.probing.network import Network
from hnet_dna.sequence.codes import Codes


@dataclass(frozen=True)
class Which:
    """Which weights of a model are trained.

    Attributes:
        lora: rank of low-rank changes to the matrices of its layers, in place of all weights; 0 for all weights.
        last: how many of the last layers are trained; 0 for all of them.
        layer_decay: factor on the learning rate for each layer further from the head, above 0 and up to 1.
        rate: learning rate of the last layer, relative to that of the head.
    """

    lora: int = 0
    last: int = 0
    layer_decay: float = 0.9
    rate: float = 0.5

    def __post_init__(self) -> None:
        if self.lora < 0:
            raise UsageError(f"`lora`: expected a rank of 1 or more, got {self.lora}")
        if self.last < 0:
            raise UsageError(f"`last`: expected 1 layer or more, got {self.last}")
        if not 0.0 < self.layer_decay <= 1.0:
            raise UsageError(f"`layer_decay`: expected above 0 and up to 1, got {self.layer_decay:g}")


class _LowRank(nn.Module):
    """A matrix plus a product of two thin ones, which is zero at the start."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.down = nn.Parameter(torch.randn(rank, columns, device=weight.device) / columns**0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.up @ self.down).to(weight.dtype)


class _Both(nn.Module):
    """The model and the head, as one module; the model stays in evaluation mode."""

    def __init__(self, model: HNetLM, network: Network) -> None:
        super().__init__()
        self.model, self.network = model, network

    def train(self, mode: bool = True) -> _Both:
        self.network.train(mode)
        self.model.eval()
        return self


class Tuned:
    """A model with a head on its vectors at each base; what `hnet_dna.probing.fitting.Training` trains."""

    def __init__(
        self, model: HNetLM, network: Network, level: str, strand: str, sequences: Sequence[Codes], which: Which
    ) -> None:
        """Prepare the weights that are to be trained; the model is changed in place."""
        self.model, self.network = model, network
        self.lengths: NDArray[np.int64] = np.array([len(codes) for codes in sequences], dtype=np.int64)
        self._sequences, self._strand, self._which = sequences, strand, which
        self._reader = LevelReader(model, level)
        self._depth, self._layers = depths(model)
        for name, parameter in model.named_parameters():
            behind = self._layers - self._depth[name]
            parameter.requires_grad_(not which.lora and (not which.last or behind < which.last))
        if which.lora:
            for layer, depth in _layers_of(model):
                if not which.last or self._layers - depth < which.last:
                    _add_low_rank(layer, which.lora)
        self.module: nn.Module = _Both(model, network)

    @property
    def symmetric(self) -> bool:
        """Whether both strands are read."""
        return self.network.shape.symmetric

    def logits(self, rows: Rows, *, turned: bool) -> Tensor:
        """Run the model and the head on rows."""
        device = self.model.embeddings.weight.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            x = self.vectors(rows)
            lengths = torch.from_numpy(self.lengths[rows]).to(device)
            logits: Tensor = self.network(turn(x, lengths) if turned else x, lengths)
        return logits.float()

    def vectors(self, rows: Rows) -> Tensor:
        """Return what the head reads of rows, (B, L, D)."""
        return read_bases(self._reader, [self._sequences[row] for row in rows], self._strand)

    def groups(self) -> list[dict[str, Any]]:
        """Return the trained weights of each depth with its factor on the learning rate, the head last."""
        by_depth: dict[int, list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                plain = name.replace(".parametrizations.weight.original", ".weight")
                plain = plain.replace(".parametrizations.weight.0.down", ".weight").replace(
                    ".parametrizations.weight.0.up", ".weight"
                )
                by_depth.setdefault(self._depth[plain], []).append(parameter)
        which = self._which
        groups: list[dict[str, Any]] = [
            {
                "params": parameters,
                "factor": which.rate * which.layer_decay ** (self._layers - depth),
                "weight_decay": 0.0,
            }
            for depth, parameters in sorted(by_depth.items())
        ]
        return [*groups, {"params": list(self.network.parameters())}]

    def merge(self) -> None:
        """Make an ordinary model of one with low-rank changes."""
        if self._which.lora:
            for layer, _ in _layers_of(self.model):
                for module in layer.modules():
                    if parametrize.is_parametrized(module, "weight"):
                        parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def depths(model: HNetLM) -> tuple[dict[str, int], int]:
    """Return how many layers lie before each parameter's part, counting it if it is in a layer, and how many there are.

    Embeddings are at 0. Routers and the norms after a stack are at the depth of the layer before them.
    """
    prefixes = {id(module): name for name, module in model.named_modules()}
    layers = [(prefixes[id(layer)] + ".", depth) for layer, depth in _layers_of(model)]
    ends: list[tuple[str, int]] = []
    stage: nn.Module = model.backbone
    place = "backbone."
    while isinstance(stage, ChunkingStage):
        encoded = max((depth for name, depth in layers if name.startswith(f"{place}encoder.")), default=0)
        ends += [(f"{place}{part}", encoded) for part in ("encoder.", "routing_module.", "residual_proj.")]
        decoded = max((depth for name, depth in layers if name.startswith(f"{place}decoder.")), default=0)
        ends.append((f"{place}decoder.", decoded))
        stage, place = stage.main_network, f"{place}main_network."
    inner = max((depth for name, depth in layers if name.startswith(place)), default=0)
    ends.append((place, inner))
    depth_of = {}
    for name, _ in model.named_parameters():
        matching = [depth for prefix, depth in layers if name.startswith(prefix)]
        matching = matching or [depth for prefix, depth in ends if name.startswith(prefix)]
        depth_of[name] = matching[0] if matching else 0
    return depth_of, len(layers)


def _layers_of(model: HNetLM) -> list[tuple[Layer, int]]:
    """Return all layers in the order in which they are run, with their numbers from 1."""
    layers: list[Layer] = []

    def walk(stage: nn.Module) -> None:
        if isinstance(stage, ChunkingStage):
            layers.extend(layer for layer in stage.encoder.layers if isinstance(layer, Layer))
            walk(stage.main_network)
            layers.extend(layer for layer in stage.decoder.layers if isinstance(layer, Layer))
        elif isinstance(stage, Innermost):
            layers.extend(layer for layer in stage.main_network.layers if isinstance(layer, Layer))

    walk(model.backbone)
    return [(layer, index) for index, layer in enumerate(layers, start=1)]


def _add_low_rank(layer: Layer, rank: int) -> None:
    for module in list(layer.modules()):
        if isinstance(module, nn.Linear):
            parametrize.register_parametrization(module, "weight", _LowRank(module.weight, rank))
            module.parametrizations["weight"].original.requires_grad_(False)  # type: ignore[index, union-attr]
