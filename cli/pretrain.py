"""`hnet-dna pretrain`: train an H-Net on a genome."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hnet_dna.errors import UsageError

from . import show

if TYPE_CHECKING:
    from hnet_dna.data.genome import Genome
    from hnet_dna.data.split import Split
    from hnet_dna.evaluate.compare import Comparison
    from hnet_dna.model.lm import HNetLM
    from hnet_dna.sequence.alphabet import Alphabet
    from hnet_dna.train.recipe import Recipe
    from hnet_dna.train.run_folder import RunFolder
    from hnet_dna.train.trainer import Budget

DEFAULT_MINUTES = 10.0


def pretrain(
    out: Annotated[Path, typer.Option(help="Run folder to create (or, with --resume, to go on with).")],
    genome: Annotated[
        str | None,
        typer.Option(help="FASTA (plain, gzip, bgzip) or .2bit file, a fetched genome's name, or 'yeast'."),
    ] = None,
    preset: Annotated[str, typer.Option(help="Model shape.")] = "tiny",
    minutes: Annotated[float | None, typer.Option(help="Train this long.", min=0.0)] = None,
    steps: Annotated[int | None, typer.Option(help="Train this many steps instead.", min=0)] = None,
    held_out: Annotated[
        list[str] | None, typer.Option(help="Contig to hold out; repeat for more. Default: about a tenth.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="BED whose 4th column is train, valid or test; or a share to hold out, such as 0.1.")
    ] = "",
    regions: Annotated[str, typer.Option(help="BED; use nothing outside these regions.")] = "",
    window: Annotated[int | None, typer.Option(help="Bases per window.", min=1)] = None,
    batch: Annotated[int | None, typer.Option(help="Windows per step.", min=1)] = None,
    window_warmup: Annotated[
        str, typer.Option(help="Shorter windows first: SHARE:BASES,..., such as 0.1:256,0.3:1024.")
    ] = "",
    repeat_weight: Annotated[
        float | None, typer.Option(help="Factor on the loss of soft-masked bases.", min=0.0)
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that read ahead. Default: 2 with a GPU, else none.", min=0)
    ] = None,
    alphabet: Annotated[str, typer.Option(help="Letters the model knows: dna, rna, iupac or bytes.")] = "dna",
    seed: Annotated[int, typer.Option(help="Decides initial weights, windows and strands.", min=0)] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
) -> None:
    """Train an H-Net on a genome and report held-out bits per base.

    Example: hnet-dna pretrain --genome genome.fa.gz --out run --minutes 30
    """
    if minutes is not None and steps is not None:
        raise UsageError("give --minutes or --steps, not both")
    settled: dict[str, Any] = {"--held-out": held_out, "--split": split, "--regions": regions, "--window": window}
    settled |= {"--window-warmup": window_warmup, "--batch": batch, "--repeat-weight": repeat_weight}
    given = [option for option, value in settled.items() if value not in (None, "", [])]
    if resume and given:
        raise UsageError(f"--resume goes on as the run began; leave out {', '.join(given)}")
    import torch

    from hnet_dna.config.presets import preset as preset_config
    from hnet_dna.data.split import split_genome, training_segments
    from hnet_dna.model.lm import HNetLM
    from hnet_dna.sequence.alphabet import alphabet as find_alphabet
    from hnet_dna.train.recipe import Recipe
    from hnet_dna.train.run_folder import RunFolder
    from hnet_dna.train.trainer import Budget

    run = RunFolder(out)
    if resume:
        told = run.description()
        recipe = Recipe.from_dict(told["recipe"])
        model = HNetLM.from_pretrained(out)
        letters = find_alphabet(model.config.alphabet)
        opened = open_genome(genome or told["data"]["genome"], letters)
        _refuse_other_genome(opened, told)
        if minutes is None and steps is None:
            budget = Budget(told["budget"]["steps"], told["budget"]["seconds"])
        else:
            budget = Budget(steps, None if minutes is None else minutes * 60)
        parts = split_genome(opened, recipe.held_out, recipe.split, recipe.regions)
        _refuse_other_split(parts, told)
    else:
        if genome is None:
            raise UsageError("--genome is missing: give a FASTA file, or 'yeast' for the genome in the package")
        letters = find_alphabet(alphabet)
        config = preset_config(preset, letters.name, letters.vocab_size)
        opened = open_genome(genome, letters)
        asked: dict[str, Any] = {"window": window, "batch": batch, "repeat_weight": repeat_weight}
        recipe = Recipe(
            seed=seed,
            held_out=tuple(held_out or ()),
            split=split,
            regions=regions,
            window_warmup=_warmup(window_warmup),
            **{name: value for name, value in asked.items() if value is not None},
        )
        parts = split_genome(opened, recipe.held_out, recipe.split, recipe.regions)
        training_segments(opened, parts)  # before anything is written
        torch.manual_seed(seed)
        model = HNetLM(config)
        if steps is None:
            minutes = DEFAULT_MINUTES if minutes is None else minutes
        budget = Budget(steps, None if minutes is None else minutes * 60)
        run.create()
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    if not resume:
        describe(run, model, recipe, opened, parts, budget)
    comparison = train_and_compare(model, opened, parts, recipe, budget, run, resume=resume, workers=workers)
    if comparison is not None:
        show.results.print(show.comparison_table(comparison, f"{preset} ({model.config})"))
    show.results.print(f"Model: {out}\nNext:  hnet-dna segment FASTA --model {out} > boundaries.bed", soft_wrap=True)


def open_genome(genome: str, letters: Alphabet) -> Genome:
    """Open a FASTA path or the bundled genome, and tell what was found in it."""
    from hnet_dna.data import fetch

    opened = fetch.open_genome(genome)
    n, ambiguous, uracils = (
        sum(getattr(contig, name) for contig in opened.contigs) for name in ("n_bases", "ambiguous", "uracils")
    )
    show.notes.print(
        f"{opened.source.name}: {len(opened.contigs):,} contigs, {opened.length:,} bases; {n:,} N left out"
        + (f"; {ambiguous:,} other IUPAC codes read as N" if ambiguous and not letters.keeps_ambiguity else "")
        + (f"; {uracils:,} U read as T" if uracils else "")
    )
    return opened


def describe(run: RunFolder, model: HNetLM, recipe: Recipe, genome: Genome, split: Split, budget: Budget) -> None:
    """Write run.json, and say what is trained on what."""
    from dataclasses import asdict

    from hnet_dna.train.run_folder import describe_run

    told = describe_run(model, recipe, genome, split, asdict(budget), sys.argv)
    run.describe(told)
    show.notes.print(f"split: {split.rule}")
    for part in ("train", "valid", "test"):
        intervals = getattr(split, part)
        places = ", ".join(map(str, intervals[:3])) + (" ..." if len(intervals) > 3 else "")
        show.notes.print(f"  {part}: {sum(map(len, intervals)):,} bases ({places or 'nothing'})")
    for what, bases in told["data"]["bases"].items():
        if bases:
            show.notes.print(f"  {what}: {bases:,} bases")
    show.notes.print(f"model: {model.config}, {told['parameters']:,} parameters, {told['machine']['threads']} threads")


def train_and_compare(
    model: HNetLM,
    genome: Genome,
    split: Split,
    recipe: Recipe,
    budget: Budget,
    run: RunFolder,
    *,
    resume: bool = False,
    workers: int | None = None,
) -> Comparison | None:
    """Train with a progress bar, then evaluate on the held-out part and keep the result in the run folder."""
    from hnet_dna.evaluate.compare import compare
    from hnet_dna.train.trainer import StepReport, train

    with show.bar() as bar:
        task = bar.add_task("starting", total=1.0)

        def on_report(report: StepReport) -> None:
            bar.update(task, completed=report.share, description=show.training_line(report))

        if workers is None:
            workers = 2 if next(model.parameters()).is_cuda else 0
        train(model, genome, split, recipe, budget, run, resume=resume, workers=workers, on_report=on_report)
        bar.reset(task)

        def on_progress(what: str, share: float) -> None:
            bar.update(task, completed=share, description=what)

        comparison = compare(model, genome, split, on_progress=on_progress)
    if comparison is None:
        run.write_card(model, None)
        show.notes.print("nothing is held out (the genome is too small): no evaluation")
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
