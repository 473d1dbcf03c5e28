"""The vectors of labelled rows, by a model or its untrained twin, as the contenders of a probe take them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hnet_dna.embedding.embedder import Embedder, evaluating
from hnet_dna.embedding.models import open_model
from hnet_dna.embedding.table import Table
from hnet_dna.errors import CheckpointError, ConfigError, SequenceError, UsageError
from hnet_dna.inference import load
from hnet_dna.model.lm import HNetLM
from hnet_dna.plural import counted
from hnet_dna.pretrained.folder import read_config
from hnet_dna.probing.contenders import Contender, OnSequences, OnVectors
from hnet_dna.probing.cross_validation import MODEL, UNTRAINED
from hnet_dna.probing.dataset import Labels, match
from hnet_dna.probing.head_file import IN_ORDER, About
from hnet_dna.probing.inputs import FrozenVectors
from hnet_dna.probing.sequence_head import SEQUENCE_HEADS
from hnet_dna.progress import OnProgress, Work
from hnet_dna.sequence.codes import Codes, is_acgt, n_known
from hnet_dna.sequence.strand import check_strand

_log = logging.getLogger(__name__)

_NETWORKS = 2  # of a head over vectors in their order; what a second one gains, docs/results.md says


@dataclass(frozen=True)
class Vectors:
    """The contender that is judged, what its vectors are, and the model, if it has been loaded."""

    contender: Contender
    about: About
    model: HNetLM | None


def of_table(labels: Labels, table: Table, about: About, *, by_place: bool) -> Vectors:
    """Take the vectors of a table: those of all its rows, or of the ids that have labels."""
    keys = ("model", "model_digest", "level", "pooling", "strand")
    made = About(about.task, about.head, *(table.metadata[key] for key in keys))
    made = replace(made, longest=int((table.end - table.start).max(initial=0)))
    matrix = table.vector if by_place else match(labels, table)
    return Vectors(OnVectors(MODEL, matrix, about.head), made, None)


def of_sequences(
    labels: Labels,
    codes: Sequence[Codes] | None,
    model: str | Path | HNetLM,
    about: About,
    on_progress: OnProgress,
) -> Vectors:
    """Embed the sequences in a file of labels; `about` says how."""
    if codes is None:
        names = ", ".join(labels.columns.values())
        raise SequenceError(
            f"{labels.path}: no column of sequences to embed beside {names}; name it by `sequence`, or give vectors by "
            "`embeddings`"
        )
    if about.head in SEQUENCE_HEADS:
        check_bases(labels, codes)
    loaded, name = open_model(model)
    in_order = about.head in SEQUENCE_HEADS
    level = about.level or (in_order_level(loaded) if in_order else "chunk")
    longest = max(map(len, codes))
    about = replace(about, model=name, model_digest=loaded.digest(), level=level, longest=longest)
    with Work(on_progress, "embedding", bases_to_run(codes, about.strand), "bases") as work:
        contender = _contender(MODEL, loaded, about, labels, codes, work.add)
    return Vectors(contender, about, loaded)


def untrained_twin(
    vectors: Vectors, labels: Labels, codes: Sequence[Codes], on_progress: OnProgress
) -> Contender | None:
    """Return the same head on an untrained model of the same shape and settings, or log why there is none."""
    about = vectors.about
    try:
        if vectors.model is not None:
            config = vectors.model.config
        elif about.model is None:
            raise CheckpointError("the model that made the table was in memory")
        else:
            config = read_config(Path(about.model))
        twin = load.untrained(config, vectors.model)
        if about.pooling != IN_ORDER:
            # Only labels by id have sequences, and their vectors are pooled.
            embedder = Embedder(twin, about.level, about.pooling or "", about.strand)
            if embedder.width != vectors.contender.width:
                raise UsageError(
                    f"its vectors have {counted(embedder.width, 'number')}, those of the table "
                    f"{vectors.contender.width}"
                )
    except UsageError as error:
        reason = f"{about.model} holds another model now ({error})"
    except (CheckpointError, ConfigError) as error:
        reason = str(error)
    else:
        total = bases_to_run(codes, about.strand)
        with Work(on_progress, "embedding by an untrained model", total, "bases") as work:
            return _contender(UNTRAINED, twin, about, labels, codes, work.add)
    _log.info("no baseline of an untrained model: %s", reason)
    return None


def check_bases(labels: Labels, codes: Sequence[Codes] | None) -> Sequence[Codes]:
    """Return the sequences, or refuse rows that have none or no A, C, G or T."""
    if codes is None:
        names = ", ".join(labels.columns.values())
        raise SequenceError(f"{labels.path}: no column of sequences beside {names}; name it by `sequence`")
    if without := [name for name, bases in zip(labels.ids, codes, strict=True) if not is_acgt(bases).any()]:
        raise _without_bases(labels, without)
    return codes


def in_order_level(model: HNetLM) -> str:
    """Return the levels that heads over vectors in their order read, where none is named."""
    return "encoder+decoder+letters" if model.n_chunking_stages else "decoder+letters"


def bases_to_run(codes: Sequence[Codes], strand: str) -> int:
    """Return how many bases are run to embed sequences."""
    return sum(map(n_known, codes)) * (2 if strand == "both" else 1)


def _contender(
    name: str,
    model: HNetLM,
    about: About,
    labels: Labels,
    codes: Sequence[Codes],
    on_bases: Callable[[int], None],
) -> Contender:
    if about.head in SEQUENCE_HEADS:
        check_strand(about.strand)
        with evaluating(model):
            inputs = FrozenVectors(model, about.level, about.strand, codes, on_bases)
        return OnSequences(name, inputs, about.head, networks=_NETWORKS)
    embedder = Embedder(model, about.level, about.pooling or "", about.strand)
    vectors = embedder.embed(codes, on_bases)
    if name == UNTRAINED:  # of regions of a genome, whose own vectors are in a table
        zeros = np.zeros(embedder.width, dtype=np.float32)
        vectors = [zeros if vector is None else vector for vector in vectors]
    elif without := [name for name, vector in zip(labels.ids, vectors, strict=True) if vector is None]:
        raise _without_bases(labels, without)
    matrix: NDArray[np.float32] = np.stack([vector for vector in vectors if vector is not None])
    return OnVectors(name, matrix, about.head)


def _without_bases(labels: Labels, names: list[str]) -> SequenceError:
    return SequenceError(
        f"{labels.path}: {counted(len(names), 'sequence')} without any A, C, G or T: {', '.join(names[:5])}"
    )
