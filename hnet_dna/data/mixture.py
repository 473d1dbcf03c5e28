"""Several genomes opened, split and weighted: what a run trains on. One genome is a mixture of one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from hnet_dna.config.recipe import DataSettings, Recipe
from hnet_dna.config.schema import ModelConfig
from hnet_dna.data.chunk_lengths import ChunkLengths, read_chunk_lengths
from hnet_dna.data.genome_mix import GenomeMix, MixEntry
from hnet_dna.data.mix_sampler import MixSampler
from hnet_dna.data.split import Split, is_share, split_genome, training_segments
from hnet_dna.errors import ConfigError, HNetError, UsageError
from hnet_dna.genome.genome import Genome, whole
from hnet_dna.genome.open import open_genome, open_with_progress
from hnet_dna.progress import OnProgress, Work, ignore
from hnet_dna.sequence.interval import Interval

_log = logging.getLogger(__name__)
_SHOWN = 3


@dataclass(frozen=True)
class Part:
    """A genome of a mixture.

    Attributes:
        name: by which its figures are reported.
        genome, split: the genome, and which of its bases train, validate and test.
        share: of the windows; 0 where nothing of it trains.
        repeat_weight: factor on the loss of soft-masked bases.
        segments: the stretches that it trains on.
        entry: what was asked.
    """

    name: str
    genome: Genome
    split: Split
    share: float
    repeat_weight: float
    segments: tuple[Interval, ...]
    entry: MixEntry


@dataclass(frozen=True)
class Mixture:
    """Genomes that a run trains on.

    Attributes:
        parts: the genomes.
        size_power: see `GenomeMix`.
        plain: whether this is one genome of which nothing is asked but what the recipe says.
        chunk_lengths: bases per chunk aimed at, of the outermost stage; None where that is the recipe's N everywhere.
    """

    parts: tuple[Part, ...]
    size_power: float = 1.0
    plain: bool = True
    chunk_lengths: ChunkLengths | None = None

    @classmethod
    def of(cls, genome: Genome, split: Split, repeat_weight: float = 1.0) -> Mixture:
        """Return the mixture of one genome."""
        entry = GenomeMix.of(genome).entries[0]
        return cls((Part(entry.name, genome, split, 1.0, repeat_weight, _segments(genome, split), entry),))

    @cached_property
    def genomes(self) -> tuple[Genome, ...]:
        """The genomes, in the order of the parts."""
        return tuple(part.genome for part in self.parts)

    @property
    def several(self) -> bool:
        """Whether there is more than one genome, so that figures are also reported by genome."""
        return len(self.parts) > 1

    @cached_property
    def bases_per_chunk(self) -> float | None:
        """Mean bases per chunk of what trains, if the outermost stage does what `chunk_lengths` say; None without."""
        if (lengths := self.chunk_lengths) is None:
            return None
        read = [(number, part) for number, part in enumerate(self.parts) if part.share]
        return 1 / sum(part.share / lengths.mean(number, part.segments) for number, part in read)

    def check(self, model: ModelConfig) -> None:
        """Raise `ConfigError` where chunks are to have lengths that a model cannot learn."""
        if self.chunk_lengths and not (model.n_stages > 1 and model.stage(0).is_learned):
            raise ConfigError("chunk_lengths: no chunks are learned by the outermost stage of this model")

    def sampler(self, length: int, seed: int) -> MixSampler:
        """Return the sampler of windows that predict `length` bases."""
        return MixSampler([part.segments for part in self.parts], [part.share for part in self.parts], length, seed)


def open_mixture(mix: GenomeMix, recipe: Recipe, on_progress: OnProgress = ignore) -> Mixture:
    """Open the genomes of a mix, and split and weigh them as its entries and the recipe ask.

    Raises:
        HNetError: a genome cannot be opened, or an entry asks for what its genome has not; the message names the entry.
    """
    genomes = _open(mix, on_progress)
    _refuse_repeated(mix, genomes)
    if not mix.plain:
        for field in ("held_out", "regions", "chunk_lengths"):
            if getattr(recipe, field):
                raise UsageError(f"`{field}` is of one genome; of a mixture, give it to the entries it is for")
        if recipe.split and not is_share(recipe.split):
            raise UsageError(f"`split` {recipe.split}: a BED file is of one genome; give it to the entry it is for")
    splits = []
    for entry, genome in zip(mix.entries, genomes, strict=True):
        try:
            split = _split(entry, genome, recipe)
            splits.append((split, () if entry.unseen else _segments(genome, split)))
        except HNetError as error:
            if mix.plain:
                raise
            raise type(error)(f"{entry.name}: {error}") from None
    sizes = [sum(len(segment) - 1 for segment in segments) for _, segments in splits]
    weights = [
        0.0 if not size else size**mix.size_power if entry.weight is None else entry.weight
        for entry, size in zip(mix.entries, sizes, strict=True)
    ]
    total = sum(weights)
    parts = tuple(
        Part(
            entry.name,
            genome,
            split,
            weight / total,
            recipe.repeat_weight if entry.repeat_weight is None else entry.repeat_weight,
            segments,
            entry,
        )
        for entry, genome, (split, segments), weight in zip(mix.entries, genomes, splits, weights, strict=True)
    )
    _tell_of_copies(parts)
    files = [entry.chunk_lengths or recipe.chunk_lengths for entry in mix.entries]
    return Mixture(parts, mix.size_power, mix.plain, read_chunk_lengths(files, genomes, recipe.ratio_target(0)))


def _open(mix: GenomeMix, on_progress: OnProgress) -> list[Genome]:
    if mix.plain:
        (entry,) = mix.entries
        return [open_with_progress(entry.genome, on_progress, aliases=entry.aliases)]
    genomes = []
    with Work(on_progress, "opening", len(mix.entries), "genomes") as work:
        for entry in mix.entries:
            genomes.append(open_genome(entry.genome, aliases=entry.aliases))
            work.add(1)
    return genomes


def _segments(genome: Genome, split: Split) -> tuple[Interval, ...]:
    return tuple(training_segments(genome, split))


def _split(entry: MixEntry, genome: Genome, recipe: DataSettings) -> Split:
    if entry.unseen:
        return Split((), (), tuple(whole(contig) for contig in genome.contigs), "held out whole")
    own = entry.held_out or entry.split
    return split_genome(
        genome,
        entry.held_out if own else recipe.held_out,
        entry.split if own else recipe.split,
        entry.regions or recipe.regions,
    )


def _refuse_repeated(mix: GenomeMix, genomes: Sequence[Genome]) -> None:
    seen: dict[object, str] = {}
    for entry, genome in zip(mix.entries, genomes, strict=True):
        place = id(genome) if genome.streamed else genome.source.resolve()
        if place in seen:
            raise ConfigError(f"{seen[place]} and {entry.name} are the same genome, {genome.source}; give it once")
        seen[place] = entry.name


def _tell_of_copies(parts: Sequence[Part]) -> None:
    """Log contigs that one genome holds out and another trains on, base by base the same."""
    training = {
        part.genome[name].md5: (part.name, name) for part in parts for name in {i.contig for i in part.split.train}
    }
    copies = [
        f"{name} of {part.name}"
        for part in parts
        for name in dict.fromkeys(i.contig for i in part.split.held_out)
        if training.get(part.genome[name].md5, (part.name,))[0] != part.name
    ]
    if copies:
        more = f" and {len(copies) - _SHOWN:,} more" if len(copies) > _SHOWN else ""
        _log.warning(
            "held out, but the same bases are trained on in another genome: %s; figures on them are not held-out ones",
            ", ".join(copies[:_SHOWN]) + more,
        )
