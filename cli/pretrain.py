"""`hnet-dna pretrain`: train an H-Net on a genome."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
        str | None, typer.Option(help="FASTA file, plain, gzip or bgzip; 'yeast' is the genome in the package.")
    ] = None,
    preset: Annotated[str, typer.Option(help="Model shape.")] = "tiny",
    minutes: Annotated[float | None, typer.Option(help="Train this long.", min=0.0)] = None,
    steps: Annotated[int | None, typer.Option(help="Train this many steps instead.", min=0)] = None,
    held_out: Annotated[
        list[str] | None, typer.Option(help="Contig to hold out; repeat for more. Default: about a tenth.")
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
        split = split_genome(opened, recipe.held_out)
    else:
        if genome is None:
            raise UsageError("--genome is missing: give a FASTA file, or 'yeast' for the genome in the package")
        letters = find_alphabet(alphabet)
        config = preset_config(preset, letters.name, letters.vocab_size)
        opened = open_genome(genome, letters)
        recipe = Recipe(seed=seed, held_out=tuple(held_out or ()))
        split = split_genome(opened, recipe.held_out)
        training_segments(opened, split)  # before anything is written
        torch.manual_seed(seed)
        model = HNetLM(config)
        if steps is None:
            minutes = DEFAULT_MINUTES if minutes is None else minutes
        budget = Budget(steps, None if minutes is None else minutes * 60)
        run.create()
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    if not resume:
        describe(run, model, recipe, opened, split, budget)
    comparison = train_and_compare(model, opened, split, recipe, budget, run, resume=resume)
    if comparison is not None:
        show.results.print(show.comparison_table(comparison, f"{preset} ({model.config})"))
    show.results.print(f"Model: {out}\nNext:  hnet-dna segment FASTA --model {out} > boundaries.bed")


def open_genome(genome: str, letters: Alphabet) -> Genome:
    """Open a FASTA path or the bundled genome, and tell what was found in it."""
    from hnet_dna.data import bundled

    opened = bundled.open_genome(genome)
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
    held = sum(map(len, split.held_out))
    places = ", ".join(map(str, split.held_out[:3])) + (" ..." if len(split.held_out) > 3 else "")
    show.notes.print(f"held out: {held:,} bases, {split.rule} ({places or 'nothing'})")
    show.notes.print(f"model: {model.config}, {told['parameters']:,} parameters, {told['machine']['threads']} threads")


def train_and_compare(
    model: HNetLM, genome: Genome, split: Split, recipe: Recipe, budget: Budget, run: RunFolder, *, resume: bool
) -> Comparison | None:
    """Train with a progress bar, then evaluate on the held-out part and keep the result in the run folder."""
    from hnet_dna.evaluate.compare import compare
    from hnet_dna.train.trainer import StepReport, train

    with show.bar() as bar:
        task = bar.add_task("starting", total=1.0)

        def on_report(report: StepReport) -> None:
            bar.update(task, completed=report.share, description=show.training_line(report))

        train(model, genome, split, recipe, budget, run, resume=resume, on_report=on_report)
        bar.reset(task)

        def on_progress(what: str, share: float) -> None:
            bar.update(task, completed=share, description=what)

        comparison = compare(model, genome, split, on_progress=on_progress)
    if comparison is None:
        show.notes.print("nothing is held out (the genome is too small): no evaluation")
        return None
    run.write_results(comparison.to_dict())
    return comparison


def _refuse_other_genome(genome: Genome, told: dict[str, object]) -> None:
    data = told["data"]
    assert isinstance(data, dict)
    found = {contig.name: {"length": contig.length, "md5": contig.md5} for contig in genome.contigs}
    if found != data["contigs"]:
        raise UsageError(f"--resume: {genome.source} is not the genome of this run ({data['genome']}); give it again")
