"""The optimizer: a rate per stage, weight decay on matrices only; AdamW for all of it, or Muon for the matrices."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from hnet_dna.config.recipe import OptimizerSettings
from hnet_dna.config.schema import ModelConfig
from hnet_dna.model.hnet import stage_of
from hnet_dna.training.muon import Muon, Together, matrices

# Biases, norm scales, and the rates of Mamba-2. The reference means to exempt these, though its code decays some.
_EXEMPT_SUFFIXES = (
    "conv1d.bias",
    "residual_proj.bias",
    "score.bias",
    "norm1.weight",
    "norm2.weight",
    "mixer.norm.weight",
    "rmsnorm.weight",
    "A_log",
    "mixer.D",
    "dt_bias",
)
_COSINE_FLOOR = 0.1


def is_decayed(name: str) -> bool:
    """Return whether weight decay applies to a parameter."""
    return not name.endswith(_EXEMPT_SUFFIXES) and not name.startswith("memory.")


def stage_multipliers(config: ModelConfig, recipe: OptimizerSettings) -> tuple[float, ...]:
    """Return each stage's factor on the learning rate.

    By default equation 11 of arXiv 2507.07955 relative to the outermost stage: sqrt((1 / N^0...N^(s-1)) (D^0 / D^s)).
    A stage that sees fewer vectors per step, or wider ones, learns more slowly.
    """
    if recipe.lr_multipliers:
        last = len(recipe.lr_multipliers) - 1
        return tuple(recipe.lr_multipliers[min(stage, last)] for stage in range(config.n_stages))
    widths = [config.stage(stage).d_model for stage in range(config.n_stages)]
    shares = [1.0]
    for stage in range(config.n_stages - 1):
        shares.append(shares[-1] / recipe.ratio_target(stage))
    return tuple(math.sqrt(share * widths[0] / width) for share, width in zip(shares, widths, strict=True))


def build_optimizer(model: nn.Module, config: ModelConfig, recipe: OptimizerSettings) -> torch.optim.Optimizer:
    """Group parameters that are trained by stage and decay; each group keeps its stage's factor as `lr_multiplier`."""
    rows = matrices(model) if recipe.optimizer == "muon" else {}
    groups: dict[tuple[bool, int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        groups.setdefault((parameter in rows, stage_of(name), is_decayed(name)), []).append(parameter)
    multipliers = stage_multipliers(config, recipe)
    served: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for (by_muon, stage, decayed), parameters in sorted(groups.items(), key=lambda item: item[0]):
        decay = recipe.weight_decay if decayed else 0.0
        served[by_muon].append(
            {"params": parameters, "weight_decay": decay, "lr_multiplier": multipliers[stage]}
        )  # fmt: skip
    if not served[False]:
        return Muon(served[True], rows, recipe.learning_rate)
    adamw = torch.optim.AdamW(served[False], lr=recipe.learning_rate, betas=recipe.betas, fused=True)
    return Together([adamw, Muon(served[True], rows, recipe.learning_rate)]) if served[True] else adamw


def schedule(progress: float, recipe: OptimizerSettings) -> float:
    """Return the learning-rate factor at a share of the run."""
    if progress < recipe.warmup:
        return max(progress, 1e-3) / recipe.warmup
    if recipe.schedule == "cosine":
        done = (progress - recipe.warmup) / max(1.0 - recipe.warmup, 1e-9)
        return _COSINE_FLOOR + (1.0 - _COSINE_FLOOR) * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
    left = 1.0 - progress
    return min(1.0, left / recipe.decay) if recipe.decay > 0 else 1.0


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set each group's rate to `rate` times its stage's factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_multiplier"]
