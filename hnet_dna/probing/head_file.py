"""A fitted head on disk: the estimator by skops, its settings as JSON. Nothing is ever unpickled."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sklearn.pipeline import Pipeline

from hnet_dna.errors import CheckpointError
from hnet_dna.files import write_beside

HEAD_FILE, ABOUT_FILE = "head.skops", "head.json"
# Types in heads of scikit-learn that skops does not trust by default.
_TRUSTED = ("sklearn.neural_network._stochastic_optimizers.AdamOptimizer",)


@dataclass(frozen=True)
class About:
    """What a head was trained on.

    Attributes:
        task: classification or regression.
        head: name of the head.
        model: the model whose vectors it takes: absolute folder or name, None for one that was in memory.
        model_digest: of that model.
        level, pooling, strand: how the vectors were made; pooling is None for vectors of single chunks.
    """

    task: str
    head: str
    model: str | None
    model_digest: str
    level: str
    pooling: str | None
    strand: str


def save_head(folder: Path, head: Pipeline, about: About) -> None:
    """Write head.skops and head.json."""
    import skops.io

    with write_beside(folder / HEAD_FILE) as temporary:
        skops.io.dump(head, temporary)
    with write_beside(folder / ABOUT_FILE) as temporary:
        temporary.write_text(json.dumps(asdict(about), indent=2) + "\n")


def load_head(folder: Path) -> tuple[Pipeline, About]:
    """Read a head.

    Raises:
        CheckpointError: a file is missing or damaged, or holds types that none of our heads has.
    """
    import skops.io

    for name in (HEAD_FILE, ABOUT_FILE):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is not a folder made by 'hnet-dna probe': {name} is missing")
    try:
        about = About(**json.loads((folder / ABOUT_FILE).read_text()))
        unknown = set(skops.io.get_untrusted_types(file=folder / HEAD_FILE)) - set(_TRUSTED)
        if unknown:
            raise CheckpointError(f"{folder / HEAD_FILE} holds types that no head has: {', '.join(sorted(unknown))}")
        head: Any = skops.io.load(folder / HEAD_FILE, trusted=list(_TRUSTED))
    except (ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{folder}: damaged head ({error})") from None
    return head, about
