"""AdamW as the paper means it: a rate per stage, and weight decay on matrices only."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from hnet_dna.model.lm import HNetLM
from hnet_dna.train.recipe import Recipe

# Biases, norm scales, and the rates of Mamba-2. The reference means to exempt these, though its code decays some.
_EXEMPT_SUFFIXES = (
    "conv1d.bias",
    "residual_proj.bias",
    "norm1.weight",
    "norm2.weight",
    "mixer.norm.weight",
    "rmsnorm.weight",
    "A_log",
    "mixer.D",
    "dt_bias",
)


def is_decayed(name: str) -> bool:
    """Tell whether weight decay applies to a parameter."""
    return not name.endswith(_EXEMPT_SUFFIXES)


def stage_of(name: str) -> int:
    """Return the stage that a parameter belongs to, 0 for the embedding and the head.

    `main_network` nests once per stage, and once more for the stack of the innermost stage.
    """
    depth = 0
    parts = name.split(".")
    for part, following in pairwise(parts):
        if part == "main_network" and following != "layers" and following != "rmsnorm":
            depth += 1
    return depth


def build_optimizer(model: HNetLM, recipe: Recipe) -> torch.optim.AdamW:
    """Group parameters by stage and decay; each group keeps its stage's factor as `lr_multiplier`."""
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault((stage_of(name), is_decayed(name)), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "weight_decay": recipe.weight_decay if decayed else 0.0,
                "lr_multiplier": recipe.lr_multiplier(stage),
            }
            for (stage, decayed), parameters in sorted(groups.items(), key=lambda item: item[0])
        ],
        lr=recipe.learning_rate,
        betas=recipe.betas,
    )


def schedule(progress: float, recipe: Recipe) -> float:
    """Return the learning-rate factor at a share of the run: warm-up, stable, linear decay to 0 (WSD)."""
    if progress < recipe.warmup:
        return max(progress, 1e-3) / recipe.warmup
    left = 1.0 - progress
    return min(1.0, left / recipe.decay) if recipe.decay > 0 else 1.0


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set each group's rate to `rate` times its stage's factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_multiplier"]
