"""`hnet-dna benchmark`: commands that compare models with what was measured, one file each."""

from __future__ import annotations

import typer

from .benchmark_variants import variants
from .groups import Commands, paragraphs

benchmark = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="Compare models with what was measured.\n\n"
    "Example: hnet-dna benchmark variants scan.tsv --genome yeast --model run",
)


@benchmark.callback()
def _benchmark() -> None:
    pass


benchmark.command(help=paragraphs(variants.__doc__ or ""))(variants)
