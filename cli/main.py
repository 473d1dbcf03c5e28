"""The application `hnet-dna`: its commands, and the one place where errors become exit codes."""

from __future__ import annotations

import errno
import os
import platform
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hnet_dna import __version__
from hnet_dna.errors import HNetError

from . import (
    demo,
    doctor,
    embed,
    evaluate,
    explain,
    export,
    generate,
    genome,
    merge,
    plot,
    pretrain,
    probe,
    score,
    segment,
)

# What a disk or a folder can be at fault for.
_NO_BUGS = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EACCES", "EPERM", "EROFS", "ENOENT", "ENOTDIR", "EIO")
    if hasattr(errno, name)
}


class ErrorBoundary(TyperGroup):
    """Prints a user's mistake on one line and exits with its code; a bug of ours keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except HNetError as error:
            typer.echo(f"{type(error).__name__}: {error}", err=True)
            raise typer.Exit(error.exit_code) from None
        except BrokenPipeError:  # the reader of our output has left, as `head` does
            _forget_stdout()
            raise typer.Exit(141) from None
        except OSError as error:
            if error.errno not in _NO_BUGS:
                raise
            _forget_stdout()
            where = f"{error.filename}: " if error.filename else ""
            typer.echo(f"OSError: {where}{error.strerror}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(130) from None


def _forget_stdout() -> None:
    """Keep Python from flushing to a stdout that takes nothing any more."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return  # stdout is no file, as in tests


app = typer.Typer(
    cls=ErrorBoundary,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="H-Nets for DNA: pretrain on a genome, write learned chunk boundaries. Start with: hnet-dna demo",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        others = [f"Python {platform.python_version()}"]
        for package in ("torch", "mamba-ssm"):
            try:
                others.append(f"{package} {version(package)}")
            except PackageNotFoundError:
                others.append(f"no {package}")
        typer.echo(f"hnet-dna {__version__} ({', '.join(others)})")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print versions, as a report of a bug needs them.",
        ),
    ] = False,
) -> None:
    pass


app.command("pretrain")(pretrain.pretrain)
app.command("segment")(segment.segment)
app.command("score")(score.score)
app.command("merge")(merge.merge)
app.command("embed")(embed.embed)
app.command("probe")(probe.probe)
app.command("predict")(probe.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("explain")(explain.explain)
app.command("plot")(plot.plot)
app.command("generate")(generate.generate)
app.command("export")(export.export)
app.command("import")(export.import_)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.add_typer(genome.genome, name="genome")
