"""What a machine has, which backend serves each op on it, and whether each backend agrees with plain loops."""

from __future__ import annotations

import math
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from hnet_dna.errors import UsageError
from hnet_dna.ops import BACKENDS, current_choice
from hnet_dna.ops.check import OPS
from hnet_dna.ops.serve import checks_of
from hnet_dna.progress import OnProgress, Work, ignore

_PACKAGES = (
    "torch", "triton", "mamba-ssm", "einops", "numpy", "safetensors", "huggingface_hub", "pysam",
    "pyBigWig", "pyarrow", "scikit-learn",
)  # fmt: skip


def doctor(*, on_progress: OnProgress = ignore) -> dict[str, Any]:
    """Tell what serves the model's scans, convolution and norms on this machine, and check it against plain loops.

    Args:
        on_progress: called with a `Progress` as the work goes on.

    Returns:
        What JSON can hold: `hnet_dna`, `machine` and `packages` (versions, None for absent ones); `ops`, which backend
        serves each and why; `checks`, the largest relative errors of outputs, gradients and norms of each backend (None
        where one is NaN or infinite); `idle`, backends that cannot serve here; and `problems`, empty if all is well.

    Example:
        >>> from hnet_dna import doctor
        >>> doctor()["problems"]
        []
    """
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
    with Work(on_progress, "checking backends") as work:
        checks, idle = _checks(["cpu", "cuda"] if here == "cuda" else ["cpu"], work)
    problems += [f"backend {row['backend']} on {row['device']}: {row['trouble']}" for row in checks if row["trouble"]]
    return {
        "hnet_dna": _version("hnet-dna"),
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


def _checks(devices: list[str], work: Work) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Compare each backend with the reference on each device; return the figures, and who cannot serve which and why.

    A backend has to serve one of the devices only: that mamba-ssm does not run on the CPU of a machine with a GPU is
    not worth reporting.
    """
    rows: list[dict[str, Any]] = []
    idle: list[dict[str, str]] = []
    for name, backend in BACKENDS.items():
        if name == "reference":
            continue
        obstacles = {device: backend.obstacle(device) for device in devices}
        if all(obstacles.values()):
            idle.append({"backend": name, "why": str(obstacles[devices[-1]])})
        for device in (device for device in devices if obstacles[device] is None):
            work.at(f"{name} on {device}")
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
