"""`hnet-dna doctor`: what this machine has, which backend serves each op, and whether each agrees with plain loops."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import typer

from hnet_dna import __version__
from hnet_dna.errors import UsageError

from . import options, show

_PACKAGES = (
    "torch", "triton", "mamba-ssm", "einops", "numpy", "safetensors", "huggingface_hub", "pysam",
    "pyBigWig", "pyarrow", "scikit-learn",
)  # fmt: skip
_OPS = {  # as printed
    "ssd_scan": "ssd_scan", "ema_scan": "ema_scan", "causal_conv_silu": "conv", "rms_norm": "norm",
    "gated_rms_norm": "gated norm", "mamba_layer": "mamba layer", "mlp_layer": "mlp layer",
    "spread": "spread",
}  # fmt: skip


def doctor(as_json: options.AsJson = False, quiet: options.Quiet = False) -> None:
    """Show what serves the model's scans, convolution and norms on this machine, and check it against plain loops.

    Exits 0 if all is well, and 1 if the backend that HNET_DNA_BACKEND asks for cannot serve, or if one that is there
    differs from the plain loops in outputs, states or gradients.

    Example: hnet-dna doctor
    """
    with show.Progress("checking backends", quiet=quiet) as progress:
        report = _report(lambda what: progress.update(part=what))
    if as_json:
        typer.echo(json.dumps(report, indent=2, allow_nan=False))
    else:
        _print(report)
    if report["problems"]:
        raise typer.Exit(1)


def _report(on_check: Callable[[str], None]) -> dict[str, Any]:
    import torch

    from hnet_dna.ops import BACKENDS, current_choice
    from hnet_dna.ops.check import OPS

    here = "cuda" if torch.cuda.is_available() else "cpu"  # where models run
    problems: list[str] = []
    ops = []
    try:
        choice = current_choice(here)
    except UsageError as error:
        problems.append(str(error))
        ops = [{"op": op, "device": here, "backend": None, "why": "see problems"} for op in OPS]
    else:
        for op in OPS:
            # A backend may borrow an op; the one that comes first among those that share a function owns it.
            owner = next(name for name, other in BACKENDS.items() if getattr(other, op) is getattr(choice.backend, op))
            why = choice.why if owner == choice.backend.name else f"{choice.backend.name} has none of its own"
            ops.append({"op": op, "device": here, "backend": owner, "why": why})
    checks, idle = _checks(["cpu", "cuda"] if here == "cuda" else ["cpu"], on_check)
    problems += [f"backend {row['backend']} on {row['device']}: {row['trouble']}" for row in checks if row["trouble"]]
    return {
        "hnet_dna": __version__,
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpus": _gpus(),
        },
        "packages": {name: _version(name) for name in _PACKAGES},
        "ops": ops,
        "checks": checks,
        "idle": idle,
        "problems": problems,
    }


def _checks(devices: list[str], on_check: Callable[[str], None]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Compare each backend with the reference on each device; return the figures, and who cannot serve which and why.

    A backend has to serve one of the devices only: that mamba-ssm does not run on the CPU of a machine with a GPU is
    no news.
    """
    from hnet_dna.ops import BACKENDS
    from hnet_dna.ops.serve import checks_of

    rows: list[dict[str, Any]] = []
    idle: list[dict[str, str]] = []
    for name, backend in BACKENDS.items():
        if name == "reference":
            continue
        obstacles = {device: backend.obstacle(device) for device in devices}
        if all(obstacles.values()):
            idle.append({"backend": name, "why": str(obstacles[devices[-1]])})
        for device in (device for device in devices if obstacles[device] is None):
            on_check(f"{name} on {device}")
            for check in checks_of(backend, device):
                rows.append(
                    {
                        "backend": name,
                        "device": device,
                        "op": check.op,
                        "precision": check.precision,
                        "output": _finite(check.output),
                        "gradient": _finite(check.gradient),
                        "norm": _finite(check.norm),
                        "allowed": check.tolerance,
                        "trouble": check.trouble,
                    }
                )
    return rows, idle


def _finite(error: float) -> float | None:
    return error if math.isfinite(error) else None  # JSON has no infinity


def _gpus() -> list[dict[str, Any]]:
    import torch

    gpus = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        gpus.append({"name": properties.name, "memory_gib": round(properties.total_memory / 2**30, 1)})
    return gpus


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


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
