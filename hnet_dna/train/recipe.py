"""Everything about a training run that is not the model's shape: one frozen, strict value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from hnet_dna.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        window: bases predicted per window.
        batch: windows per step.
        window_warmup: (share of the run, bases per window) pairs: until that share, windows are so long, and the batch
            grows so that a step predicts as many bases as ever.
        repeat_weight: factor on the loss of soft-masked bases.
        learning_rate: peak, at base resolution.
        lr_multipliers: factor on it for each stage, outermost first; the last entry serves any further stage.
        betas, weight_decay, clip: AdamW, and the largest gradient norm.
        warmup, decay: shares of the run in which the rate rises, and falls to zero (WSD schedule).
        ratio_targets: N of each chunking stage, bases (or outer chunks) per chunk aimed at; the last serves the rest.
        ratio_weight: factor on the ratio losses.
        seed: decides initial weights, windows and strands.
        held_out: contigs to hold out; empty means the default split.
        split, regions: as `split_genome` takes them.
        checkpoint_every: seconds between checkpoints.
    """

    window: int = 1024
    batch: int = 4
    window_warmup: tuple[tuple[float, int], ...] = ()
    repeat_weight: float = 1.0
    learning_rate: float = 3e-3
    lr_multipliers: tuple[float, ...] = (1.0, 0.6)
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.1
    clip: float = 1.0
    warmup: float = 0.02
    decay: float = 0.3
    ratio_targets: tuple[float, ...] = (3.0,)
    ratio_weight: float = 0.02
    seed: int = 0
    held_out: tuple[str, ...] = ()
    split: str = ""
    regions: str = ""
    checkpoint_every: float = 60.0

    def __post_init__(self) -> None:
        for name, low in (("window", 1), ("batch", 1), ("checkpoint_every", 0), ("seed", 0)):
            if getattr(self, name) < low:
                raise ConfigError(f"recipe.{name}: expected {low} or more, got {getattr(self, name)}")
        if not self.lr_multipliers or min(self.lr_multipliers) <= 0 or self.learning_rate <= 0:
            raise ConfigError("recipe: learning_rate and lr_multipliers must be above 0")
        if not self.ratio_targets or min(self.ratio_targets) <= 1:
            raise ConfigError(f"recipe.ratio_targets: expected numbers above 1, got {self.ratio_targets}")
        if self.warmup < 0 or self.decay < 0 or self.warmup + self.decay > 1:
            raise ConfigError("recipe: warmup and decay are shares of the run and may not exceed 1 together")

        if self.repeat_weight < 0:
            raise ConfigError(f"recipe.repeat_weight: expected 0 or more, got {self.repeat_weight}")
        ends = [until for until, _ in self.window_warmup]
        if ends != sorted(set(ends)) or any(not 0 < end < 1 for end in ends):
            raise ConfigError(f"recipe.window_warmup: expected rising shares between 0 and 1, got {ends}")
        if any(length < 1 for _, length in self.window_warmup):
            raise ConfigError("recipe.window_warmup: expected windows of 1 base or more")

    def window_at(self, share: float) -> int:
        """Return bases per window at a share of the run."""
        return next((length for until, length in self.window_warmup if share < until), self.window)

    def batch_of(self, window: int) -> int:
        """Return windows per step for a window length."""
        return max(1, round(self.batch * self.window / window))

    def ratio_target(self, stage: int) -> float:
        """Return N of a chunking stage."""
        return self.ratio_targets[min(stage, len(self.ratio_targets) - 1)]

    def lr_multiplier(self, stage: int) -> float:
        """Return the learning-rate factor of a stage."""
        return self.lr_multipliers[min(stage, len(self.lr_multipliers) - 1)]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Recipe:
        """Read the JSON form; an unknown key is an error with a suggestion."""
        known = [field.name for field in fields(cls)]
        for name in value:
            if name not in known:
                raise ConfigError(f"recipe.{name}: unknown field. {did_you_mean(name, known)}")
        values: dict[str, Any] = {n: _tuples(v) for n, v in value.items()}
        return cls(**values)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
