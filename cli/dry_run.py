"""What `pretrain --dry-run` prints: sizes, arithmetic and steps, before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from . import show
from .mixture import MOST_GENOMES, mixture_lines, open_genomes

if TYPE_CHECKING:
    from hnet_dna.config.settings import Settings
    from hnet_dna.data.genome_mix import GenomeMix
    from hnet_dna.data.mixture import Mixture
    from hnet_dna.training.progress import Budget


def print_plan(mix: GenomeMix | None, options: dict[str, Any], quiet: bool) -> None:
    """Print what a run with these arguments of `pretrain` would be."""
    from hnet_dna.training.plan import plan

    planned = plan(mix, **options, open_genomes=lambda mix, letters: open_genomes(mix, quiet, letters))
    lines = []
    if planned.mixture is not None:
        lines = run_lines(planned.settings, planned.mixture, planned.budget)
    show.print_table(cost_table(planned.settings))
    show.results.print("\n".join(step_lines(planned.settings, planned.ranks) + lines), soft_wrap=True)


def cost_table(settings: Settings) -> Table:
    """Build the table of a model's stages."""
    from hnet_dna.config.layout import layout_text
    from hnet_dna.config.presets import preset_tables
    from hnet_dna.model.cost import cost_of
    from hnet_dna.training.optim import stage_multipliers

    model, recipe = settings.model, settings.recipe
    targets = [recipe.ratio_target(stage) for stage in range(model.n_stages - 1)]
    cost = cost_of(model, targets, recipe.window)
    multipliers = stage_multipliers(model, recipe)
    table = Table(title=f"{settings.preset or 'model'}: {layout_text(model.layout)}")
    for column in ("stage", "layers", "width", "positions/base", "parameters", "training FLOPs/base", "learning rate"):
        table.add_column(column, justify="left" if column in ("stage", "layers") else "right")
    for index, stage in enumerate(cost.stages):
        table.add_row(
            str(index),
            stage.stacks,
            str(model.stage(index).d_model),
            f"{stage.positions:.3f}",
            f"{stage.parameters:,}",
            f"{3 * stage.flops:,.0f}",
            f"{recipe.learning_rate * multipliers[index]:.2e}",
        )
    published = preset_tables(settings.preset).get("published_parameters") if settings.preset else None
    beside = f" (published: {published / 1e6:.0f} M)" if published else ""
    table.add_section()
    table.add_row("all", "", "", "", f"{cost.parameters:,}{beside}", f"{cost.training_flops:,.0f}", "")
    return table


def step_lines(settings: Settings, ranks: int) -> list[str]:
    """Say what a step is and needs."""
    from hnet_dna.config.layout import LEGEND
    from hnet_dna.model.cost import cost_of

    model, recipe = settings.model, settings.recipe
    targets = [recipe.ratio_target(stage) for stage in range(model.n_stages - 1)]
    part = recipe.batch * recipe.window // (recipe.accumulate * ranks)
    cost = cost_of(model, targets, recipe.window)
    memory, worst = cost.training_bytes(part) / 2**30, cost.worst_training_bytes(part) / 2**30
    orders = ", ".join(map(str, model.word_orders))
    words = [
        f"words: at most {model.max_words:,} of each of {orders} bases, "
        f"at most {cost.word_bytes / 1e6:.1f} MB of the model's file"
    ]
    return [
        f"layout: {LEGEND}; a number counts layers; brackets hold the stage that reads chunks",
        f"step: {recipe.batch} windows of {recipe.window:,} bases = {recipe.batch * recipe.window:,} bases"
        + (f", in {recipe.accumulate} parts" if recipe.accumulate > 1 else "")
        + (f", over {ranks} ranks" if ranks > 1 else ""),
        f"memory per process, estimated in float32: {memory:.2f} GiB"
        + (f"; at most {worst:.2f} GiB, whatever the routers decide" if targets else "")
        + ("; bfloat16 on a GPU, train.accumulate and train.recompute reduce it" if memory > 16 else ""),
        *(words if orders else []),
    ]


def run_lines(settings: Settings, mixture: Mixture, budget: Budget) -> list[str]:
    """Say how many steps an epoch has, and what the budget comes to."""
    from hnet_dna.data.split import base_counts

    recipe = settings.recipe
    predicted = [base_counts(part.genome, part.split)["predicted"] for part in mixture.parts]
    lines = mixture_lines(mixture)
    if mixture.several:
        lines += [
            f"epoch of {part.name}: {bases:,} bases predicted, about "
            f"{bases / (recipe.batch * recipe.window * part.share):,.0f} steps of the run"
            for part, bases in zip(mixture.parts, predicted, strict=True)
            if part.share
        ][:MOST_GENOMES]
    per_epoch = sum(predicted) / (recipe.batch * recipe.window)
    what = "all of them" if mixture.several else "epoch"
    lines.append(f"{what}: {sum(predicted):,} bases predicted, about {per_epoch:,.0f} steps")
    if (longest := max(len(i) for part in mixture.parts for i in part.split.train)) < recipe.window:
        lines.append(
            f"no training stretch is as long as a window: the longest has {longest:,} bases, the rest is empty"
        )
    of_epochs = f", {budget.steps / per_epoch:.2f} epochs" if budget.steps is not None and not mixture.several else ""
    lines.append(f"budget: {show.budget_text(budget)}{of_epochs or '; the number of steps depends on the machine'}")
    return lines
