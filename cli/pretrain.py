"""`hnet-dna pretrain`: train an H-Net on a genome."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hnet_dna.errors import UsageError

from . import options, show
from .inputs import check_pipes

if TYPE_CHECKING:
    from hnet_dna.data.genome_mix import GenomeMix


def pretrain(
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="PATH", help="Run folder to create or, with --resume, to continue."),
    ] = None,
    genome: Annotated[
        list[str] | None,
        typer.Option(metavar="GENOME", help=f"{options.GENOME_HELP} Repeat for several genomes."),
    ] = None,
    genomes: Annotated[
        Path | None,
        typer.Option(metavar="TOML", help="File that lists the genomes of a mixture (docs/howto/many-genomes.md)."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Named model with its training settings. Default: the one that --config names, or tiny.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="TOML", help="Settings file with the tables model and train (docs/training.md)."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="One setting, such as train.learning_rate=1e-3; repeat for more."
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Minutes of training in all, without the evaluation. Default: 10, unless --steps is given.",
            min=0.0,
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Train this many steps in all, instead of --minutes.", min=0)
    ] = None,
    held_out: options.HeldOut = None,
    held_out_genome: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Genome of a mixture to hold out as a whole; repeat for more."),
    ] = None,
    split: options.Split = None,
    regions: options.UsedRegions = None,
    window: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Bases per window, the piece of sequence that the model reads at once in training.", min=1
        ),
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Windows per step, over all GPUs.", min=1)] = None,
    window_warmup: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE:BASES,...",
            help="Shorter windows at first: 0.1:256 means 256 bases in the first tenth of the run.",
        ),
    ] = None,
    repeat_weight: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Weight of soft-masked bases (repeats) in the loss: 1 counts them like all others, 0 not at all.",
            min=0.0,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Processes that prepare training windows in advance. Default: 2 with a GPU, else 0.",
            min=0,
        ),
    ] = None,
    alphabet: Annotated[
        str | None,
        typer.Option(metavar="ALPHABET", help="Letters that the model knows: dna (default), rna, iupac or bytes."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed of initial weights, windows and strands.", min=0)
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Begin from the weights of this run, model folder, built-in model or model on the hub.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue from the last checkpoint in --out; begin the run if there is none."),
    ] = False,
    no_evaluation: Annotated[
        bool, typer.Option("--no-evaluation", help="Skip the closing evaluation on the held-out part.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only print parameters, FLOPs, memory and steps; no training, no run folder."),
    ] = False,
    aliases: options.Aliases = False,
    quiet: options.Quiet = False,
) -> None:
    """Train an H-Net on one or several genomes and report held-out bits per base.

    Example: hnet-dna pretrain --genome genome.fa.gz --out run --minutes 30

    Example: hnet-dna pretrain --out run --resume --minutes 60

    Example: hnet-dna pretrain --genomes mix.toml --out run --from five-genomes

    Example: hnet-dna pretrain --preset m3t1-m15-m4 --genome hg38 --dry-run

    On several GPUs: torchrun --standalone --nproc-per-node 8 $(which hnet-dna) pretrain ...
    """
    options: dict[str, Any] = {
        "preset": preset,
        "config": config,
        "settings": settings or (),
        "alphabet": alphabet,
        "steps": steps,
        "minutes": minutes,
        "held_out": held_out or (),
        "held_out_genome": held_out_genome or (),
        "split": split or "",
        "regions": regions or "",
        "window": window,
        "batch": batch,
        "window_warmup": None if window_warmup is None else _warmup(window_warmup),
        "repeat_weight": repeat_weight,
        "seed": seed,
        "from_": from_,
    }
    named = {f"--genome{f' {number}' if number else ''}": path for number, path in enumerate(genome or ())}
    check_pipes({**named, "--genomes": genomes, "--split": split, "--regions": regions, "--config": config})
    if not dry_run and minutes is not None and steps is not None:
        raise UsageError("give --minutes or --steps, not both")
    if not dry_run and out is None:
        raise UsageError("--out is missing: the folder to create for this run")
    mix = _mix(genome, genomes, aliases)  # a mistake is reported before what takes seconds to import
    from hnet_dna.training.plan import plan
    from hnet_dna.training.run import pretrain as run_pretrain

    from .run_view import RunView, few_notes, print_plan

    with few_notes(mix):
        if out is None or dry_run:
            with show.Reports(quiet=quiet) as reports:
                planned = plan(mix, **options, on_progress=reports)
            print_plan(planned)
            return
        with RunView(quiet) as view:
            run = run_pretrain(
                mix,
                out,
                **options,
                workers=workers,
                evaluation=not no_evaluation,
                resume=resume,
                command=sys.argv,
                observer=view.observer,
            )
        view.conclude(run, genome[0] if genome else None)


def _mix(genome: list[str] | None, genomes: Path | None, aliases: bool) -> GenomeMix | None:
    """Read what --genome and --genomes name; None where neither is given."""
    from hnet_dna.data.genome_mix import GenomeMix
    from hnet_dna.genome.open import find_genome

    if genome and genomes:
        raise UsageError("give --genome or --genomes, not both")
    if not (genome or genomes):
        if aliases:
            raise UsageError("--aliases belongs to --genome or --genomes; a run that goes on reads names as it began")
        return None
    for path in genome or ():
        find_genome(path)
    mix = GenomeMix.of(genome) if genome else GenomeMix.read(genomes or "")
    return mix.with_aliases() if aliases else mix


def _warmup(text: str) -> tuple[tuple[float, int], ...]:
    """Read 0.1:256,0.3:1024."""
    try:
        pairs = [pair.split(":") for pair in text.split(",") if pair]
        return tuple((float(until), int(length)) for until, length in pairs)
    except ValueError:
        raise UsageError(f"--window-warmup {text}: expected SHARE:BASES,..., such as 0.1:256,0.3:1024") from None
