"""A fitted head on disk: an estimator by skops or a network by safetensors, and JSON. Nothing is ever unpickled."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from sklearn.pipeline import Pipeline

from hnet_dna.errors import CheckpointError
from hnet_dna.files import write_beside
from hnet_dna.probing.sequence_head import SequenceHead, load_networks, save_networks

HEAD_FILE, NETWORK_FILE, ABOUT_FILE = "head.skops", "head.safetensors", "head.json"
IN_ORDER = "in order"  # the pooling of heads that read the vectors of a sequence in their order
PER_BASE = "per base"  # the pooling of heads that say something of each base
OWN_MODEL = "."  # the model in the head's own folder, as fine-tuning leaves it
# Types in heads of scikit-learn that skops does not trust by default.
_TRUSTED = ("sklearn.neural_network._stochastic_optimizers.AdamOptimizer",)


@dataclass(frozen=True)
class About:
    """What a head was trained on.

    Attributes:
        task: classification or regression.
        head: name of the head.
        model: the model whose vectors it takes: absolute folder or name, `.` for the one in the head's own folder, None
            for one that was in memory.
        model_digest: of that model.
        level, pooling, strand: how the vectors were made; pooling is None for vectors of single chunks, and `in order`
            for heads that read all vectors of a sequence, `per base` for those that say something of each base.
        longest: bases of the longest sequence that it was trained on; 0 where that is not known, as in older heads.
    """

    task: str
    head: str
    model: str | None
    model_digest: str
    level: str
    pooling: str | None
    strand: str
    longest: int = 0


Head: TypeAlias = Pipeline | SequenceHead


def save_head(folder: Path, head: Head, about: About) -> None:
    """Write head.skops (an estimator) or head.safetensors (a network), and head.json."""
    settings = asdict(about)
    if isinstance(head, SequenceHead):
        settings["network"] = save_networks(folder, NETWORK_FILE, head)
    else:
        import skops.io

        with write_beside(folder / HEAD_FILE) as temporary:
            skops.io.dump(head, temporary)
    with write_beside(folder / ABOUT_FILE) as temporary:
        temporary.write_text(json.dumps(settings, indent=2) + "\n")


def load_head(folder: Path) -> tuple[Head, About]:
    """Read a head.

    Raises:
        CheckpointError: a file is missing or damaged, or holds types that none of our heads has.
    """
    _require(folder, ABOUT_FILE)
    try:
        settings = json.loads((folder / ABOUT_FILE).read_text())
        network = settings.pop("network", None)
        about = About(**settings)
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder}: damaged head ({error})") from None
    if network is not None:
        _require(folder, NETWORK_FILE)
        return load_networks(folder / NETWORK_FILE, network), about
    _require(folder, HEAD_FILE)
    import skops.io

    try:
        unknown = set(skops.io.get_untrusted_types(file=folder / HEAD_FILE)) - set(_TRUSTED)
        if unknown:
            raise CheckpointError(f"{folder / HEAD_FILE} holds types that no head has: {', '.join(sorted(unknown))}")
        head: Any = skops.io.load(folder / HEAD_FILE, trusted=list(_TRUSTED))
    except (ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{folder}: damaged head ({error})") from None
    return head, about


def _require(folder: Path, name: str) -> None:
    if not (folder / name).is_file():
        raise CheckpointError(
            f"{folder} is not a folder made by 'hnet-dna probe' or 'hnet-dna finetune': {name} is missing"
        )
