"""Everything about a training run that is not the model's shape: one frozen, strict value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from hnet_dna.errors import ConfigError, did_you_mean

Schedule = Literal["wsd", "cosine"]
Precision = Literal["auto", "fp32", "bf16"]
OnTrouble = Literal["stop", "skip"]
Optimizer = Literal["adamw", "muon"]
_CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": get_args(Optimizer),
    "schedule": get_args(Schedule),
    "precision": get_args(Precision),
    "on_trouble": get_args(OnTrouble),
}


@dataclass(frozen=True)
class Recipe:
    """How to train. Shares are of the run, 0 to 1.

    Attributes:
        window: bases predicted per window.
        batch: windows per step, over all ranks.
        accumulate: parts that a rank's share of a step is run in, one after the other, to save memory.
        window_warmup: (share of the run, bases per window) pairs: until that share, windows are so long, and the batch
            grows so that a step predicts as many bases as ever.
        repeat_weight: factor on the loss of soft-masked bases.
        learning_rate: peak, at base resolution.
        lr_multipliers: factor on it for each stage, outermost first; the last entry serves any further stage. Empty
            means those of the paper's equation 11, relative to the outermost stage.
        optimizer: `adamw` for all parameters, or `muon` for the matrices inside the network and AdamW for the rest.
        betas, weight_decay, clip: AdamW, whose decay Muon shares, and the largest gradient norm.
        schedule: `wsd` rises, holds, and falls linearly to zero; `cosine` rises and falls to a tenth of the peak.
        warmup, decay: shares in which the rate rises, and (`wsd`) falls.
        ratio_targets: N of each chunking stage, bases (or outer chunks) per chunk aimed at; the last serves the rest.
        ratio_weights: factor on each stage's ratio loss; the last serves the rest.
        precision: `bf16` runs matrix products in bfloat16, never what decides (router, average, residual stream,
            norms, scan state, loss); `auto` does so on a GPU that has it.
        compile: run the model through torch.compile.
        recompute: keep no activations of layers but compute them again in the backward pass.
        shard: spread parameters and optimizer over the ranks (FSDP2) instead of copying them (DDP).
        seed: decides initial weights, windows and strands.
        held_out: contigs to hold out; empty means the default split.
        split, regions: as `split_genome` takes them.
        checkpoint_every: seconds between checkpoints.
        keep_checkpoints: how many of the last checkpoints to keep.
        validate_every: steps between measurements on the validation part; 0 never measures.
        validate_bases: how much of the validation part is measured.
        on_trouble: what follows a loss or gradient that is no number, or a spike: `stop` saves the state and ends the
            run, `skip` leaves out the step. A collapsed router stops the run, or is reported and left alone.
        spike_bits: bits per base above the running mean that count as a spike.
        tensorboard: also write TensorBoard's event files.
    """

    window: int = 1024
    batch: int = 4
    accumulate: int = 1
    window_warmup: tuple[tuple[float, int], ...] = ()
    repeat_weight: float = 1.0
    learning_rate: float = 3e-3
    lr_multipliers: tuple[float, ...] = ()
    optimizer: Optimizer = "adamw"
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.1
    clip: float = 1.0
    schedule: Schedule = "wsd"
    warmup: float = 0.02
    decay: float = 0.3
    ratio_targets: tuple[float, ...] = (3.0,)
    ratio_weights: tuple[float, ...] = (0.02,)
    precision: Precision = "auto"
    compile: bool = False
    recompute: bool = False
    shard: bool = False
    seed: int = 0
    held_out: tuple[str, ...] = ()
    split: str = ""
    regions: str = ""
    checkpoint_every: float = 60.0
    keep_checkpoints: int = 2
    validate_every: int = 500
    validate_bases: int = 100_000
    on_trouble: OnTrouble = "stop"
    spike_bits: float = 0.5
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name, low in _AT_LEAST.items():
            if getattr(self, name) < low:
                raise ConfigError(f"train.{name}: expected {low} or more, got {getattr(self, name)}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(f"train.{name}: {did_you_mean(str(getattr(self, name)), choices)}")
        if self.learning_rate <= 0 or min(self.lr_multipliers, default=1.0) <= 0 or self.clip <= 0:
            raise ConfigError("train: learning_rate, lr_multipliers and clip must be above 0")
        if not self.ratio_targets or min(self.ratio_targets) <= 1:
            raise ConfigError(f"train.ratio_targets: expected numbers above 1, got {self.ratio_targets}")
        if not self.ratio_weights or min(self.ratio_weights) < 0:
            raise ConfigError(f"train.ratio_weights: expected numbers of 0 or more, got {self.ratio_weights}")
        if self.warmup < 0 or self.decay < 0 or self.warmup + self.decay > 1:
            raise ConfigError("train: warmup and decay are shares of the run and may not exceed 1 together")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"train.betas: expected two numbers from 0 to below 1, got {self.betas}")
        if self.batch % self.accumulate:
            raise ConfigError(f"train.accumulate: expected a divisor of batch {self.batch}, got {self.accumulate}")
        if any(len(pair) != 2 for pair in self.window_warmup):
            raise ConfigError(f"train.window_warmup: expected pairs of share and bases, got {self.window_warmup}")
        ends = [until for until, _ in self.window_warmup]
        if ends != sorted(set(ends)) or any(not 0 < end < 1 for end in ends):
            raise ConfigError(f"train.window_warmup: expected rising shares between 0 and 1, got {ends}")
        if any(length < 1 for _, length in self.window_warmup):
            raise ConfigError("train.window_warmup: expected windows of 1 base or more")

    def window_at(self, share: float) -> int:
        """Return bases per window at a share of the run."""
        return next((length for until, length in self.window_warmup if share < until), self.window)

    def batch_of(self, window: int, multiple: int = 1) -> int:
        """Return windows per step for a window length, a multiple of what ranks and accumulation divide it by."""
        return max(1, round(self.batch * self.window / window / multiple)) * multiple

    def ratio_target(self, stage: int) -> float:
        """Return N of a chunking stage."""
        return self.ratio_targets[min(stage, len(self.ratio_targets) - 1)]

    def ratio_weight(self, stage: int) -> float:
        """Return the factor on the ratio loss of a chunking stage."""
        return self.ratio_weights[min(stage, len(self.ratio_weights) - 1)]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Recipe:
        """Read the JSON or TOML form; an unknown key or a value of another kind is an error that names it."""
        defaults = {field.name: field.default for field in fields(cls)}
        for name in value:
            if name not in defaults:
                raise ConfigError(f"train.{name}: unknown field. {did_you_mean(name, defaults)}")
        return cls(**{name: _like(defaults[name], f"train.{name}", given) for name, given in value.items()})


_AT_LEAST: dict[str, float] = {
    "window": 1,
    "batch": 1,
    "accumulate": 1,
    "repeat_weight": 0,
    "weight_decay": 0,
    "seed": 0,
    "checkpoint_every": 0,
    "keep_checkpoints": 1,
    "validate_every": 0,
    "validate_bases": 1,
    "spike_bits": 0,
}


def _like(default: Any, name: str, value: Any) -> Any:
    """Return a value as the kind of thing that its default is."""
    if isinstance(default, tuple):
        if not isinstance(value, (list, tuple)):
            value = (value,)
        return tuple(_tuples(item) for item in value) if name != "train.held_out" else tuple(map(str, value))
    kinds = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default):
        raise ConfigError(f"{name}: expected {kinds[type(default)]}, got {value!r}")
    return value


def _tuples(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(map(_tuples, value))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f"train: expected a number, got {value!r}")
    return value
