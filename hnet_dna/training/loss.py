"""The objective: cross-entropy of the next base, and the ratio loss that keeps chunks near their target length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hnet_dna.model.hnet import StageOutput
from hnet_dna.model.likelihood import IGNORED, base_nats
from hnet_dna.model.lm import HNetOutput
from hnet_dna.sequence.alphabet import Alphabet


def _alone(value: Tensor) -> Tensor:
    return value


def ratio_loss(stage: StageOutput, target: float, total: Callable[[Tensor], Tensor] = _alone) -> Tensor:
    """Return N/(N-1) ((N-1) F G + (1-F)(1-G)) for one stage, in float32.

    F is the share of positions that are boundaries, G the mean boundary probability; only G carries a gradient. The
    loss is 1 where both are 1/N. Padding counts in neither (the reference counts it in its padded mode). `total` sums
    over all ranks; each rank's loss is then its part of the sum, since the loss is linear in G.
    """
    count = total(stage.length.sum()).clamp(min=1)
    f = total(stage.boundary_mask.sum().float()) / count
    g = stage.boundary_prob.float().sum() / count
    own = stage.length.sum() / count
    return target / (target - 1) * ((target - 1) * f * g + (1 - f) * (own - g))


@dataclass(frozen=True)
class Loss:
    """The parts of a step's loss.

    Attributes:
        total: what backward starts from.
        nats: sum of -ln p over counted bases.
        bases: how many bases were counted.
        base_nats, is_counted: -ln p of each base, and whether it counts, (B, L).
        positions, chunks: per chunking stage, positions seen and boundaries set.
    """

    total: Tensor
    nats: Tensor
    bases: Tensor
    base_nats: Tensor
    is_counted: Tensor
    positions: tuple[Tensor, ...]
    chunks: tuple[Tensor, ...]

    @property
    def row_nats(self) -> Tensor:
        """`nats` of each row, (B,)."""
        return self.base_nats.sum(dim=1)

    @property
    def row_bases(self) -> Tensor:
        """`bases` of each row, (B,)."""
        return self.is_counted.sum(dim=1)


def language_model_loss(
    output: HNetOutput,
    targets: Tensor,
    alphabet: Alphabet,
    ratio_targets: Sequence[float],
    ratio_weights: Sequence[float],
    weights: Tensor | None = None,
    *,
    bases: Tensor | None = None,
    share: float = 1.0,
    total: Callable[[Tensor], Tensor] = _alone,
) -> Loss:
    """Compute the loss of a batch, or of a part of one: the parts' losses add up to the step's.

    Args:
        output: of the model.
        targets: (B, L), aligned with the logits, `IGNORED` where nothing is counted.
        alphabet: says which ids are A, C, G, T.
        ratio_targets: N of each chunking stage.
        ratio_weights: factor on each stage's ratio loss.
        weights: (B, L) factors on the bases' cross-entropy, all 1 by default. They
            change what is learnt, not what `nats` and `bases` report.
        bases: counted bases of the whole step; by default those of this part.
        share: of the step's ratio loss that this part stands for.
        total: sums a tensor over all ranks.
    """
    is_counted = targets != IGNORED
    counted = is_counted.sum()
    each = base_nats(output.logits, targets, alphabet)
    nats = each.sum()
    # Divided by all counted bases: a batch of only down-weighted repeats then counts little, and none divides by zero.
    mean = (each if weights is None else each * weights).sum() / (counted if bases is None else bases).clamp(min=1)
    ratio = sum(
        (
            weight * ratio_loss(stage, target, total)
            for stage, target, weight in zip(output.stages, ratio_targets, ratio_weights, strict=True)
        ),
        torch.zeros((), device=nats.device),
    )
    return Loss(
        total=mean + share * ratio,
        nats=nats.detach(),
        bases=counted,
        base_nats=each.detach(),
        is_counted=is_counted,
        positions=tuple(stage.length.sum() for stage in output.stages),
        chunks=tuple(stage.boundary_mask.sum() for stage in output.stages),
    )
