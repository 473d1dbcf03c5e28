"""The batches of one rank of a run, in windows as long as the recipe's warm-up says."""

from __future__ import annotations

from collections.abc import Iterator

from hnet_dna.config.recipe import Recipe
from hnet_dna.data.batches import Batch, stream
from hnet_dna.data.split import Split, training_segments
from hnet_dna.data.windows import Position, WindowSampler
from hnet_dna.genome.genome import Genome
from hnet_dna.training.progress import Progress
from hnet_dna.training.ranks import Ranks


class Feed:
    """Windows of the training part of a genome; which they are depends on the recipe and on progress alone."""

    def __init__(self, genome: Genome, split: Split, recipe: Recipe, ranks: Ranks, *, workers: int, pin: bool) -> None:
        """Prepare to read.

        Args:
            genome, split: what to read.
            recipe: its windows, batches and seed.
            ranks: shares each step out over them.
            workers: processes that read ahead.
            pin: whether batches come in page-locked memory (for a GPU).
        """
        self._genome, self._recipe, self._ranks, self._workers, self._pin = genome, recipe, ranks, workers, pin
        self._segments = training_segments(genome, split)
        self._length = 0
        self._batches: Iterator[Batch] = iter(())

    def next(self, progress: Progress, share: float) -> Batch:
        """Return the batch that follows on what progress says was read last, at a share of the run."""
        length = self._recipe.window_at(share)
        if length != self._length:
            position = progress.position
            if progress.window not in (0, length):
                # Other windows are another tiling: it begins with an epoch of its own.
                position = Position(position.epoch + 1)
            self._batches = stream(
                self._genome,
                WindowSampler(self._segments, length, self._recipe.seed),
                position,
                self._recipe.batch_of(length, self._ranks.size * self._recipe.accumulate),
                rank=self._ranks.rank,
                ranks=self._ranks.size,
                workers=self._workers,
                pin=self._pin,
            )
            self._length = length
        return next(self._batches)
