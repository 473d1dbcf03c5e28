"""What a run would be, before anything is written: its settings, its split and its budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hnet_dna.config.settings import Settings
from hnet_dna.data.genome_mix import GenomesLike, mix_of
from hnet_dna.data.mixture import Mixture, open_mixture
from hnet_dna.data.split import Split, base_counts
from hnet_dna.model.cost import Cost, cost_of
from hnet_dna.model.lm import HNetLM
from hnet_dna.progress import OnProgress, ignore
from hnet_dna.training.optim import stage_multipliers
from hnet_dna.training.progress import Budget
from hnet_dna.training.ranks import Place, place_of_process
from hnet_dna.training.request import budget_of, settings_for
from hnet_dna.training.run import DEFAULT_MINUTES
from hnet_dna.training.warm_start import refuse_other_shape


@dataclass(frozen=True)
class Plan:
    """What a run would be.

    Attributes:
        settings: resolved.
        budget: when it would stop.
        ranks: how many processes would train.
        mixture: what it would train on; None where no genome was given.
    """

    settings: Settings
    budget: Budget
    ranks: int
    mixture: Mixture | None

    @property
    def split(self) -> Split | None:
        """Which bases of the genome, of several the first one, would train, validate and test; None without one."""
        return self.mixture.parts[0].split if self.mixture else None

    @cached_property
    def cost(self) -> Cost:
        """What the model costs, by stage."""
        model, recipe = self.settings.model, self.settings.recipe
        targets = [recipe.ratio_target(stage) for stage in range(model.n_stages - 1)]
        if self.mixture and self.mixture.bases_per_chunk:
            targets[0] = self.mixture.bases_per_chunk
        return cost_of(model, targets, recipe.window)

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """The highest learning rate of each stage."""
        model, recipe = self.settings.model, self.settings.recipe
        return tuple(recipe.learning_rate * factor for factor in stage_multipliers(model, recipe))

    @property
    def step_bytes(self) -> tuple[float, float]:
        """Memory of a step in each process, estimated in float32, and the most that it can be."""
        recipe = self.settings.recipe
        bases = recipe.batch * recipe.window // (recipe.accumulate * self.ranks)
        return self.cost.training_bytes(bases), self.cost.worst_training_bytes(bases)

    @cached_property
    def predicted(self) -> tuple[int, ...]:
        """How many bases an epoch of each genome predicts."""
        return tuple(base_counts(part.genome, part.split)["predicted"] for part in self.mixture.parts)  # type: ignore[union-attr]

    def steps_of(self, bases: float) -> float:
        """Return how many steps it takes to predict so many bases."""
        return bases / (self.settings.recipe.batch * self.settings.recipe.window)


def plan(
    genome: GenomesLike | None = None,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    held_out_genome: Sequence[str] = (),
    from_: str | Path | HNetLM | None = None,
    on_progress: OnProgress = ignore,
    **options: Any,
) -> Plan:
    """Resolve what `pretrain` would do with the same arguments, without training.

    Args:
        genome: as `pretrain` takes it; without it, the plan has no split and no epochs.
        steps, minutes: how long to train.
        held_out_genome: names of genomes of a mixture that are held out whole.
        from_: the model that it would begin from.
        on_progress: called with a `Progress` as genomes are opened.
        options: the other arguments of `pretrain` that say what is trained and how.

    Raises:
        UsageError, ConfigError, SequenceError: as `pretrain` does.
    """
    parent = HNetLM.from_pretrained(from_) if isinstance(from_, str | Path) else from_
    budget, settings = budget_of(steps, minutes), settings_for(**options, parent=parent)
    if parent is not None:
        refuse_other_shape(parent.config, settings.model, str(from_ if parent is not from_ else "a model in memory"))
    mixture = None
    if (mix := mix_of(genome, held_out_genome)) is not None:
        mixture = open_mixture(mix, settings.recipe, on_progress)
        mixture.check(settings.model)
    return Plan(settings, budget or Budget(None, DEFAULT_MINUTES * 60), (place_of_process() or Place()).size, mixture)
