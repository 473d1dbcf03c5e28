"""What a run would be, before anything is written: its settings, its split and its budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hnet_dna.config.settings import Settings
from hnet_dna.data.genome_mix import GenomeMix, GenomesLike, mix_of
from hnet_dna.data.mixture import Mixture, open_mixture
from hnet_dna.data.split import Split
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import open_genome
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.alphabet import Alphabet, alphabet
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


def _open(mix: GenomeMix, letters: Alphabet) -> list[Genome]:
    return [open_genome(entry.genome, aliases=entry.aliases) for entry in mix.entries]


def plan(
    genome: GenomesLike | None = None,
    *,
    open_genomes: Callable[[GenomeMix, Alphabet], list[Genome]] = _open,
    steps: int | None = None,
    minutes: float | None = None,
    held_out_genome: Sequence[str] = (),
    from_: str | Path | HNetLM | None = None,
    **options: Any,
) -> Plan:
    """Resolve what `pretrain` would do with the same arguments, without training.

    Args:
        genome: as `pretrain` takes it; without it, the plan has no split and no epochs.
        open_genomes: opens them.
        steps, minutes: how long to train.
        held_out_genome: names of genomes of a mixture that are held out whole.
        from_: the model that it would begin from.
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
        mixture = open_mixture(mix, open_genomes(mix, alphabet(settings.model.alphabet)), settings.recipe)
    return Plan(settings, budget or Budget(None, DEFAULT_MINUTES * 60), (place_of_process() or Place()).size, mixture)
