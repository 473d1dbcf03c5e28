"""Models ready to predict: trained ones, and untrained ones of the same shape as controls."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import torch

from hnet_dna.config.recipe import Precision
from hnet_dna.config.schema import ModelConfig
from hnet_dna.errors import UsageError, did_you_mean
from hnet_dna.model.lm import HNetLM
from hnet_dna.plural import counted


def load_model(
    model: str | Path | HNetLM, *, device: str | torch.device | None = None, precision: Precision | None = None
) -> HNetLM:
    """Return a model in evaluation mode, on a device, for calls in a precision.

    Args:
        model: a run's folder, a model's folder, the name of a built-in model, owner/name on the Hugging Face hub, or a
            model in memory, which is moved and switched to evaluation in place.
        device: where to run: `cpu`, `cuda`, or one of several GPUs as `cuda:1`. Where None, a model in memory stays
            where it is, and another goes to a GPU if there is one.
        precision: of calls: `fp32`; `bf16` runs matrix products in bfloat16 and nothing that decides, as in training;
            `auto` is `bf16` on GPUs that have it. Weights stay as they are. Where None, a model in memory keeps its
            own, and another has `fp32`.

    Raises:
        CheckpointError: there is no such model, or its weights do not fit its configuration.
        UsageError: there is no such device or precision.

    Example:
        >>> from hnet_dna import load_model
        >>> load_model("five-genomes").n_chunking_stages
        1
    """
    if device is not None:
        device = _checked(device)  # before what takes long
    if precision is not None and precision not in get_args(Precision):
        raise UsageError(f"`precision` {precision}: {did_you_mean(precision, get_args(Precision))}")
    if isinstance(model, HNetLM):
        loaded = model
    else:
        loaded = HNetLM.from_pretrained(model)
        loaded.name_or_path = Path(model).as_posix()
        device = device or _best_device()
    if device is not None:
        loaded.to(device)
    if precision is not None:
        on_gpu = loaded.lm_head.weight.is_cuda
        loaded.bf16_products = precision == "bf16" or (
            precision == "auto" and on_gpu and torch.cuda.is_bf16_supported()
        )
    return loaded.eval()


def _best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _checked(device: str | torch.device) -> torch.device:
    """Return a device that is there."""
    try:
        found = torch.device(device)
    except RuntimeError:
        found = torch.device("meta")
    if found.type not in ("cpu", "cuda"):
        raise UsageError(f"`device` {device}: expected cpu, cuda, or one of several GPUs as cuda:1")
    count = torch.cuda.device_count()
    if found.type == "cuda" and (found.index or 0) >= count:
        there = f"{counted(count, 'GPU')}, from cuda:0" if count else "no GPU that it can use"
        raise UsageError(f"`device` {device}: PyTorch finds {there}; without `device`, the best there is is used")
    return found


def untrained(config: ModelConfig, like: HNetLM | None = None) -> HNetLM:
    """Return a freshly initialised model, in evaluation mode: the same weights at every call.

    It is where a model that it is `like` is, and runs in its precision; without one, where `load_model` puts one. The
    caller's random numbers stay what they would have been.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = HNetLM(config).eval()
    model.bf16_products = like is not None and like.bf16_products
    return model.to(_best_device() if like is None else like.lm_head.weight.device)
