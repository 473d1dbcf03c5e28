"""Trains a model and keeps everything in a run folder: the loop with its observers."""

from __future__ import annotations

from collections.abc import Sequence

from hnet_dna.config.recipe import Recipe
from hnet_dna.data.mixture import Mixture
from hnet_dna.model.lm import HNetLM
from hnet_dna.training.checkpoints import BestModel, Checkpoints
from hnet_dna.training.feed import Feed
from hnet_dna.training.gauge import Gauge
from hnet_dna.training.metrics import Metrics, Reports
from hnet_dna.training.progress import Budget, Progress
from hnet_dna.training.ranks import Ranks
from hnet_dna.training.run_folder import RunFolder
from hnet_dna.training.tensorboard import TensorBoard
from hnet_dna.training.trainer import TrainingObserver, train
from hnet_dna.training.validation import Validation


def train_in_folder(
    folder: RunFolder,
    model: HNetLM,
    mixture: Mixture,
    recipe: Recipe,
    budget: Budget,
    *,
    ranks: Ranks | None = None,
    resume: bool = False,
    workers: int = 0,
    observers: Sequence[TrainingObserver] = (),
) -> Progress:
    """Train a model in place until the budget is used, and save it in its run folder.

    Args:
        folder: of the run, which has been created.
        model, recipe, budget, ranks: see `train`.
        mixture: what to train and validate on.
        resume: go on from the last checkpoint.
        workers: processes that read ahead; they change speed, never the windows.
        observers: of the first rank, beside those that keep the run.

    Raises:
        TrainingError, StoppedEarly: see `train`.
    """
    ranks = ranks or Ranks()
    feed = Feed(mixture, recipe, ranks, workers=workers, pin=next(model.parameters()).is_cuda)
    following: list[TrainingObserver] = []
    if ranks.first:
        following += [Metrics(folder, Gauge(model.config, recipe, ranks)), *observers]
        if recipe.tensorboard:
            following.append(TensorBoard(folder.path / "tensorboard"))
    with Checkpoints(folder) as checkpoints:
        return train(
            model,
            feed,
            recipe,
            budget,
            [
                Validation(mixture, recipe),
                Reports(),
                *following,
                BestModel(folder),
                checkpoints,  # last, so that what a checkpoint is of has been written down
            ],
            ranks=ranks,
            restore=(lambda model, optimizer: folder.load(model, optimizer, ranks)) if resume else None,
        )
