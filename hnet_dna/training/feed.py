"""The batches of one rank of a run, in windows as long as the recipe's warm-up says."""

from __future__ import annotations

from collections.abc import Iterator

from hnet_dna.config.recipe import Recipe
from hnet_dna.data.batches import Batch, stream
from hnet_dna.data.mix_sampler import MixPosition
from hnet_dna.data.mixture import Mixture
from hnet_dna.training.progress import Progress
from hnet_dna.training.ranks import Ranks


class Feed:
    """Windows of the training parts of genomes; which they are depends on mixture, recipe and progress only.

    Attributes:
        mixture: the genomes.
    """

    def __init__(self, mixture: Mixture, recipe: Recipe, ranks: Ranks, *, workers: int, pin: bool) -> None:
        """Prepare to read.

        Args:
            mixture: what to read.
            recipe: its windows, batches and seed.
            ranks: shares each step out over them.
            workers: processes that read ahead.
            pin: whether batches come in page-locked memory (for a GPU).
        """
        self.mixture = mixture
        self._recipe, self._ranks, self._workers, self._pin = recipe, ranks, workers, pin
        self._length = 0
        self._batches: Iterator[Batch[MixPosition]] = iter(())

    def next(self, progress: Progress, share: float) -> Batch[MixPosition]:
        """Return the batch that follows on what progress says was read last, at a share of the run."""
        length = self._recipe.window_at(share)
        if length != self._length:
            position = progress.position
            if progress.window not in (0, length):
                # Other windows are another tiling: each genome begins it with an epoch of its own.
                position = position.next_epochs()
            self._batches = stream(
                self.mixture.genomes,
                self.mixture.sampler(length, self._recipe.seed),
                position,
                self._recipe.batch_of(length, self._ranks.size * self._recipe.accumulate),
                rank=self._ranks.rank,
                ranks=self._ranks.size,
                workers=self._workers,
                pin=self._pin,
                chunk_lengths=self.mixture.chunk_lengths,
            )
            self._length = length
        return next(self._batches)
