"""The objective: cross-entropy of the next base, and the ratio loss that keeps chunks near their target length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hnet_dna.model.hnet import StageOutput
from hnet_dna.model.likelihood import IGNORED, base_nats
from hnet_dna.model.lm import HNetOutput
from hnet_dna.sequence.alphabet import Alphabet


def ratio_loss(stage: StageOutput, target: float) -> Tensor:
    """Return N/(N-1) ((N-1) F G + (1-F)(1-G)) for one stage, in float32.

    F is the share of positions that are boundaries, G the mean boundary probability; only G carries a gradient. The
    loss is 1 where both are 1/N. Padding counts in neither (the reference counts it in its padded mode).
    """
    count = stage.length.sum().clamp(min=1)
    f = stage.boundary_mask.sum().float() / count
    g = stage.boundary_prob.float().sum() / count
    return target / (target - 1) * ((target - 1) * f * g + (1 - f) * (1 - g))


@dataclass(frozen=True)
class Loss:
    """The parts of a step's loss.

    Attributes:
        total: what backward starts from.
        nats: sum of -ln p over counted bases.
        bases: how many bases were counted.
        positions, chunks: per chunking stage, positions seen and boundaries set.
    """

    total: Tensor
    nats: Tensor
    bases: Tensor
    positions: tuple[Tensor, ...]
    chunks: tuple[Tensor, ...]


def language_model_loss(
    output: HNetOutput, targets: Tensor, alphabet: Alphabet, ratio_targets: Sequence[float], ratio_weight: float
) -> Loss:
    """Compute the loss of a batch; `targets` (B, L) is aligned with the logits, `IGNORED` where nothing is counted."""
    bases = (targets != IGNORED).sum()
    nats = base_nats(output.logits, targets, alphabet).sum()
    ratio = sum(
        (ratio_loss(stage, target) for stage, target in zip(output.stages, ratio_targets, strict=True)),
        torch.zeros((), device=nats.device),
    )
    return Loss(
        total=nats / bases.clamp(min=1) + ratio_weight * ratio,
        nats=nats.detach(),
        bases=bases,
        positions=tuple(stage.length.sum() for stage in output.stages),
        chunks=tuple(stage.boundary_mask.sum() for stage in output.stages),
    )
