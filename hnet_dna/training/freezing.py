"""Parts of a model by name, so that some can be left as they are while the rest trains."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from hnet_dna.config.recipe import PARTS
from hnet_dna.errors import UsageError

_COMPONENTS = {
    "embeddings": "embedding",
    "lm_head": "head",
    "memory": "memory",
    "encoder": "encoder",
    "routing_module": "router",
    "decoder": "decoder",
    "residual_proj": "decoder",
}


def part_of(name: str) -> str:
    """Return the part that a parameter belongs to: one of `PARTS`; `main` is the innermost stage."""
    return next((_COMPONENTS[piece] for piece in name.split(".") if piece in _COMPONENTS), "main")


def freeze(model: nn.Module, parts: Sequence[str]) -> None:
    """Leave some parts of a model out of training, and take in all others.

    Raises:
        UsageError: the model has no such part, or no other.
    """
    there = {part_of(name) for name, _ in model.named_parameters()}
    for part in parts:
        if part not in there:
            has = ", ".join(known for known in PARTS if known in there)
            raise UsageError(f"train.freeze: this model has no {part}; it has {has}")
    if there <= set(parts):
        raise UsageError("train.freeze: every part of the model is frozen; leave one to train")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) not in parts)
