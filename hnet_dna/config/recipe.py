"""Everything about a training run that is not the model's shape: one frozen, strict value.

Its settings come in groups, each a base class of the recipe: a part of the training names the group that it reads. To a
user they are one table, `[train]`, since their names are unique.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal

from hnet_dna.config.values import choice, contig_name, integer, number, readers, refuse_unknown, row, several
from hnet_dna.errors import ConfigError

Schedule = Literal["wsd", "cosine"]
Precision = Literal["auto", "fp32", "bf16"]
OnTrouble = Literal["stop", "skip"]
Optimizer = Literal["adamw", "muon"]
Mean = Literal["windows", "genomes", "bases"]
PARTS = ("embedding", "memory", "encoder", "router", "main", "decoder", "head")  # of a model

_SHARE = number("from 0 to 1", lambda x: 0 <= x <= 1)
_NOT_NEGATIVE = number("of 0 or more", lambda x: x >= 0)
_POSITIVE = number("above 0", lambda x: x > 0)
_BETA = number("from 0 to below 1", lambda x: 0 <= x < 1)
_WARMUP = row("a pair of share and bases", number("between 0 and 1", lambda x: 0 < x < 1), integer(1))


@dataclass(frozen=True)
class _Group:
    TITLE: ClassVar[str]

    def __post_init__(self) -> None:
        for field, read in readers(type(self)).items():
            object.__setattr__(self, field, read(f"train.{field}", getattr(self, field)))


@dataclass(frozen=True)
class DataSettings(_Group):
    """What a step reads.

    Attributes:
        window: bases predicted per window.
        batch: windows per step, over all ranks.
        window_warmup: (share of the run, bases per window) pairs: until that share, windows have this length, and the
            batch grows so that a step predicts the same number of bases.
        repeat_weight: factor on the loss of soft-masked bases, where a genome of a mixture has none of its own.
        held_out: contigs to hold out; empty means the default split.
        split, regions: as `split_genome` takes them.
        chunk_lengths: a BED file of a single genome whose fourth column is the bases per chunk to aim at there, instead
            of N of the outermost stage.
        seed: decides initial weights, windows and strands.
    """

    TITLE: ClassVar[str] = "data"

    window: Annotated[int, integer(1)] = 1024
    batch: Annotated[int, integer(1)] = 4
    window_warmup: Annotated[tuple[tuple[float, int], ...], several(_WARMUP)] = ()
    repeat_weight: Annotated[float, _NOT_NEGATIVE] = 1.0
    held_out: Annotated[tuple[str, ...], several(contig_name)] = ()
    split: str = ""
    regions: str = ""
    chunk_lengths: str = ""
    seed: Annotated[int, integer(0, 2**63 - 1)] = 0

    def window_at(self, share: float) -> int:
        """Return bases per window at a share of the run."""
        return next((length for until, length in self.window_warmup if share < until), self.window)

    def batch_of(self, window: int, multiple: int = 1) -> int:
        """Return windows per step for a window length, a multiple of what ranks and accumulation divide it by."""
        return max(1, round(self.batch * self.window / window / multiple)) * multiple


@dataclass(frozen=True)
class OptimizerSettings(_Group):
    """What a step changes, and how far. Shares are of the run, 0 to 1.

    Attributes:
        optimizer: `adamw` for all parameters, or `muon` for the matrices inside the network and AdamW for the rest.
        learning_rate: peak, at base resolution.
        lr_multipliers: factor on it for each stage, outermost first; the last entry serves any further stage. Empty
            means those of the paper's equation 11, relative to the outermost stage.
        schedule: `wsd` rises, holds, and falls linearly to zero; `cosine` rises and falls to a tenth of the peak.
        warmup, decay: shares in which the rate rises, and (`wsd`) falls.
        betas, weight_decay, clip: AdamW, whose decay Muon shares, and the largest gradient norm.
        ratio_targets: N of each chunking stage, bases (or outer chunks) per chunk aimed at; the last serves the rest.
        ratio_weights: factor on each stage's ratio loss; the last serves the rest.
        freeze: parts of the model that are not trained, of `PARTS`; encoder, router and decoder are those of all
            stages, and main is the innermost stage.
    """

    TITLE: ClassVar[str] = "optimizer"

    optimizer: Optimizer = "adamw"
    learning_rate: Annotated[float, _POSITIVE] = 3e-3
    lr_multipliers: Annotated[tuple[float, ...], several(_POSITIVE)] = ()
    schedule: Schedule = "wsd"
    warmup: Annotated[float, _SHARE] = 0.02
    decay: Annotated[float, _SHARE] = 0.3
    betas: Annotated[tuple[float, float], row("two numbers from 0 to below 1", _BETA, _BETA)] = (0.9, 0.95)
    weight_decay: Annotated[float, _NOT_NEGATIVE] = 0.1
    clip: Annotated[float, _POSITIVE] = 1.0
    ratio_targets: Annotated[tuple[float, ...], several(number("above 1", lambda x: x > 1), least=1)] = (3.0,)
    ratio_weights: Annotated[tuple[float, ...], several(_NOT_NEGATIVE, least=1)] = (0.02,)
    freeze: Annotated[tuple[str, ...], several(choice(PARTS))] = ()

    def ratio_target(self, stage: int) -> float:
        """Return N of a chunking stage."""
        return self.ratio_targets[min(stage, len(self.ratio_targets) - 1)]

    def ratio_weight(self, stage: int) -> float:
        """Return the factor on the ratio loss of a chunking stage."""
        return self.ratio_weights[min(stage, len(self.ratio_weights) - 1)]


@dataclass(frozen=True)
class HardwareSettings(_Group):
    """How the machine runs a step.

    Attributes:
        accumulate: parts that a rank's share of a step is run in, one after the other, to save memory.
        precision: `bf16` runs matrix products in bfloat16, never what decides (router, average, residual stream,
            norms, scan state, loss); `auto` does so on a GPU that has it.
        compile: run the model through torch.compile.
        recompute: keep no activations of layers but compute them again in the backward pass.
        shard: spread parameters and optimizer over the ranks (FSDP2) instead of copying them (DDP).
    """

    TITLE: ClassVar[str] = "hardware"

    accumulate: Annotated[int, integer(1)] = 1
    precision: Precision = "auto"
    compile: bool = False
    recompute: bool = False
    shard: bool = False


@dataclass(frozen=True)
class LogSettings(_Group):
    """What a run writes, measures and watches for.

    Attributes:
        checkpoint_every: seconds between checkpoints, or more: training may wait for them a fiftieth of the time at
            most; 0 saves after every step.
        keep_checkpoints: how many of the last checkpoints to keep.
        validate_every: steps between measurements on the validation part; 0 never measures.
        validate_bases: how much of the validation part is measured; of several genomes, shared out evenly.
        best_by: the mean over several genomes by which the best model is chosen: each counts by its share of the
            `windows`, all `genomes` count alike, or all measured `bases`.
        on_trouble: what follows a loss or gradient that is NaN or infinite, or a spike: `stop` saves the state and ends
            the run, `skip` leaves out the step. A collapsed router stops the run, or is only reported.
        spike_bits: bits per base above the running mean that count as a spike.
        tensorboard: also write TensorBoard's event files.
    """

    TITLE: ClassVar[str] = "checkpoints and logging"

    checkpoint_every: Annotated[float, _NOT_NEGATIVE] = 60.0
    keep_checkpoints: Annotated[int, integer(1)] = 2
    validate_every: Annotated[int, integer(0)] = 500
    validate_bases: Annotated[int, integer(1)] = 100_000
    best_by: Mean = "windows"
    on_trouble: OnTrouble = "stop"
    spike_bits: Annotated[float, _NOT_NEGATIVE] = 0.5
    tensorboard: bool = False


GROUPS: tuple[type[_Group], ...] = (DataSettings, OptimizerSettings, HardwareSettings, LogSettings)


# A dataclass takes the fields of its last base first.
@dataclass(frozen=True)
class Recipe(LogSettings, HardwareSettings, OptimizerSettings, DataSettings):
    """How to train: the settings of all groups, each with a default. See the groups for what they mean."""

    TITLE: ClassVar[str] = "train"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup + self.decay > 1:
            raise ConfigError("train.warmup, train.decay: shares of the run, which may not exceed 1 together")
        if self.batch % self.accumulate:
            raise ConfigError(f"train.accumulate: expected a divisor of batch {self.batch}, got {self.accumulate}")
        ends = [until for until, _ in self.window_warmup]
        if ends != sorted(set(ends)):
            raise ConfigError(f"train.window_warmup: expected rising shares between 0 and 1, got {ends}")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Recipe:
        """Read the JSON or TOML form; an unknown key or a value of another kind is an error that names it."""
        refuse_unknown("train.", value, readers(cls))
        return cls(**value)
