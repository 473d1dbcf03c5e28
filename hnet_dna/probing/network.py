"""A small network over vectors in the order of the bases: frozen vectors, letters, or those of a model in training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LETTERS = 4  # numbers of a letter
_BINS = 10
_POOL = 3  # bases that become one position between the two convolutions
_QUERIES = 8
_DILATIONS = (1, 4, 16)  # of layers that say something of each base
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
        letters: first of the four inputs that are the letters, which pass the projection by; -1 if there are none.
        per_base: whether it says something of each base, by layers that see 47 bases on either side.
        dropout: share of projected inputs and of pooled features that are left out in training.
    """

    kind: str
    inputs: int
    outputs: int
    positions: int = 0
    symmetric: bool = False
    width: int = 48
    letters: int = -1
    per_base: bool = False
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
        beside = 0 if shape.letters < 0 or inside == shape.inputs else LETTERS
        self.project = nn.Linear(shape.inputs, inside - beside) if inside < shape.inputs else nn.Identity()
        self.drop = nn.Dropout(shape.dropout)
        self.first = nn.Conv1d(inside, width, 11, padding=5)
        if shape.per_base:
            self.wider = nn.ModuleList(nn.Conv1d(width, width, 5, padding=2 * d, dilation=d) for d in _DILATIONS)
            self.last = nn.Linear(width, shape.outputs)
            return
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
        """Return (B, outputs), or (B, L, outputs) per base, for x (B, L, inputs) with `lengths` valid positions."""
        mask = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        full = bool((lengths == x.shape[1]).all())

        def cut(x: Tensor, mask: Tensor) -> Tensor:
            return x if full else x * mask[:, None]

        x = cut(self._projected(x).transpose(1, 2), mask)
        if self.shape.per_base:
            x = cut(F.relu(self.first(x)), mask)
            for layer in self.wider:
                x = cut(x + F.relu(layer(x)), mask)
            of_bases: Tensor = self.last(self.drop(x.transpose(1, 2)))
            return of_bases
        sites = cut(self.site(x), mask).flatten(1) if self.shape.positions else None
        x = cut(self.first(x), mask)
        if self.shape.kind == "attention":
            x = F.relu(x)
        if self.shape.kind == "conv":
            x = F.relu(F.max_pool1d(x, _POOL, ceil_mode=True))  # the same as before it, and cheaper
            lengths = (lengths + _POOL - 1) // _POOL
            mask = mask[:, ::_POOL]
            x = cut(x + F.relu(self.second(x)), mask)
            features = [x.amax(-1), x.sum(-1) / lengths[:, None]]
        else:
            score = torch.einsum("qd,bdl->bql", self.queries, x).masked_fill(~mask[:, None], -torch.inf)
            features = [torch.einsum("bql,bdl->bqd", score.softmax(-1), x).flatten(1), x.amax(-1)]
        if sites is not None:
            features += [torch.einsum("bdl,bkl->bkd", x, _bins(lengths, x.shape[-1], x.dtype)).flatten(1), sites]
        logits: Tensor = self.last(self.drop(torch.cat(features, dim=1)))
        return logits

    def _projected(self, x: Tensor) -> Tensor:
        """Scale the inputs and project wide ones; scaling the projection's weights instead is the same, and cheap.

        Letters stand beside what is projected, so that the network can do all that one on the letters does.
        """
        if isinstance(self.project, nn.Linear):
            weight = self.project.weight * self.scale
            found = self.drop(F.linear(x, weight, self.project.bias - weight @ self.mean))
            first = self.shape.letters
            return found if first < 0 else torch.cat([found, x[..., first : first + LETTERS]], dim=-1)
        return (x - self.mean) * self.scale


def _bins(lengths: Tensor, padded: int, dtype: torch.dtype) -> Tensor:
    """Return weights (B, bins, L) that take the mean over each of equal parts of the valid positions of a row."""
    place = torch.arange(padded, device=lengths.device)
    edges = lengths[:, None] * (torch.arange(_BINS + 1, device=lengths.device) / _BINS)
    overlap = torch.minimum(place + 1, edges[:, 1:, None]) - torch.maximum(place, edges[:, :-1, None])
    overlap = overlap.clamp(min=0.0).to(dtype)
    return overlap / overlap.sum(-1, keepdim=True).clamp(min=1e-6)
