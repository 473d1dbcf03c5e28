"""A scikit-learn transformer from sequences to vectors, for use inside pipelines and searches."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from hnet_dna.embedding.embedder import embed
from hnet_dna.embedding.inputs import SequencesLike
from hnet_dna.model.lm import HNetLM
from hnet_dna.pretrained.folder import CONFIG_FILE, WEIGHTS_FILE, find_folder


class SequenceEmbedder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn sequences into vectors with a frozen model.

    The parameters are those of `hnet_dna.embed`, except that `model` is named rather than given, so that the
    transformer can be cloned and sent to other processes. Each process loads the model once.

    Example:
        >>> import hnet_dna
        >>> hnet_dna.SequenceEmbedder("five-genomes", level="encoder").fit_transform(["ACGTTGCA", "GGGCCC"]).shape
        (2, 64)
    """

    def __init__(self, model: str | Path, level: str = "chunk", pooling: str = "mean", strand: str = "both") -> None:
        self.model, self.level, self.pooling, self.strand = model, level, pooling, strand

    def fit(self, X: SequencesLike, y: object = None) -> SequenceEmbedder:
        """Load the model; there is nothing to learn."""
        _load(self.model)
        return self

    def transform(self, X: SequencesLike) -> NDArray[np.float32]:
        """Return the vectors (N, D), float32."""
        options: dict[str, Any] = {"level": self.level, "pooling": self.pooling, "strand": self.strand}
        return embed(_load(self.model), X, **options)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def _load(model: str | Path) -> HNetLM:
    """Return a model, loaded once for each version of its files, since a run that trains on writes other weights."""
    folder = find_folder(model)
    files = [folder / CONFIG_FILE, folder / WEIGHTS_FILE]
    return _loaded(str(folder), tuple((place.stat().st_mtime_ns, place.stat().st_ino) for place in files))


@lru_cache(maxsize=2)
def _loaded(folder: str, state: tuple[tuple[int, int], ...]) -> HNetLM:
    del state
    return HNetLM.from_pretrained(folder).eval()
