"""The genome that is part of the package: S. cerevisiae S288C R64, with its genes.

It is made by pipelines/bundle_yeast.py. Provenance and checksums are in data_manifests/bundled/yeast_s288c_r64.toml.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

BUNDLED_NAME = "yeast"


@dataclass(frozen=True)
class Bundled:
    """Paths of the bundled FASTA and GFF3, and what its manifest says."""

    fasta: Path
    annotation: Path
    manifest: dict[str, object]


def bundled_genome() -> Bundled:
    """Find the bundled genome in the installed package."""
    folder = Path(str(files("hnet_dna_manifests"))) / "bundled"
    manifest = tomllib.loads((folder / "yeast_s288c_r64.toml").read_text())
    return Bundled(folder / manifest["fasta"], folder / manifest["annotation"], manifest)
