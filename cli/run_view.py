"""What people see of a run: its beginning, progress while it trains and is evaluated, and the closing table."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from hnet_dna.training.run import Beginning, Evaluation, Run, RunObserver

from . import show, tables
from .mixture import mixture_lines, open_genomes

if TYPE_CHECKING:
    from hnet_dna.data.genome_mix import GenomeMix
    from hnet_dna.genome.genome import Genome
    from hnet_dna.sequence.alphabet import Alphabet
    from hnet_dna.training.progress import Budget, Progress, StepReport


class RunView:
    """Shows a run on stderr, and its result on stdout; a context manager that ends the progress lines."""

    def __init__(self, quiet: bool = False) -> None:
        self._stack = ExitStack()
        self.observer: RunObserver = _Shown(quiet, self._stack)

    def __enter__(self) -> RunView:
        self._stack.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def conclude(self, run: Run) -> None:
        """Print the closing table and what to do next, on the first rank."""
        from hnet_dna.training.ranks import Place, place_of_process

        if (place_of_process() or Place()).rank:
            return
        if run.comparison is not None:
            tables.print_table(tables.comparison_table(run.comparison, f"{run.name} ({run.model.config})"))
            if run.comparison.genomes:
                tables.print_table(tables.classes_table(run.comparison, run.comparison.genomes))
        show.results.print(
            f"Model: {run.path}\nNext:  hnet-dna segment FASTA --model {run.path} > boundaries.bed", soft_wrap=True
        )


class _Shown(RunObserver):
    def __init__(self, quiet: bool, stack: ExitStack) -> None:
        self._quiet, self._stack = quiet, stack
        self._progress: show.Progress | None = None

    def open_genomes(self, mix: GenomeMix, letters: Alphabet) -> list[Genome]:
        return open_genomes(mix, self._quiet, letters)

    def begun(self, beginning: Beginning) -> None:
        record = beginning.record
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
            words = [f"{len(table.keys):,} words of {k} bases" for k, table in memory.counted.items()]
            show.notes.print(f"memory: {', '.join(words) or 'tables'}")
        show.notes.print(f"budget: {show.budget_text(beginning.budget)}")

    def nothing_to_resume(self, path: Path) -> None:
        show.notes.print(f"no run in {path} yet: a new one begins")

    def resumed(self, progress: Progress, budget: Budget) -> None:
        show.notes.print(show.resumption_line(progress, budget))

    def started(self, progress: Progress, budget: Budget) -> None:
        self._show(show.Progress("training", about=show.budget_text(budget), quiet=self._quiet))
        if self._progress is not None:
            self._progress.go_on(share=budget.share(progress))

    def step(self, report: StepReport) -> None:
        if self._progress is not None:
            self._progress.update(share=report.share, detail=show.training_line(report))

    def event(self, message: str) -> None:
        show.notes.print(message)

    def trained(self) -> None:
        self._show(None)

    def evaluating(self, evaluation: Evaluation) -> None:
        taken, of = evaluation.taken, evaluation.held_out
        show.notes.print(f"evaluating {taken:,}{'' if taken == of else f' of {of:,}'} held-out bases")
        if evaluation.counted < evaluation.train:
            show.notes.print(f"Markov models count {evaluation.counted:,} of {evaluation.train:,} training bases")
        if taken < of or evaluation.counted < evaluation.train:
            show.notes.print(
                "Both are evenly spread samples, so that this takes at most a tenth of the time of training, or a "
                "minute; `hnet-dna evaluate` takes all"
            )
        about = "the model, and Markov models beside it"
        self._show(show.Progress("evaluating", evaluation.known, "bases", about=about, quiet=self._quiet))

    def evaluated(self, what: str, share: float) -> None:
        if self._progress is not None:
            self._progress.part(what, share)

    def not_evaluated(self, why: str) -> None:
        later = "; `hnet-dna evaluate` does it later" if why == "as asked" else ""
        show.notes.print(f"no evaluation, {why}{later}" if later else f"{why}: no evaluation")

    def _show(self, progress: show.Progress | None) -> None:
        """End the progress that is shown, and begin another."""
        self._stack.pop_all().close()
        self._progress = progress if progress is None else self._stack.enter_context(progress)
