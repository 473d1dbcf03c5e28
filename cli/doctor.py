"""`hnet-dna doctor`: what this machine has, which backend serves each op, and whether each agrees with plain loops."""

from __future__ import annotations

import json
from typing import Any

import typer

from . import options, show

_OPS = {  # as printed
    "ssd_scan": "ssd_scan", "ema_scan": "ema_scan", "causal_conv_silu": "conv", "rms_norm": "norm",
    "gated_rms_norm": "gated norm", "mamba_layer": "mamba layer", "mlp_layer": "mlp layer",
    "spread": "spread",
}  # fmt: skip


def doctor(as_json: options.AsJson = False, quiet: options.Quiet = False) -> None:
    """Show which backend computes scans, convolution and norms on this machine, and check it against plain loops.

    Exits with 0 if all is well, and with 1 if the backend that HNET_DNA_BACKEND asks for cannot run here, or if one
    that can run differs from the plain loops in outputs, states or gradients.

    Example: hnet-dna doctor
    """
    from hnet_dna.ops.doctor import doctor as examine

    with show.Reports(quiet=quiet) as progress:
        report = examine(on_progress=progress)
    if as_json:
        typer.echo(json.dumps(report, indent=2, allow_nan=False))
    else:
        _print(report)
    if report["problems"]:
        raise typer.Exit(1)


def _print(report: dict[str, Any]) -> None:
    machine, say = report["machine"], show.results.print

    def line(name: str, text: str) -> None:
        say(f"{name:<12}{text}", soft_wrap=True)

    line("hnet-dna", report["hnet_dna"])
    line("Python", f"{machine['python']} on {machine['system']}")
    counts = [show.counted(machine[f"{one}s"], one) for one in ("core", "thread")]
    line("CPU", f"{machine['processor']}, {', '.join(counts)} used")
    for gpu in machine["gpus"]:
        line("GPU", f"{gpu['name']}, {gpu['memory_gib']} GiB")
    if not machine["gpus"]:
        line("GPU", "none that torch can use")
    line("packages", ", ".join(f"{name} {version}" for name, version in report["packages"].items() if version))
    line("absent", ", ".join(name for name, version in report["packages"].items() if not version) or "none")
    say()
    for row in report["ops"]:
        line(_OPS[row["op"]], f"{row['backend'] or 'none'} on {row['device']}: {row['why']}")
    for row in report["idle"]:
        line("idle", f"{row['backend']}: {row['why']}")
    say()
    say("Largest error against the plain loops, at lengths 0, 1 and an odd one, relative to the largest value:")
    for row in report["checks"]:
        errors = f"{_show(row['output'])} in outputs and states, {_show(row['gradient'])} in gradients"
        verdict = "FAILED" if row["trouble"] else "agrees"
        say(
            f"  {row['backend']:<6} {row['device']:<5} {_OPS[row['op']]:<11} {row['precision']:<9} {errors}  {verdict}",
            soft_wrap=True,
        )
    say()
    for problem in report["problems"]:
        line("problem", problem)
    if not report["problems"]:
        say("All is well.")


def _show(error: float | None) -> str:
    return "NaN" if error is None else f"{error:.1e}"
