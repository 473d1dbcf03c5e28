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
    output: HNetOutput,
    targets: Tensor,
    alphabet: Alphabet,
    ratio_targets: Sequence[float],
    ratio_weight: float,
    weights: Tensor | None = None,
) -> Loss:
    """Compute the loss of a batch.

    Args:
        output: of the model.
        targets: (B, L), aligned with the logits, `IGNORED` where nothing is counted.
        alphabet: tells which ids are A, C, G, T.
        ratio_targets: N of each chunking stage.
        ratio_weight: factor on the ratio losses.
        weights: (B, L) factors on the bases' cross-entropy, all 1 by default. They
            change what is learnt, not what `nats` and `bases` report.
    """
    counted = targets != IGNORED
    bases = counted.sum()
    each = base_nats(output.logits, targets, alphabet)
    nats = each.sum()
    # Divided by all counted bases: a batch of down-weighted repeats alone then counts little, and none divides by zero.
    mean = (each if weights is None else each * weights).sum() / bases.clamp(min=1)
    ratio = sum(
        (ratio_loss(stage, target) for stage, target in zip(output.stages, ratio_targets, strict=True)),
        torch.zeros((), device=nats.device),
    )
    return Loss(
        total=mean + ratio_weight * ratio,
        nats=nats.detach(),
        bases=bases,
        positions=tuple(stage.length.sum() for stage in output.stages),
        chunks=tuple(stage.boundary_mask.sum() for stage in output.stages),
    )
