"""Models ready to predict: trained ones, and untrained ones of the same shape as controls."""

from __future__ import annotations

from pathlib import Path

import torch

from hnet_dna.config.schema import ModelConfig
from hnet_dna.model.lm import HNetLM


def load_model(model: str | Path | HNetLM, *, device: str | torch.device | None = None) -> HNetLM:
    """Return a model in evaluation mode, on the device where it runs fastest.

    Args:
        model: a run's folder, a model's folder, the name of a built-in model, owner/name on the Hugging Face hub, or a
            model in memory, which is moved and switched to evaluation in place.
        device: where to run; a GPU if there is one, else the CPU, where None.

    Raises:
        CheckpointError: there is no such model, or its weights do not fit its configuration.

    Example:
        >>> from hnet_dna import load_model
        >>> load_model("five-genomes").n_chunking_stages
        1
    """
    if isinstance(model, HNetLM):
        loaded = model
    else:
        loaded = HNetLM.from_pretrained(model)
        loaded.name_or_path = Path(model).as_posix()
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return loaded.to(device).eval()


def untrained(config: ModelConfig) -> HNetLM:
    """Return a freshly initialised model, in evaluation mode on the CPU: the same weights at every call.

    The caller's random numbers stay what they would have been.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return HNetLM(config).eval()
