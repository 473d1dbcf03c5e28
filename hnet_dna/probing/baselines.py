"""What a model has to beat: baselines that need no model, and the same network without training."""

from __future__ import annotations

from collections.abc import Sequence

from hnet_dna.probing import features
from hnet_dna.probing.contenders import Contender, Kmers, OnSequences, OnVectors
from hnet_dna.probing.dataset import Task
from hnet_dna.probing.inputs import Letters
from hnet_dna.sequence.codes import Codes

CONVOLUTIONAL = "convolutional network"


def baselines(sequences: Sequence[Codes], task: Task) -> list[Contender]:
    """Return the baselines that know nothing but the letters: GC, k-mers, one-hot letters, a convolutional network."""
    linear = "ridge" if task == "regression" else "logistic"
    counts = features.SparseCounts(sequences)
    rows: list[Contender] = [
        OnVectors("GC content", features.gc_content(sequences), linear),
        Kmers(counts, boosting=False),
        Kmers(counts, boosting=True),
    ]
    if (positions := features.one_hot(sequences)) is not None:
        rows.append(OnVectors("one-hot", positions, linear))
    rows.append(OnSequences(CONVOLUTIONAL, Letters(sequences), "conv"))
    return rows
