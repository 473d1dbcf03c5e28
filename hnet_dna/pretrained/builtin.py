"""Models that travel inside the package, by name. Each folder has a model card with data, bits per base and limits."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

DEFAULT_MODEL = "five-genomes"


def builtin_models() -> dict[str, Path]:
    """Return the folders of the built-in models by name."""
    folder = Path(str(files("hnet_dna_manifests"))) / "models"
    return {path.name: path for path in sorted(folder.iterdir()) if path.is_dir()}
