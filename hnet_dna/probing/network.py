"""A small network over vectors in the order of the bases: frozen vectors, letters, or those of a model in training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_BINS = 10
_POOL = 3  # bases that become one position between the two convolutions
_QUERIES = 8
_PER_SITE = 8  # channels at each base of aligned sequences


@dataclass(frozen=True)
class Shape:
    """The shape of a network.

    Attributes:
        kind: `conv` or `attention`.
        inputs: numbers at each base.
        outputs: classes, or 1 for regression.
        positions: bases of aligned sequences, for each of which there are weights of its own; 0 where they are not.
        symmetric: whether it is trained on both strands, and takes the mean over both.
        width: channels inside.
        dropout: share of inputs and of pooled features that are left out in training.
    """

    kind: str
    inputs: int
    outputs: int
    positions: int = 0
    symmetric: bool = False
    width: int = 48
    dropout: float = 0.2


class Network(nn.Module):
    """Scaled inputs, a projection where they are wide, two convolutions or attention, pooling, and a linear layer.

    A row's result does not depend on the padding after it.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("mean", torch.zeros(shape.inputs))
        self.register_buffer("scale", torch.ones(shape.inputs))
        width, inside = shape.width, min(shape.inputs, 32)
        self.project = nn.Linear(shape.inputs, inside) if inside < shape.inputs else nn.Identity()
        self.drop = nn.Dropout(shape.dropout)
        self.first = nn.Conv1d(inside, width, 11, padding=5)
        if shape.kind == "conv":
            self.second = nn.Conv1d(width, width, 5, padding=2)
            features = 2 * width
        else:
            self.queries = nn.Parameter(torch.randn(_QUERIES, width) / width**0.5)
            features = (_QUERIES + 1) * width
        if shape.positions:
            self.site = nn.Conv1d(inside, _PER_SITE, 1)
            features += _BINS * width + _PER_SITE * shape.positions
        self.last = nn.Linear(features, shape.outputs)

    def scale_to(self, mean: Tensor, deviation: Tensor) -> None:
        """Scale inputs by their mean and standard deviation, (D,) each."""
        self.mean.copy_(mean)
        self.scale.copy_(1.0 / (deviation + 1e-3))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return (B, outputs) for x (B, L, inputs), rows of which `lengths` positions are valid."""
        mask = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        if self.shape.inputs > 4:
            x = self.drop(x)
        x = (self.project((x - self.mean) * self.scale) * mask[..., None]).transpose(1, 2)
        sites = (self.site(x) * mask[:, None]).flatten(1) if self.shape.positions else None
        x = F.relu(self.first(x)) * mask[:, None]
        if self.shape.kind == "conv":
            x = F.max_pool1d(x, _POOL, ceil_mode=True)
            lengths = (lengths + _POOL - 1) // _POOL
            mask = mask[:, ::_POOL]
            x = (x + F.relu(self.second(x))) * mask[:, None]
            features = [x.amax(-1), x.sum(-1) / lengths[:, None]]
        else:
            score = torch.einsum("qd,bdl->bql", self.queries, x).masked_fill(~mask[:, None], -torch.inf)
            features = [torch.einsum("bql,bdl->bqd", score.softmax(-1), x).flatten(1), x.amax(-1)]
        if sites is not None:
            features += [torch.einsum("bdl,bkl->bkd", x, _bins(lengths, x.shape[-1], x.dtype)).flatten(1), sites]
        logits: Tensor = self.last(self.drop(torch.cat(features, dim=1)))
        return logits


def _bins(lengths: Tensor, padded: int, dtype: torch.dtype) -> Tensor:
    """Return weights (B, bins, L) that take the mean over each of equal parts of the valid positions of a row."""
    place = torch.arange(padded, device=lengths.device)
    edges = lengths[:, None] * (torch.arange(_BINS + 1, device=lengths.device) / _BINS)
    overlap = torch.minimum(place + 1, edges[:, 1:, None]) - torch.maximum(place, edges[:, :-1, None])
    overlap = overlap.clamp(min=0.0).to(dtype)
    return overlap / overlap.sum(-1, keepdim=True).clamp(min=1e-6)
