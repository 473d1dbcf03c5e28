"""Estimates what pretraining on a genome takes with each preset: bases per second, GPU-hours, and disk.

    python pipelines/planning.py > table.md

FLOPs per base, parameters, window and batch are those that `hnet-dna pretrain --preset NAME --dry-run` prints. All else
is assumed: the accelerator's peak, and the share of it that training achieves (docs/results.md has two). Chunks are
counted at their target ratio. Evaluation, validation and waiting for data are not counted.
"""

from __future__ import annotations

import argparse
import sys

from hnet_dna.config.presets import PRESETS
from hnet_dna.config.settings import resolve
from hnet_dna.errors import HNetError
from hnet_dna.genome.assemblies import find_assembly
from hnet_dna.model.cost import cost_of

FLOAT = 4  # bytes of a float32
COPIES = 3  # parameters and AdamW's two moments, in a checkpoint
HOUR = 3600


def rows(bases: int, epochs: float, peak: float, share: float, keep: int) -> list[tuple[str, ...]]:
    """Return a row for each preset that is meant for GPUs.

    Args:
        bases: of the genome's training part.
        epochs: how often each is predicted.
        peak: FLOP/s of one GPU.
        share: of the peak that training achieves.
        keep: checkpoints kept at once.
    """
    table: list[tuple[str, ...]] = []
    for name in PRESETS:
        if name.startswith("tiny"):
            continue  # for CPUs; no such model comes near its share of a GPU
        settings = resolve(name)
        model, recipe = settings.model, settings.recipe
        targets = [recipe.ratio_target(stage) for stage in range(model.n_stages - 1)]
        cost = cost_of(model, targets, recipe.window)
        speed = peak * share / cost.training_flops
        steps = bases * epochs / (recipe.batch * recipe.window)
        # One checkpoint more while a new one is written; the model itself, and the best one.
        disk = FLOAT * cost.parameters * (COPIES * (keep + 1) + 2)
        table.append(
            (
                f"`{name}`",
                f"{cost.parameters / 1e6:.2f} M",
                f"{cost.training_flops / 1e6:.2f} M",
                f"{speed:,.0f}",
                f"{steps:,.0f}",
                f"{bases * epochs / speed / HOUR:,.1f}",
                f"{disk / 1e9:.2f} GB",
            )
        )
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Estimates of pretraining, by preset.")
    parser.add_argument("--genome", default="hg38", help="name of a known assembly")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--peak", type=float, default=989e12, help="FLOP/s of one GPU; default: H100 SXM, dense bf16")
    parser.add_argument("--share", type=float, default=0.1, help="share of the peak that training achieves")
    parser.add_argument("--keep", type=int, default=2, help="train.keep_checkpoints")
    options = parser.parse_args()
    if not (options.epochs > 0 and options.peak > 0 and 0 < options.share <= 1 and options.keep >= 1):
        parser.error("expected --epochs and --peak above 0, --share above 0 up to 1, --keep of 1 or more")
    try:
        assembly = find_assembly(options.genome)
    except HNetError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    held_out = {*assembly.valid, *assembly.test}
    whole = sum(contig.length for contig in assembly.contigs.values())
    train = sum(contig.length for name, contig in assembly.contigs.items() if name not in held_out)
    print(
        f"{assembly.name}: {whole:,} bases in chromosomes, so a store of {whole / 1e9:.2f} GB or more; {train:,} of "
        f"them, N included, to train on, {options.epochs:g} times; estimates at {options.share:.0%} of "
        f"{options.peak / 1e12:,.0f} TFLOP/s per GPU\n"
    )
    header = ("preset", "parameters", "training FLOPs/base", "bases/s and GPU", "steps", "GPU-hours", "run folder")
    for row in (header, ("--",) * len(header), *rows(train, options.epochs, options.peak, options.share, options.keep)):
        print(f"| {' | '.join(row)} |" if row[0] != "--" else f"|{'|'.join(row)}|")


if __name__ == "__main__":
    main()
