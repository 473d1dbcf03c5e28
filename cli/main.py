"""The application `hnet-dna`: its commands, and the one place where errors become exit codes."""

from __future__ import annotations

import errno
import logging
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from hnet_dna import __version__
from hnet_dna.errors import HNetError, StoppedEarly
from hnet_dna.files import FULL

from . import (
    benchmark,
    demo,
    doctor,
    embed,
    evaluate,
    explain,
    export,
    finetune,
    generate,
    genome,
    hub,
    merge,
    mutate,
    plot,
    pretrain,
    probe,
    score,
    segment,
    show,
)
from .groups import Commands, paragraphs, with_options
from .stop import Terminated, termination

# What a disk or a folder can be at fault for.
_NO_BUGS = FULL | {
    getattr(errno, name)
    for name in (
        "EACCES", "EPERM", "EROFS", "ENOENT", "ENOTDIR", "EISDIR", "EIO", "ENAMETOOLONG", "ELOOP", "ENXIO", "ESTALE",
    )
    if hasattr(errno, name)
}  # fmt: skip


_TEMPORARY = "; TMPDIR=FOLDER before the command names another folder for temporary files"


class ErrorBoundary(Commands):
    """Prints a user's mistake on one line and exits with its code; a bug of ours keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        _notes.context = ctx
        try:
            with termination():
                return super().invoke(ctx)
        except HNetError as error:
            message = with_options(str(error), ctx)
            typer.echo(message if isinstance(error, StoppedEarly) else f"Error: {message}", err=True)
            raise typer.Exit(error.exit_code) from None
        except BrokenPipeError:  # the reader of our output has left, as `head` does
            _forget_stdout()
            raise typer.Exit(141) from None
        except OSError as error:
            if error.errno not in _NO_BUGS:
                raise
            _forget_stdout()
            where = f"{error.filename}: " if error.filename else ""
            advice = _TEMPORARY if error.errno in FULL and _is_temporary(error.filename) else ""
            typer.echo(f"Error: {where}{error.strerror}{advice}", err=True)
            raise typer.Exit(1) from None
        except Terminated as signal:
            typer.echo(f"stopped by {signal}", err=True)
            raise typer.Exit(signal.exit_code) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(130) from None
        except Exception as error:
            # Some commands read a genome and nothing else, and take it as an argument; others by an option.
            name = ctx.invoked_subcommand
            if getattr(error, "option_name", None) == "--genome":
                advice = f"{name} takes the genome without an option: hnet-dna {name} GENOME"
            elif "unexpected extra argument" in str(error) and _takes(error, "--genome"):
                advice = f"{name} takes the genome by an option: hnet-dna {name} --genome GENOME"
            else:
                raise
            typer.echo(f"Error: {advice}", err=True)
            raise typer.Exit(2) from None


def _is_temporary(name: object) -> bool:
    """Say whether a file lies in the system's folder for temporary ones, and not because the user works there."""
    folder = Path(tempfile.gettempdir())
    return isinstance(name, str) and Path(name).is_relative_to(folder) and not Path.cwd().is_relative_to(folder)


def _takes(error: Exception, option: str) -> bool:
    """Say whether the command that raised a usage error has an option."""
    command = getattr(getattr(error, "ctx", None), "command", None)
    return any(option in parameter.opts for parameter in getattr(command, "params", ()))


def _forget_stdout() -> None:
    """Keep Python from flushing to a stdout that takes nothing any more."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return  # stdout is not a file, as in tests


_log = logging.getLogger("hnet_dna")
_log.setLevel(logging.INFO)
_notes = show.LogNotes()
_log.addHandler(_notes)

app = typer.Typer(
    cls=ErrorBoundary,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train H-Nets on DNA, and use them: chunks, scores, classifiers. Start with: hnet-dna demo",
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
            help="Print the versions that a bug report needs.",
        ),
    ] = False,
) -> None:
    pass


_PANELS: dict[str, dict[str, Any]] = {
    "Begin": {"demo": demo.demo, "genome": genome.genome, "doctor": doctor.doctor},
    "Train a model, and judge it": {
        "pretrain": pretrain.pretrain,
        "evaluate": evaluate.evaluate,
        "explain": explain.explain,
    },
    "Read a genome with a model": {
        "segment": segment.segment,
        "score": score.score,
        "mutate": mutate.mutate,
        "generate": generate.generate,
    },
    "Look at tracks": {"plot": plot.plot, "hub": hub.hub, "merge": merge.merge},
    "Classify sequences": {
        "embed": embed.embed,
        "probe": probe.probe,
        "finetune": finetune.finetune,
        "predict": probe.predict,
        "benchmark": benchmark.benchmark,
    },
    "Exchange models with the reference implementation": {"export": export.export, "import": export.import_},
}
for _panel, _commands in _PANELS.items():
    for _name, _command in _commands.items():
        if isinstance(_command, typer.Typer):
            app.add_typer(_command, name=_name, rich_help_panel=_panel)
        else:
            app.command(_name, help=paragraphs(_command.__doc__ or ""), rich_help_panel=_panel)(_command)
