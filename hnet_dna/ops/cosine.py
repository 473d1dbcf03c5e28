"""Cosines between neighbours, by which the router decides: as plain PyTorch, and with a backward pass by hand.

Autograd keeps both unit vectors and passes over them again and again; the gradient of a cosine needs neither.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-12  # a shorter vector counts as so long


def neighbour_cosine_reference(first: Tensor, query: Tensor, key: Tensor) -> Tensor:
    """Follow the definition: the dot product of both vectors at length 1."""
    before = torch.cat([first[:, None], query[:, :-1]], dim=1)
    return (F.normalize(before, dim=-1, eps=EPS) * F.normalize(key, dim=-1, eps=EPS)).sum(-1)


def neighbour_cosine(first: Tensor, query: Tensor, key: Tensor) -> Tensor:
    """Return the cosine (B, L) of each key with the query of the position before, L being 1 or more.

    Args:
        first: (B, D), the query before the first position.
        query: (B, L, D) in float32 or float64; the last one has no part.
        key: (B, L, D).
    """
    cosine: Tensor = _NeighbourCosine.apply(first, query, key)  # type: ignore[no-untyped-call]
    return cosine


def _length(x: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x, dim=-1)
    return length.clamp_min_(EPS)


def _dot(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum(-1)


class _NeighbourCosine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, query: Tensor, key: Tensor) -> Tensor:
        before = torch.cat([_length(first)[:, None], _length(query)[:, :-1]], dim=1)
        own = _length(key)
        dot = torch.cat([_dot(first[:, None], key[:, :1]), _dot(query[:, :-1], key[:, 1:])], dim=1)
        cosine = dot / (before * own)
        ctx.save_for_backward(first, query, key, before, own, cosine)
        return cosine

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """With c = q.k / (|q| |k|), the gradient of q is k / (|q| |k|) - c q / |q|^2, and that of k alike."""
        first, query, key, before, own, cosine = ctx.saved_tensors
        across = (grads[0] / (before * own))[..., None]
        along = grads[0] * cosine
        # What is shorter than EPS is divided by a constant.
        along_before, along_own = (
            (-along / length.square()).masked_fill_(length <= EPS, 0.0)[..., None] for length in (before, own)
        )
        grad_first = torch.addcmul(first * along_before[:, 0], key[:, 0], across[:, 0])
        grad_query = torch.empty_like(query)
        torch.mul(query[:, :-1], along_before[:, 1:], out=grad_query[:, :-1]).addcmul_(key[:, 1:], across[:, 1:])
        grad_query[:, -1] = 0.0
        grad_key = key * along_own
        grad_key[:, 0].addcmul_(first, across[:, 0])
        grad_key[:, 1:].addcmul_(query[:, :-1], across[:, 1:])
        return grad_first, grad_query, grad_key
