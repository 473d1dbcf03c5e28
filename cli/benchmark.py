"""`hnet-dna benchmark`: commands that compare models with what was measured, one file each."""

from __future__ import annotations

from typing import Any

import typer

from .benchmark_suite import suite
from .benchmark_variants import variants
from .groups import Commands, paragraphs


class _Benchmarks(Commands):
    """`benchmark FOLDER ...` is `benchmark suite FOLDER ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.list_commands(ctx), *ctx.help_option_names}:
            args = ["suite", *args]
        return super().parse_args(ctx, args)


benchmark = typer.Typer(
    cls=_Benchmarks,
    no_args_is_help=True,
    help="Test a model on published data sets, or its variant scores against measured effects.\n\n"
    "Example: hnet-dna benchmark suite GUE --layout gue --model run --out gue\n\n"
    "Example: hnet-dna benchmark variants scan.tsv --genome yeast --model run",
)


@benchmark.callback()
def _benchmark() -> None:
    pass


for _command in (suite, variants):
    benchmark.command(help=paragraphs(_command.__doc__ or ""))(_command)
