"""What people see while they wait, and the tables at the end. Progress goes to stderr, and only to a terminal."""

from __future__ import annotations

import logging
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from hnet_dna.data.split import Split
    from hnet_dna.evaluate.compare import Comparison
    from hnet_dna.model.lm import HNetLM
    from hnet_dna.train.run_folder import Progress as RunProgress
    from hnet_dna.train.trainer import Budget, StepReport

# What is printed holds names that users chose: `ctg1[organism=yeast]` and `chr:dna:1` mean what they say.
_PLAIN: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
notes = Console(stderr=True, soft_wrap=True, **_PLAIN)
# A table is not squeezed into fewer columns than it needs, which would cut its numbers: a narrow terminal breaks lines.
results = Console(**_PLAIN, width=max(140, get_terminal_size().columns))


class LogNotes(logging.Handler):
    """Prints what the library logs as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        notes.print(self.format(record))


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural if there are not exactly one."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def on_device(model: HNetLM) -> HNetLM:
    """Put a model where it runs fastest, ready to predict."""
    import torch

    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def load_model(model: Path) -> HNetLM:
    """Read what --model names and put it where it runs fastest; say where it comes from if it is no folder."""
    from hnet_dna.model.builtin import builtin_models
    from hnet_dna.model.lm import HNetLM

    loaded = on_device(HNetLM.from_pretrained(model))
    if not model.is_dir():
        known = str(model) in builtin_models()
        notes.print(f"model: {model} ({'built in; --model takes your own' if known else 'from the hub'})")
    return loaded


def model_name(model: Path) -> str:
    """Return how to find a model again from anywhere: a folder by its whole path, a name on the hub as it is."""
    return str(model.resolve()) if model.is_dir() else model.as_posix()


def say_if_windowed(model: HNetLM) -> None:
    """Tell when a model cannot be streamed exactly."""
    if model.config.has_global_attention:
        from hnet_dna.evaluate.stream import PIECE

        notes.print(
            f"this model has global attention: long contigs are run in windows of {2 * PIECE:,} bases, half of them "
            "context, and far bases do not see each other"
        )


def bar(quiet: bool = False) -> Progress:
    """Return a progress bar with free text and ETA; quiet if asked to be, and where stderr is no terminal."""
    return _progress(TextColumn("{task.percentage:3.0f} %", markup=False), quiet=quiet)


def bytes_bar() -> Progress:
    """Return the progress bar of a download, with rate and ETA; quiet where stderr is no terminal."""
    return _progress(DownloadColumn(), TransferSpeedColumn())


def _progress(*columns: ProgressColumn, quiet: bool = False) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        *columns,
        TimeRemainingColumn(),
        console=notes,
        transient=True,
        disable=quiet or not notes.is_terminal,
    )


def resumption_line(progress: RunProgress, budget: Budget) -> str:
    """Say what becomes of a run that is resumed."""
    reached, asked = f"step {progress.step:,}", budget.steps
    if budget.share(progress) >= 1.0:
        beyond = f" ({asked:,} asked for)" if asked is not None and asked < progress.step else ""
        return f"complete at {reached}{beyond}: evaluated again; more --steps or --minutes train on"
    if asked is not None:
        return f"goes on from {reached} of {asked:,}"
    return f"goes on from {reached}, after {progress.seconds / 60:.1f} of {(budget.seconds or 0) / 60:g} minutes"


def budget_text(budget: Budget) -> str:
    """Say how long a run trains."""
    if budget.steps is not None:
        return counted(budget.steps, "step")
    minutes = (budget.seconds or 0) / 60
    return f"{minutes:g} minute{'' if minutes == 1 else 's'}"


def training_line(report: StepReport) -> str:
    """Describe the last steps in one line."""
    chunks = " / ".join(f"{n:.2f}" for n in report.bases_per_chunk)
    chunk_text = f"  {chunks} bases/chunk" if chunks else ""
    return (
        f"step {report.progress.step:,}  {report.bits:.3f} bits/base{chunk_text}  "
        f"{report.bases_per_second:,.0f} bases/s"
    )


def split_lines(split: Split) -> list[str]:
    """Say what each part of a split is."""
    lines = [f"split: {split.rule}"]
    total = sum(len(interval) for part in (split.train, split.valid, split.test) for interval in part)
    for part in ("train", "valid", "test"):
        intervals = getattr(split, part)
        places = ", ".join(map(str, intervals[:3])) + (" ..." if len(intervals) > 3 else "")
        bases = sum(map(len, intervals))
        share = f" ({bases / total:.1%})" if bases else ""
        lines.append(f"  {part}: {bases:,} bases{share}: {places or 'nothing'}")
    if not split.valid:
        lines.append("  no best model is kept, since nothing validates; a BED file for --split can mark regions valid")
    return lines


def comparison_table(comparison: Comparison, model_name: str, seen: int = 0) -> Table:
    """Build the closing table: the model beside uniform and Markov models; `seen` bases were trained on."""
    from hnet_dna.evaluate.markov import MIXTURE, markov_name

    whole = comparison.whole
    bits = whole.bits_per_base
    told = f"Bits per base ({whole.bases:,} bases, {seen:,} of them trained on)"
    table = Table(title=told if seen else f"Held-out bits per base ({whole.bases:,} bases)")
    table.add_column("model")
    table.add_column("bits/base", justify="right")
    table.add_column("note")
    chunks = " / ".join(f"{n:.2f}" for n in comparison.model.positions_per_chunk)
    table.add_row(model_name, f"{bits['model']:.4f}", f"{chunks} bases/chunk" if chunks else "")
    table.add_row("uniform", f"{bits['uniform']:.4f}", "")
    for order in comparison.orders:
        best = "best k" if order == comparison.best_order else ""
        table.add_row(f"Markov, k = {order}", f"{bits[markov_name(order)]:.4f}", best)
    table.add_row("mixture of all k", f"{bits[MIXTURE]:.4f}", "")
    return table


def classes_table(comparison: Comparison) -> Table:
    """Build the table of classes: contigs, repeats, annotation."""
    from hnet_dna.evaluate.markov import MIXTURE, markov_name

    best = comparison.best_order
    table = Table(title="By class")
    table.add_column("class")
    for column in ("bases", "model", "95 %", f"Markov, k = {best}", "mixture"):
        table.add_column(column, justify="right")
    for found in comparison.classes:
        bits = found.bits_per_base
        interval = f"{found.low:.4f}-{found.high:.4f}" if found.low == found.low else "-"
        name = found.name if found.group in ("all", "repeats", "annotation") else f"{found.group} {found.name}"
        table.add_row(
            name,
            f"{found.bases:,}",
            f"{bits['model']:.4f}",
            interval,
            f"{bits[markov_name(best)]:.4f}",
            f"{bits[MIXTURE]:.4f}",
        )
    return table
