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
    marked, probability = stage.boundary_mask.sum().float(), stage.boundary_prob.float().sum()
    return _ratio_loss(marked, probability, stage.length.sum(), target, total)


def ratio_loss_by_aim(
    stage: StageOutput, aims: Tensor, targets: Sequence[float], total: Callable[[Tensor], Tensor] = _alone
) -> Tensor:
    """Return the mean of the ratio losses of positions with different N, each weighted by its share of positions.

    Args:
        stage: of the outermost stage, whose positions are bases.
        aims: (B, L) the number of each position's N.
        targets: (C,) N by number.
        total: see `ratio_loss`.
    """
    inside = torch.arange(aims.shape[1], device=aims.device) < stage.length[:, None]
    positions = total(stage.length.sum()).clamp(min=1)
    loss = torch.zeros((), device=aims.device)
    for number, target in enumerate(targets):
        here = inside & (aims == number)
        marked, probability = (stage.boundary_mask & here).sum().float(), (stage.boundary_prob.float() * here).sum()
        share = total(here.sum()) / positions
        loss = loss + share * _ratio_loss(marked, probability, here.sum(), target, total)
    return loss


def _ratio_loss(
    marked: Tensor, probability: Tensor, positions: Tensor, target: float, total: Callable[[Tensor], Tensor]
) -> Tensor:
    count = total(positions).clamp(min=1)
    f = total(marked) / count
    g = probability / count
    own = positions / count
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
    aims: tuple[Tensor, Sequence[float]] | None = None,
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
        aims: where N of the outermost stage is not the same everywhere, the number of each position's N (B, L), and N
            by number.
    """
    is_counted = targets != IGNORED
    counted = is_counted.sum()
    each = base_nats(output.logits, targets, alphabet)
    nats = each.sum()
    # Divided by all counted bases: a batch of only down-weighted repeats then counts little, and none divides by zero.
    mean = (each if weights is None else each * weights).sum() / (counted if bases is None else bases).clamp(min=1)
    ratio = torch.zeros((), device=nats.device)
    for number, (stage, target, weight) in enumerate(zip(output.stages, ratio_targets, ratio_weights, strict=True)):
        if aims is not None and number == 0:
            ratio = ratio + weight * ratio_loss_by_aim(stage, *aims, total)
        else:
            ratio = ratio + weight * ratio_loss(stage, target, total)
    return Loss(
        total=mean + share * ratio,
        nats=nats.detach(),
        bases=counted,
        base_nats=each.detach(),
        is_counted=is_counted,
        positions=tuple(stage.length.sum() for stage in output.stages),
        chunks=tuple(stage.boundary_mask.sum() for stage in output.stages),
    )
