"""`hnet-dna pretrain`: train an H-Net on a genome."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hnet_dna.errors import UsageError

from . import options, show

if TYPE_CHECKING:
    from hnet_dna.data.genome import Genome
    from hnet_dna.data.split import Split
    from hnet_dna.evaluate.compare import Comparison
    from hnet_dna.model.lm import HNetLM
    from hnet_dna.sequence.alphabet import Alphabet
    from hnet_dna.train.ranks import Ranks
    from hnet_dna.train.recipe import Recipe
    from hnet_dna.train.run_folder import Progress, RunFolder
    from hnet_dna.train.settings import Settings
    from hnet_dna.train.trainer import Budget

DEFAULT_MINUTES = 10.0
_NO_GENOME = "--genome is missing: give a FASTA file, or 'yeast' for the genome in the package"
# What a run that goes on may change: how fast, how often, how far a step goes, and what to do in trouble; not what it
# learns from.
_CHANGEABLE = {
    "accumulate", "checkpoint_every", "clip", "compile", "keep_checkpoints", "learning_rate", "on_trouble", "precision",
    "recompute", "shard", "spike_bits", "tensorboard", "validate_bases", "validate_every",
}  # fmt: skip


def pretrain(
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="PATH", help="Run folder to create (or, with --resume, to go on with)."),
    ] = None,
    genome: options.Genome = None,
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Named start: model shape and recipe. Default: that of --config, or tiny."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="TOML", help="File with the tables model and train (docs/training.md).")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="One setting, such as train.learning_rate=1e-3; repeat for more."
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="Train this long; evaluation follows. Default: 10, where no --steps are given.", min=0.0
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", help="Train this many steps instead.", min=0)] = None,
    held_out: options.HeldOut = None,
    split: options.Split = None,
    regions: options.UsedRegions = None,
    window: Annotated[int | None, typer.Option(metavar="N", help="Bases per window.", min=1)] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Windows per step, over all GPUs.", min=1)] = None,
    window_warmup: Annotated[
        str | None,
        typer.Option(metavar="SHARE:BASES,...", help="Shorter windows first, such as 0.1:256,0.3:1024."),
    ] = None,
    repeat_weight: Annotated[
        float | None, typer.Option(metavar="X", help="Factor on the loss of soft-masked bases.", min=0.0)
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Processes that read ahead. Default: 2 with a GPU, else none.", min=0),
    ] = None,
    alphabet: Annotated[
        str | None,
        typer.Option(metavar="ALPHABET", help="Letters the model knows: dna (default), rna, iupac or bytes."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Decides initial weights, windows and strands.", min=0)
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in --out; begin where there is no --out.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print sizes, arithmetic and steps; train nothing, create no run folder.")
    ] = False,
) -> None:
    """Train an H-Net on a genome and report held-out bits per base.

    Example: hnet-dna pretrain --genome genome.fa.gz --out run --minutes 30

    Example: hnet-dna pretrain --out run --resume --minutes 60

    Example: hnet-dna pretrain --preset m3t1-m15-m4 --genome hg38 --dry-run

    On several GPUs: torchrun --nproc-per-node 8 $(which hnet-dna) pretrain ...
    """
    if minutes is not None and steps is not None:
        raise UsageError("give --minutes or --steps, not both")
    options: dict[str, Any] = {
        "held_out": held_out or None,
        "split": split,
        "regions": regions,
        "window": window,
        "batch": batch,
        "window_warmup": None if window_warmup is None else _warmup(window_warmup),
        "repeat_weight": repeat_weight,
        "seed": seed,
    }
    options = {name: value for name, value in options.items() if value is not None}
    budget = (steps, None if minutes is None else minutes * 60)
    if dry_run:
        _plan(resolve_settings(preset, config, setting, options, alphabet), genome, budget)
        return
    if out is None:
        raise UsageError("--out is missing: the folder to create for this run")
    if genome is None and not resume:
        raise UsageError(_NO_GENOME)
    if genome is not None:
        from hnet_dna.data.fetch import find_genome

        find_genome(genome)  # a mistake is told before what takes seconds to import
    from hnet_dna.train.ranks import join_ranks
    from hnet_dna.train.run_folder import RunFolder

    with join_ranks() as ranks:
        # All ranks look before the first one creates anything.
        begun = bool(ranks.agree(float(RunFolder(out).begun()))[0])
        if resume and (begun or genome is None):
            run = RunFolder(out)
            began = began_with(run.description())
            settings = resolve_settings(preset, config, setting, options, alphabet, began)
            _go_on(run, genome, settings, _changes(settings, began), budget, ranks, workers)
        else:
            if genome is None:
                raise UsageError(_NO_GENOME)
            settings = resolve_settings(preset, config, setting, options, alphabet)
            if resume and ranks.first:
                show.notes.print(f"begins: no run in {out} yet")
            _begin(RunFolder(out), genome, settings, budget, ranks, workers)


def resolve_settings(
    preset: str | None,
    config: Path | None,
    setting: list[str] | None,
    options: dict[str, Any],
    alphabet: str | None,
    began: Settings | None = None,
) -> Settings:
    """Combine options into settings, over those of a run that goes on where there is one."""
    from hnet_dna.train.settings import resolve

    return resolve(preset, config, setting or (), options, alphabet, began)


def began_with(told: dict[str, Any]) -> Settings:
    """Return the settings in a run's description."""
    from hnet_dna.config.schema import ModelConfig
    from hnet_dna.train.recipe import Recipe
    from hnet_dna.train.settings import Settings

    return Settings(told["preset"], ModelConfig.from_dict(told["model"]), Recipe.from_dict(told["recipe"]))


def _plan(settings: Settings, genome: str | None, budget: tuple[int | None, float | None]) -> None:
    import os

    from hnet_dna.data.split import split_genome
    from hnet_dna.sequence.alphabet import alphabet as find_alphabet

    from . import dry_run

    lines = []
    if genome is not None:  # first, since a mistake in it ends the command
        recipe = settings.recipe
        opened = open_genome(genome, find_alphabet(settings.model.alphabet))
        parts = split_genome(opened, recipe.held_out, recipe.split, recipe.regions)
        lines = dry_run.run_lines(settings, opened, parts, _begun_with(budget))
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    show.results.print(dry_run.cost_table(settings))
    lines = dry_run.step_lines(settings, ranks) + lines
    show.results.print("\n".join(lines), soft_wrap=True)


def _begun_with(budget: tuple[int | None, float | None]) -> Budget:
    from hnet_dna.train.trainer import Budget

    return Budget(None, DEFAULT_MINUTES * 60) if budget == (None, None) else Budget(*budget)


def _begin(
    run: RunFolder,
    genome: str,
    settings: Settings,
    budget: tuple[int | None, float | None],
    ranks: Ranks,
    workers: int | None,
) -> None:
    import torch

    from hnet_dna.data.split import split_genome, training_segments
    from hnet_dna.model.lm import HNetLM
    from hnet_dna.sequence.alphabet import alphabet as find_alphabet
    from hnet_dna.train.words import learn_words

    recipe = settings.recipe
    opened = open_genome(genome, find_alphabet(settings.model.alphabet))
    parts = split_genome(opened, recipe.held_out, recipe.split, recipe.regions)
    training_segments(opened, parts)  # before anything is written
    torch.manual_seed(recipe.seed)
    model = HNetLM(settings.model)
    learn_words(model, opened, parts)
    model = model.to(ranks.device)
    until = _begun_with(budget)
    begin(run, model, settings, opened, parts, until, ranks)
    comparison = train_and_compare(model, opened, parts, recipe, until, run, ranks=ranks, workers=workers)
    _conclude(run, settings.preset or "model", model, comparison, ranks)


def _go_on(
    run: RunFolder,
    genome: str | None,
    settings: Settings,
    changed: dict[str, list[Any]],
    budget: tuple[int | None, float | None],
    ranks: Ranks,
    workers: int | None,
) -> None:
    from dataclasses import asdict

    from hnet_dna.data.split import split_genome
    from hnet_dna.model.lm import HNetLM
    from hnet_dna.sequence.alphabet import alphabet as find_alphabet
    from hnet_dna.train.trainer import Budget

    told, recipe = run.description(), settings.recipe
    model = HNetLM.from_pretrained(run.path).to(ranks.device)
    opened = open_genome(genome or told["data"]["genome"], find_alphabet(model.config.alphabet))
    _refuse_other_genome(opened, told)
    steps, seconds = (told["budget"]["steps"], told["budget"]["seconds"]) if budget == (None, None) else budget
    parts = split_genome(opened, recipe.held_out, recipe.split, recipe.regions)
    _refuse_other_split(parts, told)
    until = Budget(steps, seconds)

    def on_start(progress: Progress) -> None:
        complete = until.share(progress) >= 1.0
        if complete and changed:
            raise UsageError(
                f"--resume: the run is complete at step {progress.step:,}, where {', '.join(changed)} changes nothing; "
                "leave it out, or give more --steps or --minutes"
            )
        if not ranks.first:
            return
        show.notes.print(show.resumption_line(progress, until))
        if not complete:
            run.describe_resumption(progress.step, settings, asdict(until), changed, sys.argv)

    comparison = train_and_compare(
        model, opened, parts, recipe, until, run, ranks=ranks, resume=True, workers=workers, on_start=on_start
    )
    _conclude(run, told["preset"] or "model", model, comparison, ranks)


def _conclude(run: RunFolder, name: str, model: HNetLM, comparison: Comparison | None, ranks: Ranks) -> None:
    if not ranks.first:
        return
    if comparison is not None:
        show.results.print(show.comparison_table(comparison, f"{name} ({model.config})"))
    show.results.print(
        f"Model: {run.path}\nNext:  hnet-dna segment FASTA --model {run.path} > boundaries.bed", soft_wrap=True
    )


def open_genome(genome: str, letters: Alphabet) -> Genome:
    """Open a FASTA path or the bundled genome, and tell what was found in it."""
    from hnet_dna.data import fetch

    opened = fetch.open_genome(genome)
    n, ambiguous, uracils = (
        sum(getattr(contig, name) for contig in opened.contigs) for name in ("n_bases", "ambiguous", "uracils")
    )
    show.notes.print(
        f"{opened.source.name}: {show.counted(len(opened.contigs), 'contig')}, {opened.length:,} bases; "
        + f"{n:,} N left out"
        + (f"; {ambiguous:,} other IUPAC codes read as N" if ambiguous and not letters.keeps_ambiguity else "")
        + (f"; {uracils:,} U read as T" if uracils else "")
    )
    return opened


def begin(
    run: RunFolder, model: HNetLM, settings: Settings, genome: Genome, split: Split, budget: Budget, ranks: Ranks
) -> None:
    """Create the run folder with all that explains it and the state before the first step; say what is trained on."""
    from dataclasses import asdict

    from hnet_dna.train.run_folder import Progress, describe_run

    parameters = sum(parameter.numel() for parameter in model.parameters())
    told = describe_run(settings, parameters, genome, split, asdict(budget), sys.argv, ranks)

    def fill(folder: RunFolder) -> None:
        folder.describe(told, settings)
        folder.save(model, None, Progress())

    if ranks.first:
        run.create(fill)
    ranks.wait()
    if not ranks.first:
        return
    show.notes.print("\n".join(show.split_lines(split)))
    for what, bases in told["data"]["bases"].items():
        if bases:
            show.notes.print(f"  {what}: {bases:,} bases")
    threads = show.counted(told["machine"]["threads"], "thread") + (f", {ranks.size} ranks" if ranks.size > 1 else "")
    show.notes.print(f"model: {model.config}, {parameters:,} parameters, {told['machine']['device']}, {threads}")
    if model.memory is not None:
        words = [f"{len(table.keys):,} words of {k} bases" for k, table in model.memory.counted.items()]
        show.notes.print(f"memory: {', '.join(words) or 'tables'}")
    show.notes.print(f"budget: {show.budget_text(budget)}")


def train_and_compare(
    model: HNetLM,
    genome: Genome,
    split: Split,
    recipe: Recipe,
    budget: Budget,
    run: RunFolder,
    *,
    ranks: Ranks,
    resume: bool = False,
    workers: int | None = None,
    on_start: Callable[[Progress], None] = lambda progress: None,
) -> Comparison | None:
    """Train with a progress bar, then evaluate on the held-out part and keep the result in the run folder."""
    from hnet_dna.evaluate.compare import compare
    from hnet_dna.train.trainer import StepReport, train

    with show.bar() as bar:
        task = bar.add_task("starting", total=1.0)

        def on_report(report: StepReport) -> None:
            bar.update(task, completed=report.share, description=show.training_line(report))

        if workers is None:
            workers = 2 if ranks.device.type == "cuda" else 0
        train(
            model,
            genome,
            split,
            recipe,
            budget,
            run,
            ranks=ranks,
            resume=resume,
            workers=workers,
            on_start=on_start,
            on_report=on_report,
            on_event=show.notes.print,
        )
        if recipe.shard and ranks.size > 1:
            from hnet_dna.model.lm import HNetLM

            model = HNetLM.from_pretrained(run.path).to(ranks.device)
        if not ranks.first:
            return None
        bar.reset(task)
        if split.held_out:
            show.notes.print(f"evaluating {sum(map(len, split.held_out)):,} held-out bases")

        def on_progress(what: str, share: float) -> None:
            bar.update(task, completed=share, description=what)

        comparison = compare(model, genome, split, on_progress=on_progress)
    if comparison is None:
        run.write_card(model, None)
        show.notes.print("nothing is held out: no evaluation")
        return None
    run.write_results(comparison.to_dict())
    run.write_card(model, comparison.to_dict())
    return comparison


def _warmup(text: str) -> tuple[tuple[float, int], ...]:
    """Read 0.1:256,0.3:1024."""
    try:
        pairs = [pair.split(":") for pair in text.split(",") if pair]
        return tuple((float(until), int(length)) for until, length in pairs)
    except ValueError:
        raise UsageError(f"--window-warmup {text}: expected SHARE:BASES,..., such as 0.1:256,0.3:1024") from None


def _changes(asked: Settings, began: Settings) -> dict[str, list[Any]]:
    """Return the old and the new value of each setting that a run goes on with; refuse what it may not change."""
    changed = {}
    for table, wanted, had in (
        ("model", asked.model.to_dict(), began.model.to_dict()),
        ("train", asked.recipe.to_dict(), began.recipe.to_dict()),
    ):
        for name in wanted:
            if wanted[name] == had.get(name):
                continue
            if name not in _CHANGEABLE:
                raise UsageError(
                    f"--resume: {table}.{name} decides what the run is and stays as it began, {had.get(name)}; "
                    f"asked for {wanted[name]}. {', '.join(sorted(_CHANGEABLE))} can change"
                )
            changed[f"{table}.{name}"] = [had[name], wanted[name]]
    return changed


def _refuse_other_split(split: Split, told: dict[str, Any]) -> None:
    from dataclasses import asdict

    for part, intervals in told["data"]["split"].items():
        if [asdict(interval) for interval in getattr(split, part)] != intervals:
            raise UsageError(
                f"--resume: the {part} part is no longer what this run began with; are --split and --regions files "
                "unchanged?"
            )


def _refuse_other_genome(genome: Genome, told: dict[str, Any]) -> None:
    data = told["data"]
    found = {contig.name: {"length": contig.length, "md5": contig.md5} for contig in genome.contigs}
    if found != data["contigs"]:
        raise UsageError(f"--resume: {genome.source} is not the genome of this run ({data['genome']}); give it again")
