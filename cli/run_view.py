"""What people see of a run: its beginning, progress while it trains and is evaluated, and the closing table."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shlex import quote
from types import TracebackType
from typing import TYPE_CHECKING

from rich.table import Table

from hnet_dna.data.run_record import genomes_of_run
from hnet_dna.files import is_streamed
from hnet_dna.genome.genome import Genome, known_bases
from hnet_dna.progress import Progress as Report
from hnet_dna.training.run import Beginning, Evaluation, Run, RunObserver

from . import show, tables

if TYPE_CHECKING:
    from hnet_dna.data.genome_mix import GenomeMix
    from hnet_dna.data.mixture import Mixture
    from hnet_dna.data.split import Split
    from hnet_dna.training.plan import Plan
    from hnet_dna.training.progress import Budget, Progress, StepReport


class RunView:
    """Shows a run on stderr, and its result on stdout; a context manager that ends the progress lines."""

    def __init__(self, quiet: bool = False) -> None:
        self._stack, self._quiet = ExitStack(), quiet
        self.observer: RunObserver = _Shown(quiet, self._stack)

    def __enter__(self) -> RunView:
        self._stack.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def conclude(self, run: Run, genome: str | None = None) -> None:
        """Print the closing table and what to do next, on the first rank; `genome` is what --genome named."""
        from hnet_dna.training.ranks import Place, place_of_process

        if (place_of_process() or Place()).rank:
            return
        if run.comparison is not None:
            tables.print_table(tables.comparison_table(run.comparison, f"{run.name} ({run.model.config})"))
            if run.comparison.genomes:
                tables.print_table(tables.classes_table(run.comparison, run.comparison.genomes))
            if better := tables.better_baseline(run.comparison):
                resume = f"hnet-dna pretrain --out {quote(str(run.path))} --resume --minutes N"
                show.results.print(f"{better}; train longer: {resume}", soft_wrap=True)
        read = genome or next(iter(genomes_of_run(run.path)), "")
        command = f"hnet-dna segment {quote(read)} --model {quote(str(run.path))} > boundaries.bed"
        best = f"; the best on the validation part is in {run.path / 'best'}" if (run.path / "best").is_dir() else ""
        then = command if read and not is_streamed(read) else None
        show.wrote([run.path], self._quiet, what=f"the model{best}", then=then)


@contextmanager
def few_notes(mix: GenomeMix | None) -> Iterator[None]:
    """Say nothing of the stores that are made for several genomes: hundreds of them would be hundreds of lines."""
    made = logging.getLogger("hnet_dna.genome.store")
    level = made.level
    made.setLevel(level if mix is None or mix.plain else logging.WARNING)
    try:
        yield
    finally:
        made.setLevel(level)


class _Shown(RunObserver):
    def __init__(self, quiet: bool, stack: ExitStack) -> None:
        self._quiet, self._stack = quiet, stack.enter_context(ExitStack())
        self._reports = stack.enter_context(show.Reports(quiet=quiet))
        self._progress: show.Progress | None = None

    def opening(self, report: Report) -> None:
        self._reports(report)

    def begun(self, beginning: Beginning) -> None:
        record = beginning.record
        print_genome(beginning.mixture, beginning.model.config.alphabet)
        show.notes.print("\n".join(mixture_lines(beginning.mixture)))
        for what, bases in record["data"].get("bases", {}).items():
            if bases:
                show.notes.print(f"  {what}: {show.counted(bases, 'base')}")
        machine = record["machine"]
        ranks = f", {machine['ranks']} ranks" if machine["ranks"] > 1 else ""
        threads = show.counted(machine["threads"], "thread") + ranks
        model = beginning.model.config
        show.notes.print(f"model: {model}, {record['parameters']:,} parameters, {machine['device']}, {threads}")
        if (memory := beginning.model.memory) is not None:
            words = [
                f"{show.counted(len(table.keys), 'word')} of {show.counted(k, 'base')}"
                for k, table in memory.counted.items()
            ]
            show.notes.print(f"memory: {', '.join(words) or 'tables'}")
        show.notes.print(f"budget: {budget_text(beginning.budget)}")

    def nothing_to_resume(self, path: Path) -> None:
        show.notes.print(f"no run in {path} yet: a new one begins")

    def resumed(self, progress: Progress, budget: Budget) -> None:
        show.notes.print(resumption_line(progress, budget))

    def started(self, progress: Progress, budget: Budget) -> None:
        self._show(show.Progress("training", about=budget_text(budget), quiet=self._quiet))
        if self._progress is not None:
            self._progress.go_on(share=budget.share(progress))

    def step(self, report: StepReport) -> None:
        if self._progress is not None:
            self._progress.update(share=report.share, detail=training_line(report))

    def event(self, message: str) -> None:
        show.notes.print(message)

    def trained(self) -> None:
        self._show(None)

    def evaluating(self, evaluation: Evaluation) -> None:
        taken, of = evaluation.taken, evaluation.held_out
        show.notes.print(f"evaluating {taken:,}{'' if taken == of else f' of {of:,}'} held-out bases")
        if evaluation.counted < evaluation.train:
            show.notes.print(
                f"Markov models count {evaluation.counted:,} of {show.counted(evaluation.train, 'training base')}"
            )
        if taken < of or evaluation.counted < evaluation.train:
            show.notes.print(
                "Both are evenly spread samples, so that this takes at most a tenth of the time of training, or a "
                "minute; `hnet-dna evaluate` takes all"
            )

    def evaluated(self, report: Report) -> None:
        self._reports(report)

    def not_evaluated(self, why: str) -> None:
        later = "; `hnet-dna evaluate` does it later" if why == "as asked" else ""
        show.notes.print(f"no evaluation, {why}{later}" if later else f"{why}: no evaluation")

    def _show(self, progress: show.Progress | None) -> None:
        """End the progress that is shown, and begin another."""
        self._stack.pop_all().close()
        self._progress = progress if progress is None else self._stack.enter_context(progress)


def print_plan(plan: Plan) -> None:
    """Print what a run would be: sizes, arithmetic and steps."""
    lines = []
    if plan.mixture is not None:
        print_genome(plan.mixture, plan.settings.model.alphabet)
        lines = _run_lines(plan, plan.mixture)
    tables.print_table(_cost_table(plan))
    show.results.print("\n".join(_step_lines(plan) + lines), soft_wrap=True)


def _cost_table(plan: Plan) -> Table:
    from hnet_dna.config.layout import layout_text
    from hnet_dna.config.presets import preset_tables

    preset, model, cost = plan.settings.preset, plan.settings.model, plan.cost
    table = Table(title=f"{preset or 'model'}: {layout_text(model.layout)}")
    for column in ("stage", "layers", "width", "positions/base", "parameters", "training FLOPs/base", "learning rate"):
        table.add_column(column, justify="left" if column in ("stage", "layers") else "right")
    for index, (stage, rate) in enumerate(zip(cost.stages, plan.learning_rates, strict=True)):
        table.add_row(
            str(index),
            stage.stacks,
            str(model.stage(index).d_model),
            f"{stage.positions:.3f}",
            f"{stage.parameters:,}",
            f"{3 * stage.flops:,.0f}",
            f"{rate:.2e}",
        )
    published = preset_tables(preset).get("published_parameters") if preset else None
    beside = f" (published: {published / 1e6:.0f} M)" if published else ""
    table.add_section()
    table.add_row("all", "", "", "", f"{cost.parameters:,}{beside}", f"{cost.training_flops:,.0f}", "")
    return table


def _step_lines(plan: Plan) -> list[str]:
    """Say what a step is and needs."""
    from hnet_dna.config.layout import LEGEND

    model, recipe = plan.settings.model, plan.settings.recipe
    memory, worst = (size / 2**30 for size in plan.step_bytes)
    orders = ", ".join(map(str, model.word_orders))
    words = [
        f"words: at most {model.max_words:,} of each of {orders} bases, "
        f"at most {plan.cost.word_bytes / 1e6:.1f} MB of the model's file"
    ]
    return [
        f"layout: {LEGEND}; a number counts layers; brackets hold the stage that reads chunks",
        f"step: {show.counted(recipe.batch, 'window')} of {show.counted(recipe.window, 'base')} = "
        + show.counted(recipe.batch * recipe.window, "base")
        + (f", in {recipe.accumulate} parts" if recipe.accumulate > 1 else "")
        + (f", over {plan.ranks} ranks" if plan.ranks > 1 else ""),
        f"memory per process, estimated in float32: {memory:.2f} GiB"
        + (f"; at most {worst:.2f} GiB, whatever the routers decide" if model.n_stages > 1 else "")
        + ("; bfloat16 on a GPU, train.accumulate and train.recompute reduce it" if memory > 16 else ""),
        *(words if orders else []),
    ]


def _run_lines(plan: Plan, mixture: Mixture) -> list[str]:
    """Say how many steps an epoch has, and what the budget comes to."""
    recipe, budget = plan.settings.recipe, plan.budget
    lines = mixture_lines(mixture)
    if mixture.several:
        lines += [
            f"epoch of {part.name}: {show.counted(bases, 'base')} predicted, about "
            f"{show.counted(round(plan.steps_of(bases) / part.share), 'step')} of the run"
            for part, bases in zip(mixture.parts, plan.predicted, strict=True)
            if part.share
        ][:MOST_GENOMES]
    bases = sum(plan.predicted)
    per_epoch = plan.steps_of(bases)
    what = "all of them" if mixture.several else "epoch"
    lines.append(f"{what}: {show.counted(bases, 'base')} predicted, about {show.counted(round(per_epoch), 'step')}")
    if (longest := max(len(i) for part in mixture.parts for i in part.split.train)) < recipe.window:
        lines.append(
            f"no training stretch is as long as a window: the longest has {show.counted(longest, 'base')}, "
            "the rest is empty"
        )
    of_epochs = f", {budget.steps / per_epoch:.2f} epochs" if budget.steps is not None and not mixture.several else ""
    lines.append(f"budget: {budget_text(budget)}{of_epochs or '; the number of steps depends on the machine'}")
    return lines


def print_genome(mixture: Mixture, letters: str | None) -> None:
    """Say what a single genome contains, and how letters are read that the model does not know."""
    from hnet_dna.sequence.alphabet import alphabet

    if not mixture.plain:
        return
    genome = mixture.parts[0].genome
    n, ambiguous, uracils = (
        sum(getattr(contig, name) for contig in genome.contigs) for name in ("n_bases", "ambiguous", "uracils")
    )
    contigs = show.counted(len(genome.contigs), "contig")
    first = f"{genome.source.name}: {contigs}, {show.counted(genome.length, 'base')}; {n:,} N left out"
    show.notes.print("; ".join([first, *alphabet(letters).rereads(ambiguous, uracils)]))


MOST_GENOMES = 12  # that are shown one by one


def mixture_lines(mixture: Mixture) -> list[str]:
    """Say which genomes a run reads, and what each part of them is."""
    if not mixture.several:
        return split_lines(mixture.parts[0].split, mixture.parts[0].genome)
    total = sum(part.genome.length for part in mixture.parts)
    lines = [f"genomes: {len(mixture.parts):,}, {show.counted(total, 'base')}"]
    for part in mixture.parts[:MOST_GENOMES]:
        split = part.split
        sizes = ", ".join(
            f"{name} {sum(map(len, intervals)):,}"
            for name, intervals in (("train", split.train), ("valid", split.valid), ("test", split.test))
        )
        contigs = show.counted(len(part.genome.contigs), "contig")
        lines.append(f"  {part.name}: {part.share:.2%} of the windows; {contigs}, bases: {sizes}; {split.rule}")
    if len(mixture.parts) > MOST_GENOMES:
        lines.append(f"  ... and {len(mixture.parts) - MOST_GENOMES:,} more")
    return lines


def split_lines(split: Split, genome: Genome) -> list[str]:
    """Say what each part of a split is."""
    lines = [f"split: {split.rule}"]
    total = sum(len(interval) for part in (split.train, split.valid, split.test) for interval in part)
    for part in ("train", "valid", "test"):
        intervals = getattr(split, part)
        places = ", ".join(map(str, intervals[:3])) + (" ..." if len(intervals) > 3 else "")
        bases = sum(map(len, intervals))
        share = f" ({bases / total:.1%})" if bases else ""
        unknown = bases - known_bases(genome, intervals)
        n = f", {unknown:,} of them N" if unknown else ""
        lines.append(f"  {part}: {show.counted(bases, 'base')}{share}{n}: {places or 'nothing'}")
    if not split.valid:
        lines.append("  no best model is kept without a validation part; a BED file for --split can mark one as valid")
    return lines


def resumption_line(progress: Progress, budget: Budget) -> str:
    """Say what becomes of a run that is resumed."""
    reached, asked = f"step {progress.step:,}", budget.steps
    if budget.share(progress) >= 1.0:
        beyond = f" ({asked:,} asked for)" if asked is not None and asked < progress.step else ""
        return f"complete at {reached}{beyond}: evaluated again; give more --steps or --minutes to train on"
    if asked is not None:
        return f"continues from {reached} of {asked:,}"
    of = show.counted((budget.seconds or 0) / 60, "minute")
    return f"continues from {reached}, after {progress.seconds / 60:.1f} of {of}"


def budget_text(budget: Budget) -> str:
    """Say how long a run trains."""
    if budget.steps is not None:
        return show.counted(budget.steps, "step")
    return show.counted((budget.seconds or 0) / 60, "minute")


def training_line(report: StepReport) -> str:
    """Describe the last steps in one line."""
    chunks = " / ".join(f"{n:.2f}" for n in report.bases_per_chunk)
    parts = [
        f"step {report.progress.step:,}",
        f"{report.bits:.3f} bits/base",
        f"{chunks} bases/chunk" if chunks else "",
    ]
    return ", ".join([*filter(None, parts), f"{report.bases_per_second:,.0f} bases/s"])
