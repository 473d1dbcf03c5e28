"""Tables at the end of a command, and how they are printed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from shutil import get_terminal_size
from typing import TYPE_CHECKING

from rich.measure import Measurement
from rich.table import Column, Table

from . import show

if TYPE_CHECKING:
    from hnet_dna.evaluation.breakdown import ClassBits
    from hnet_dna.evaluation.compare import Comparison
    from hnet_dna.probing.cross_validation import Result
    from hnet_dna.probing.metrics import Metric

_BREAK = re.compile(r"(?<=,) | (?=[^\W\d]{3,})")  # where a header goes on in a new line: `95 %` and `k = 12` stay whole
_WIDEST = 10_000  # columns of a terminal, so that no cell is broken where a table's width is measured


def print_table(table: Table, keys: int = 1) -> None:
    """Print a table, whole in a file or a pipe; a terminal that it is too wide for gets it in parts that fit.

    Each part has the first `keys` columns, which say what a row is about, and some of the others.
    """
    for part in _parts(table, keys, get_terminal_size().columns) if show.results.is_terminal else [table]:
        show.results.width = max(_width(part), show.results.width)
        show.results.print(part)


def _parts(table: Table, keys: int, width: int) -> Iterator[Table]:
    """Yield a table, or several that have its first columns and some of the others, as many as `width` has room for."""
    if _width(table) <= width:
        yield table
        return
    columns = [replace(column, header=_BREAK.sub("\n", str(column.header))) for column in table.columns]
    first, others = columns[:keys], columns[keys:]
    for column in first:
        column.max_width, column.overflow = width // (2 * keys), "fold"
    parts = [_with_columns(table, [*first, *some]) for some in _shared(table, first, others, width)]
    parts[0].title, parts[-1].caption = table.title, table.caption
    yield from parts


def _shared(table: Table, first: list[Column], others: list[Column], width: int) -> list[list[Column]]:
    """Share columns among as few tables as there have to be, and evenly if they fit so."""

    def fits(some: list[Column]) -> bool:
        return _width(_with_columns(table, [*first, *some])) <= width

    filled: list[list[Column]] = [[]]
    for column in others:
        if filled[-1] and not fits([*filled[-1], column]):
            filled.append([])
        filled[-1].append(column)
    each, more = divmod(len(others), len(filled))
    ends = list(accumulate(each + (number < more) for number in range(len(filled))))
    even = [others[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return even if all(map(fits, even)) else filled


def _width(table: Table) -> int:
    return Measurement.get(show.results, show.results.options.update(max_width=_WIDEST), table).maximum


def _with_columns(table: Table, columns: list[Column]) -> Table:
    """Return a table with some columns of another, and all its rows."""
    part = Table()
    part.columns, part.rows = columns, table.rows
    return part


def better_baseline(comparison: Comparison) -> str:
    """Say which baseline needs no more bits than the model, the best of them; empty if none does."""
    from hnet_dna.evaluation.compare import MODEL
    from hnet_dna.evaluation.markov import MIXTURE, markov_name

    bits = comparison.whole.bits_per_base
    names = {"uniform": "guessing", MIXTURE: "the mixture of Markov models"}
    names |= {markov_name(order): f"the Markov model of order {order}" for order in comparison.orders}
    best = min(names, key=lambda name: bits[name])
    if bits[best] > bits[MODEL]:
        return ""
    return f"The model needs {bits[MODEL]:.4f} bits per base, and {names[best]} only {bits[best]:.4f}"


def comparison_table(comparison: Comparison, model_name: str, seen: int = 0) -> Table:
    """Build the closing table: the model beside uniform and Markov models; `seen` bases were trained on."""
    from hnet_dna.evaluation.markov import MIXTURE, markov_name

    whole = comparison.whole
    bits = whole.bits_per_base
    title = f"Bits per base ({show.counted(whole.bases, 'base')}, {seen:,} of them trained on)"
    table = Table(title=title if seen else f"Held-out bits per base ({show.counted(whole.bases, 'base')})")
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
    if comparison.containment is not None and comparison.containment.whole is not None:
        shared = comparison.containment
        table.caption = (
            f"{shared.whole:.2%} of the distinct {shared.word}-mers held out are in the training part too"
            + (f" (one in {shared.one_in:,} looked at)" if shared.one_in > 1 else "")
        )
    return table


def classes_table(comparison: Comparison, classes: list[ClassBits] | None = None) -> Table:
    """Build the table of classes, all by default: genomes, contigs, repeats, annotation."""
    from hnet_dna.evaluation.markov import MIXTURE, markov_name

    best = comparison.best_order
    table = Table(title="By class")
    table.add_column("class")
    for column in ("bases", "model", "95 %", f"Markov, k = {best}", "mixture"):
        table.add_column(column, justify="right")
    for row in comparison.classes if classes is None else classes:
        bits = row.bits_per_base
        interval = f"{row.low:.4f}-{row.high:.4f}" if row.low == row.low else "-"
        name = row.name if row.group in ("all", "repeats", "annotation") else f"{row.group} {row.name}"
        table.add_row(
            name,
            f"{row.bases:,}",
            f"{bits['model']:.4f}",
            interval,
            f"{bits[markov_name(best)]:.4f}",
            f"{bits[MIXTURE]:.4f}",
        )
    return table


def metrics_table(title: str, results: Sequence[Result]) -> Table:
    """Show the metrics of each contender of a probe, with their intervals."""
    names = list(results[-1].metrics)
    table = Table("features", title=title)
    for name in names:
        table.add_column(name, justify="right")
    for row in results:
        table.add_row(row.name, *(metric_cell(row.metrics.get(name)) for name in names))
    return table


def metric_cell(metric: Metric | None) -> str:
    """Write a metric with its 95 % interval, where there is one."""
    if metric is None:
        return "-"
    interval = "" if math.isnan(metric.low) else f" [{metric.low:.3f}, {metric.high:.3f}]"
    return f"{metric.value:.3f}{interval}"
