"""The life of a run: it begins in a folder of its own, trains, is evaluated, and can go on after it was stopped."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from hnet_dna.config.settings import Settings
from hnet_dna.data.genome_mix import GenomeMix, GenomesLike, mix_of
from hnet_dna.data.mixture import Mixture, open_mixture
from hnet_dna.data.run_record import mix_in, refuse_other_data
from hnet_dna.errors import CheckpointError, UsageError
from hnet_dna.evaluation.compare import Comparison, HeldOut, Sample, bases_of, compare, sampled
from hnet_dna.files import is_streamed, sole_owner
from hnet_dna.genome.genome import known_bases
from hnet_dna.model.lm import HNetLM
from hnet_dna.progress import Progress as Report
from hnet_dna.training.freezing import freeze
from hnet_dna.training.progress import Budget, Progress, StepReport
from hnet_dna.training.ranks import Ranks, join_ranks
from hnet_dna.training.request import budget_of, changes_of, settings_for, settings_of
from hnet_dna.training.run_folder import RunFolder, describe_run
from hnet_dna.training.train_in_folder import train_in_folder
from hnet_dna.training.trainer import Training, TrainingObserver
from hnet_dna.training.warm_start import Parent, refuse_other_shape, take_over
from hnet_dna.training.words import learn_words

DEFAULT_MINUTES = 10.0


@dataclass(frozen=True)
class Run:
    """A run that is complete, or has used its budget.

    Attributes:
        path: its folder; `load_model` takes it, and `resume`.
        name: the preset that it began with, `model` for none.
        model: as it was trained, in evaluation mode.
        comparison: held-out bits per base beside those of simple models; None where nothing is held out, where no
            evaluation was asked for, and on all ranks but the first.
    """

    path: Path
    name: str
    model: HNetLM
    comparison: Comparison | None


@dataclass(frozen=True)
class Evaluation:
    """What the closing evaluation takes.

    Attributes:
        held_out: bases that are held out.
        taken: those that are predicted.
        known: those of them that are not N.
        train: bases of the training part.
        counted: those whose words are counted for the Markov models.
    """

    held_out: int
    taken: int
    known: int
    train: int
    counted: int


@dataclass(frozen=True)
class Beginning:
    """What a run begins with.

    Attributes:
        mixture: the genomes, and which bases of them train, validate and test.
        record: what run.json holds.
        model: freshly initialised.
        budget: when to stop.
    """

    mixture: Mixture
    record: dict[str, Any]
    model: HNetLM
    budget: Budget


class RunObserver:
    """Follows a run. Every method may be overridden; with several ranks, only the first rank's observer is called."""

    def opening(self, report: Report) -> None:
        """Take note of how far the genomes have been opened."""

    def begun(self, beginning: Beginning) -> None:
        """Take note that the run's folder has been made."""

    def nothing_to_resume(self, path: Path) -> None:
        """Take note that no run has begun in the folder yet, so that one begins."""

    def resumed(self, progress: Progress, budget: Budget) -> None:
        """Take note that the run goes on from a checkpoint; one that is complete is evaluated again."""

    def started(self, progress: Progress, budget: Budget) -> None:
        """Take note that the first step follows."""

    def step(self, report: StepReport) -> None:
        """Take note that some steps have been taken."""

    def event(self, message: str) -> None:
        """Take note that a step was left out, a router collapsed, or the like."""

    def trained(self) -> None:
        """Take note that the last step has been taken."""

    def evaluating(self, evaluation: Evaluation) -> None:
        """Take note that evaluation begins."""

    def evaluated(self, report: Report) -> None:
        """Take note of how far the evaluation has come."""

    def not_evaluated(self, why: str) -> None:
        """Take note of why there is no evaluation."""


def pretrain(
    genome: GenomesLike | None,
    out: str | Path,
    *,
    preset: str | None = None,
    config: str | Path | None = None,
    settings: Sequence[str] = (),
    alphabet: str | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    held_out: Sequence[str] = (),
    held_out_genome: Sequence[str] = (),
    split: str = "",
    regions: str = "",
    window: int | None = None,
    batch: int | None = None,
    window_warmup: Sequence[tuple[float, int]] | None = None,
    repeat_weight: float | None = None,
    seed: int | None = None,
    workers: int | None = None,
    evaluation: bool = True,
    resume: bool = False,
    from_: str | Path | HNetLM | None = None,
    command: Sequence[str] = (),
    observer: RunObserver | None = None,
) -> Run:
    """Train an H-Net on genomes and measure held-out bits per base; everything is kept in a run folder.

    Args:
        genome: anything that `open_genome` takes; or several genomes, as a list of paths, a mapping of names to paths
            or opened genomes, or a `GenomeMix`. None with `resume`, for what the run began with.
        out: the folder, new or empty; with `resume`, that of the run.
        preset: a named model shape and recipe; that of `config`, or `tiny`, where None.
        config: a TOML file with the tables model and train.
        settings: texts such as `train.learning_rate=1e-3`.
        alphabet: letters that the model knows: dna, rna, iupac or bytes.
        steps: how many steps to train, in all.
        minutes: how long to train instead, in all; 10 where neither is given.
        held_out: contigs to hold out, of a single genome.
        held_out_genome: names of genomes of a mixture that are held out whole.
        split: a BED file whose fourth column is train, valid or test, for a single genome; or a share to hold out.
        regions: a BED file, for a single genome; only its regions are used.
        window: bases per window.
        batch: windows per step, over all ranks.
        window_warmup: pairs of a share of the run and the bases per window until then.
        repeat_weight: factor on the loss of soft-masked bases.
        seed: decides initial weights, windows and strands.
        workers: processes that prepare windows ahead; None means 2 with a GPU and none without. They affect only speed.
        evaluation: measure held-out bits per base at the end. Of large genomes evenly spread samples are taken, whose
            size follows from how many bases the run has trained on, so that it takes at most a tenth of its time.
        resume: go on from the last checkpoint in `out`; where no run has begun there, begin.
        from_: a model to begin from, as `load_model` takes it, in place of a preset and fresh weights. The run's model
            has its shape; windows and N can change, a memory can get more orders, and the alphabet can become wider.
            The recipe is that of the model's run, or of `tiny` where it has none; the schedule begins anew.
        command: kept in the run's record.
        observer: follows the run.

    Raises:
        UsageError: arguments that contradict each other, or that a run which goes on cannot change.
        ConfigError: settings with an unknown field or an impossible value.
        SequenceError, TrainingError: the genome cannot be used, or has nothing to train on; training went wrong.
        StoppedEarly: SIGTERM or SIGINT came; the state is saved.

    Example:
        >>> from hnet_dna import pretrain
        >>> run = pretrain({"chr1": "ACGTTGCAAGCT" * 300}, "run", steps=2, window=64, batch=2)
        >>> (run.path / "run.json").is_file()
        True
    """
    budget = budget_of(steps, minutes)
    if genome is None and not resume:
        raise UsageError("`genome` is missing: give a FASTA file, or 'yeast' for the genome in the package")
    mix = mix_of(genome, held_out_genome)
    folder, watching = RunFolder(Path(out)), observer or RunObserver()
    asked: dict[str, Any] = {
        "preset": preset,
        "config": config,
        "settings": settings,
        "alphabet": alphabet,
        "held_out": held_out,
        "split": split,
        "regions": regions,
        "window": window,
        "batch": batch,
        "window_warmup": window_warmup,
        "repeat_weight": repeat_weight,
        "seed": seed,
    }
    name = Path(from_).as_posix() if isinstance(from_, str | Path) else "a model in memory"
    with join_ranks() as ranks:
        given = [entry.genome for entry in (mix.entries if mix else ()) if isinstance(entry.genome, str | Path)]
        if ranks.size > 1 and (pipes := [place for place in given if is_streamed(place)]):
            raise UsageError(
                f"`genome` {pipes[0]}: each of {ranks.size} ranks reads the genome, and a pipe can be read once; name "
                "a file"
            )
        # All ranks look before the first one creates anything.
        begun = bool(ranks.agree(float(folder.begun()))[0])
        following = watching if ranks.first else RunObserver()
        life = _Life(folder, ranks, workers, evaluation, tuple(command), following)
        if resume and (begun or mix is None):
            began = settings_of(folder.description())
            _refuse_other_parent(folder.description(), None if from_ is None else name)
            return life.go_on(mix, settings_for(**asked, began=began), began, budget)
        assert mix is not None
        if resume:
            following.nothing_to_resume(folder.path)
        parent = HNetLM.from_pretrained(from_) if isinstance(from_, str | Path) else from_
        settled = settings_for(**asked, parent=parent)
        changed = {} if parent is None else refuse_other_shape(parent.config, settled.model, name)
        origin = None if parent is None else Parent(name, parent, changed)
        return life.begin(mix, settled, budget or Budget(None, DEFAULT_MINUTES * 60), origin)


def resume(
    run: str | Path | Run,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    settings: Sequence[str] = (),
    genome: GenomesLike | None = None,
    workers: int | None = None,
    evaluation: bool = True,
    command: Sequence[str] = (),
    observer: RunObserver | None = None,
) -> Run:
    """Continue a run from its last checkpoint, exactly as if it had not been stopped.

    Args:
        run: its folder, or what `pretrain` returned.
        steps: how many steps to train, in all; as the run began, where neither this nor `minutes` is given.
        minutes: how long to train, in all.
        settings: texts such as `train.learning_rate=1e-3`, of what a run that goes on may change.
        genome: needed only if the run's own came from memory or through a pipe.
        workers, evaluation, command, observer: see `pretrain`.

    Raises:
        CheckpointError: there is no run, or no undamaged checkpoint.
        BusyError: another process is working on it.
        UsageError, ConfigError, SequenceError, TrainingError, StoppedEarly: see `pretrain`.

    Example:
        >>> from hnet_dna import pretrain, resume
        >>> genome = {"chr1": "ACGTTGCAAGCT" * 300}
        >>> run = pretrain(genome, "resumed", steps=2, window=64, batch=2)
        >>> resume(run, steps=4, genome=genome).path.name
        'resumed'
    """
    path = run.path if isinstance(run, Run) else Path(run)
    if not RunFolder(path).begun():
        raise CheckpointError(f"{path} is not a run folder: run.json is missing")
    return pretrain(
        genome,
        path,
        settings=settings,
        steps=steps,
        minutes=minutes,
        workers=workers,
        evaluation=evaluation,
        resume=True,
        command=command,
        observer=observer,
    )


@dataclass(frozen=True)
class _Life:
    """One process's part in a run."""

    folder: RunFolder
    ranks: Ranks
    workers: int | None
    evaluation: bool
    command: tuple[str, ...]
    observer: RunObserver

    def begin(self, mix: GenomeMix, settings: Settings, budget: Budget, parent: Parent | None) -> Run:
        recipe = settings.recipe
        mixture = open_mixture(mix, recipe, self.observer.opening)
        mixture.check(settings.model)
        torch.manual_seed(recipe.seed)
        model = HNetLM(settings.model)
        if parent is not None:
            take_over(parent.model, model)
        freeze(model, recipe.freeze)  # refuses what cannot be before anything is written
        learn_words(model, mixture)
        model = model.to(self.ranks.device)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        record = describe_run(settings, parameters, mixture, asdict(budget), self.command, self.ranks)
        if parent is not None:
            record["parent"] = {"model": parent.name, "digest": parent.model.digest(), "changed": parent.changed}

        def fill(folder: RunFolder) -> None:
            folder.describe(record, settings)
            folder.save(model, None, Progress())

        if self.ranks.first:
            self.folder.create(fill)
        self.ranks.wait()
        self.observer.begun(Beginning(mixture, record, model, budget))
        return self._train(settings, model, mixture, budget, resume=False)

    def go_on(
        self,
        mix: GenomeMix | None,
        settings: Settings,
        began: Settings,
        budget: Budget | None,
    ) -> Run:
        record, recipe = self.folder.description(), settings.recipe
        changed = changes_of(settings, began)
        mix = mix_in(record["data"]) if mix is None else mix
        model = HNetLM.from_pretrained(self.folder.path).to(self.ranks.device)
        mixture = open_mixture(mix, recipe, self.observer.opening)
        refuse_other_data(mixture, record["data"])
        until = budget or Budget(record["budget"]["steps"], record["budget"]["seconds"])
        return self._train(settings, model, mixture, until, resume=True, changed=changed)

    def _train(
        self,
        settings: Settings,
        model: HNetLM,
        mixture: Mixture,
        budget: Budget,
        *,
        resume: bool,
        changed: dict[str, list[Any]] | None = None,
    ) -> Run:
        recipe, ranks, observer = settings.recipe, self.ranks, self.observer
        workers = self.workers
        if workers is None:
            workers = 2 if ranks.device.type == "cuda" else 0
        with sole_owner(self.folder.path) if ranks.first else nullcontext():
            progress = train_in_folder(
                self.folder,
                model,
                mixture,
                recipe,
                budget,
                ranks=ranks,
                resume=resume,
                workers=workers,
                observers=[_Following(self, settings, resume, changed or {})],
            )
            observer.trained()
            if recipe.shard and ranks.size > 1:
                model = HNetLM.from_pretrained(self.folder.path).to(ranks.device)
            trained = progress.step * recipe.batch * recipe.window  # shorter windows at first are as many more
            sample = Sample.after(trained, ranks.device.type, ranks.size)
            comparison = self._evaluate(model, mixture, sample) if ranks.first else None
        return Run(self.folder.path, settings.preset or "model", model.eval(), comparison)

    def _evaluate(self, model: HNetLM, mixture: Mixture, sample: Sample) -> Comparison | None:
        if not self.evaluation:
            if not self.folder.evaluated:
                self.folder.write_card(model, None)
            self.observer.not_evaluated("as asked")
            return None
        every = [HeldOut(part.genome, part.split, part.name if mixture.several else "") for part in mixture.parts]
        if held_out := bases_of(each.split.held_out for each in every):
            taken, counted = sampled(every, sample)
            known = sum(known_bases(each.genome, intervals) for each, intervals in zip(every, taken, strict=True))
            train = bases_of(each.split.train for each in every)
            self.observer.evaluating(Evaluation(held_out, bases_of(taken), known, train, bases_of(counted)))
        comparison = compare(model, every, sample=sample, on_progress=self.observer.evaluated)
        if comparison is None:
            self.folder.write_card(model, None)
            self.observer.not_evaluated("nothing is held out")
            return None
        self.folder.write_results(comparison.to_dict())
        self.folder.write_card(model, comparison.to_dict())
        return comparison


def _refuse_other_parent(record: dict[str, Any], name: str | None) -> None:
    began = record.get("parent", {}).get("model")
    if name is not None and name != began:
        raise UsageError(f"`resume`: the run began from {began or 'fresh weights'}, and stays so; asked for {name}")


class _Following(TrainingObserver):
    """Tells the observer of a run what its training does, and records where it goes on."""

    def __init__(self, life: _Life, settings: Settings, resumed: bool, changed: dict[str, list[Any]]) -> None:
        self._life, self._settings, self._resumed, self._changed = life, settings, resumed, changed

    def begin(self, training: Training) -> None:
        life, progress, budget = self._life, training.progress, training.budget
        complete = training.share >= 1.0
        if complete and self._changed:
            raise UsageError(
                f"the run is complete at step {progress.step:,}, where {', '.join(self._changed)} changes nothing; "
                "leave it out, or give more `steps` or `minutes`"
            )
        if self._resumed:
            life.observer.resumed(progress, budget)
            if not complete:
                life.folder.describe_resumption(
                    progress.step, self._settings, asdict(budget), self._changed, life.command
                )
        if not complete:
            life.observer.started(progress, budget)

    def report(self, report: StepReport) -> None:
        self._life.observer.step(report)

    def event(self, step: int, message: str) -> None:
        self._life.observer.event(message)
