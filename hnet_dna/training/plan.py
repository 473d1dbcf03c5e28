"""What a run would be, before anything is written: its settings, its split and its budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hnet_dna.config.settings import Settings
from hnet_dna.data.split import Split, split_genome
from hnet_dna.genome import open as opening
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import GenomeLike
from hnet_dna.sequence.alphabet import Alphabet, alphabet
from hnet_dna.training.progress import Budget
from hnet_dna.training.ranks import Place, place_of_process
from hnet_dna.training.request import budget_of, settings_for
from hnet_dna.training.run import DEFAULT_MINUTES


@dataclass(frozen=True)
class Plan:
    """What a run would be.

    Attributes:
        settings: resolved.
        budget: when it would stop.
        ranks: how many processes would train.
        genome: what it would train on; None where none was given.
        split: which bases would train, validate and test; None without a genome.
    """

    settings: Settings
    budget: Budget
    ranks: int
    genome: Genome | None
    split: Split | None


def plan(
    genome: GenomeLike | None = None,
    *,
    open_genome: Callable[[GenomeLike, Alphabet], Genome] = lambda source, letters: opening.open_genome(source),
    steps: int | None = None,
    minutes: float | None = None,
    **options: Any,
) -> Plan:
    """Resolve what `pretrain` would do with the same arguments, without training.

    Args:
        genome: anything that `open_genome` takes; without it, nothing is said of split and epochs.
        open_genome: opens it.
        steps, minutes: how long to train.
        options: the other arguments of `pretrain` that say what is trained and how.

    Raises:
        UsageError, ConfigError, SequenceError: as `pretrain` does.
    """
    budget, settings = budget_of(steps, minutes), settings_for(**options)
    opened = split = None
    if genome is not None:
        recipe = settings.recipe
        opened = open_genome(genome, alphabet(settings.model.alphabet))
        split = split_genome(opened, recipe.held_out, recipe.split, recipe.regions)
    return Plan(
        settings, budget or Budget(None, DEFAULT_MINUTES * 60), (place_of_process() or Place()).size, opened, split
    )
