"""What people see while they wait, on stderr, and the tables at the end."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from shutil import get_terminal_size
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Column

from hnet_dna.files import is_stream
from hnet_dna.plural import counted as counted
from hnet_dna.progress import Progress as Report

from .groups import with_options

if TYPE_CHECKING:
    from hnet_dna.genome.genome import Genome
    from hnet_dna.model.lm import HNetLM

# What is printed holds names that users chose: `ctg1[organism=yeast]` and `chr:dna:1` mean what they say.
_PLAIN: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
notes = Console(stderr=True, soft_wrap=True, **_PLAIN)
# A table is never squeezed into fewer columns than it needs, which would cut its numbers; see `cli.tables`.
results = Console(**_PLAIN, width=max(140, get_terminal_size().columns))


class LogNotes(logging.Handler):
    """Prints what the library logs as notes.

    Attributes:
        context: of the command that runs, whose options stand in for the parameters that a note names.
    """

    context: Any = None

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        message = self.format(record)
        notes.print(message if self.context is None else with_options(message, self.context))


_EVERY = 60.0  # seconds between lines of progress
_TOO_SHORT = 0.01  # seconds after which a rate can be told


def load_model(model: Path, device: str | None, precision: str = "fp32") -> HNetLM:
    """Read what --model names and put it where --device says; say where it comes from if it is not a folder."""
    from hnet_dna.inference.load import load_model as load
    from hnet_dna.pretrained.builtin import builtin_models

    loaded = load(model, device=device, precision=precision)  # type: ignore[arg-type]
    if not model.is_dir():
        known = str(model) in builtin_models()
        notes.print(f"model: {model} ({'built in; --model takes your own' if known else 'from the hub'})")
    return loaded


def wrote(places: Iterable[Path], quiet: bool = False, *, what: str = "", then: str | None = None) -> None:
    """Close a command: name the files and folders that it has written, and say what is usually done next.

    Args:
        places: what it may have written; what is not there, and devices and pipes, are not named.
        quiet: whether to say nothing.
        what: is in them.
        then: a command that can be pasted, with the inputs that this one had; None where nothing follows naturally.
    """
    if quiet:
        return
    names = [str(place) for place in dict.fromkeys(places) if place.exists() and not is_stream(place)]
    if names:
        notes.print(f"wrote {', '.join(names)}" + (f": {what}" if what else ""))
    if then is not None:
        notes.print(f"Next:  {then}")


def unused(name: str) -> str:
    """Return a name of a folder to create that nothing has yet, for a command that is to be pasted."""
    numbered = (f"{name}{number}" for number in count(2))
    return name if not Path(name).exists() else next(one for one in numbered if not Path(one).exists())


class Progress:
    """Says how far long work has come: by a bar on a terminal, elsewhere by plain lines; a context manager.

    The lines are one at the start, then at most one a minute, and one at the end if all went well. Time left is
    reckoned from the share of the work that is done, where that is known.

    Args:
        what: is done, such as `segmenting`.
        total: how much there is to do, where that is known.
        unit: of `total` and of what is passed to `update`; `bytes` are shown as MB. Empty if only shares are passed.
        about: what the first line says beside `what`; the total where it is not given.
        quiet: whether to say nothing at all.
        on_data: whether data goes to a terminal, so that a bar would run through it.
        clock: seconds.
    """

    def __init__(
        self,
        what: str,
        total: int | None = None,
        unit: str = "",
        *,
        about: str = "",
        quiet: bool = False,
        on_data: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what, self._total, self._unit, self._clock = what, total, unit, clock
        self._about = about or ("" if total is None else _amount(total, unit))
        self._bar: Bar | None = None
        self._lines = not quiet
        if not quiet and sys.stderr.isatty() and notes.is_interactive:
            self._lines = False
            if not on_data:
                # In a narrow terminal the text goes on in a second line, and is not cut.
                text = TextColumn("{task.description}", markup=False, table_column=Column())
                columns = BarColumn(bar_width=24), text
                self._bar = Bar(*columns, console=notes, transient=True)
                self._task = self._bar.add_task(what, total=None)
        self._began: float | None = None
        self._said = 0.0
        self._part = self._detail = ""
        self._done = 0
        self._share: float | None = None
        self._from: tuple[float, int, float] = (0.0, 0, 0.0)  # time, done and share where the part began

    def __enter__(self) -> Progress:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._began is None:
            return
        if self._bar:
            self._bar.stop()
        if self._lines and kind is None:
            notes.print(f"{self._what}: {', '.join(self._closing())}")

    def update(
        self,
        done: int | None = None,
        *,
        share: float | None = None,
        part: str | None = None,
        detail: str | None = None,
    ) -> None:
        """Report how far the work has come.

        Args:
            done: units done, in all.
            share: of the work, or of its part, 0 to 1; reckoned from `done` where the total is known.
            part: what is being done now, where the work has parts that do not add up to a total.
            detail: more to show.
        """
        if self._began is None:
            self._begin()
        if part is not None and part != self._part:
            self._part, self._share = part, None
            self._from = (self._clock(), self._done, min(share or 0.0, 1.0))
        self._done = self._done if done is None else done
        self._share = self._share if share is None else min(share, 1.0)
        if share is None and self._total and not self._part:
            self._share = self._done / self._total
        self._detail = self._detail if detail is None else detail
        now = self._clock()
        if self._bar:
            total = None if self._share is None else 1.0
            self._bar.update(self._task, description=self._text(now), completed=self._share, total=total)
        elif self._lines and now - self._said >= _EVERY:
            self._said = now
            notes.print(self._text(now))

    def go_on(self, done: int = 0, share: float | None = 0.0) -> None:
        """Report how much had been done before this command began, which its rate does not count."""
        self._done, self._share = done, share
        if self._began is None:
            self._begin()
        self._from = (self._clock(), done, share or 0.0)

    def _begin(self) -> None:
        self._began = self._said = self._clock()
        self._from = (self._began, self._from[1], self._from[2])
        if self._bar:
            self._bar.start()
        if self._lines:
            notes.print(f"{self._what}: {self._about}" if self._about else self._what)

    def _text(self, now: float) -> str:
        """Return what is done, how fast, and how long the rest takes."""
        began, done, share = self._from
        spent = now - began
        percent = "" if self._share is None else f"{100 * self._share:.0f} %"
        parts = [self._part] if self._part else []
        if self._unit and not self._part:
            amount = _amount(self._done, self._unit, self._total)
            parts.append(f"{amount} ({percent})" if percent else amount)
        elif percent:
            parts.append(percent)
        parts += [self._detail] if self._detail else []
        parts += self._rate(self._done - done, spent)
        if self._share is not None and self._share > share and spent > 0:
            left = _duration(spent * (1 - self._share) / (self._share - share))
            parts.append(f"{left} left" + (" of this part" if self._part else ""))
        return f"{self._what}: {', '.join(parts)}" if parts else self._what

    def _closing(self) -> list[str]:
        began = self._began or 0.0
        spent = self._clock() - began
        amount = f"{_amount(self._done, self._unit)} in" if self._unit else "done in"
        self._part = ""
        rate = [self._detail] if self._detail else self._rate(self._done - self._from[1], spent)
        return [f"{amount} {_duration(spent)}", *rate]

    def _rate(self, done: int, spent: float) -> list[str]:
        if not self._unit or self._part or done <= 0 or spent < _TOO_SHORT:
            return []
        rate = done / spent
        if self._unit != "bytes" and rate < 0.05:  # which would read as 0.0
            return []
        return [f"{_size(rate)}/s" if self._unit == "bytes" else f"{rate:,.{0 if rate >= 10 else 1}f} {self._unit}/s"]


class Reports:
    """Shows what a function of the library reports of its work, one piece after the other; a context manager."""

    def __init__(
        self, *, quiet: bool = False, on_data: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._quiet, self._on_data, self._clock = quiet, on_data, clock
        self._shown: Progress | None = None

    def __call__(self, report: Report) -> None:
        """Show a report."""
        if self._shown is None:
            self._shown = Progress(
                report.what,
                report.total,
                report.unit,
                about=report.about,
                quiet=self._quiet,
                on_data=self._on_data,
                clock=self._clock,
            )
            self._shown.go_on(report.done, report.done / report.total if report.total else None)
        elif report.finished:
            self._shown.__exit__(None, None, None)
            self._shown = None
        else:
            self._shown.update(report.done, share=report.share, part=report.part)

    def __enter__(self) -> Reports:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown is not None:
            self._shown.__exit__(kind, error, trace)


def _amount(number: float, unit: str, total: int | None = None) -> str:
    if unit == "bytes":
        return _size(number) if total is None else f"{_size(number)} of {_size(total)}"
    noun = unit.removesuffix("s") if (total or number) == 1 else unit
    return f"{number:,} {noun}" if total is None else f"{number:,} of {total:,} {noun}"


def _size(number: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            break
        number /= 1000
    return f"{number:,.0f} {unit}" if number >= 100 or unit == "bytes" else f"{number:.1f} {unit}"


def _duration(seconds: float) -> str:
    if seconds < 59.5:
        return f"{seconds:.{0 if seconds >= 9.5 else 1}f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours / 24:.1f} days"


def open_genome(genome: str, quiet: bool = False, *, aliases: bool = False) -> Genome:
    """Open a genome by path or name, from a pipe or from stdin, and say how far it is read if it has no store yet."""
    from hnet_dna.genome.open import open_with_progress

    with Reports(quiet=quiet) as reports:
        return open_with_progress(genome, reports, aliases=aliases)
