"""Loads a model and makes it ready to predict."""

from __future__ import annotations

from pathlib import Path

import torch

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
    loaded = model if isinstance(model, HNetLM) else HNetLM.from_pretrained(model)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return loaded.to(device).eval()
