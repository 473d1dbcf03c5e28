"""Predictions for new sequences as files: a table, or for heads that say something of each base BED and bigWig."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO, Unpack

from hnet_dna.embedding.inputs import SequencesLike
from hnet_dna.errors import UsageError
from hnet_dna.probing.base_prediction import predict_bases
from hnet_dna.probing.head_file import PER_BASE, load_head
from hnet_dna.probing.prediction import HowToPredict, predict
from hnet_dna.probing.sequence_head import SequenceHead
from hnet_dna.tracks.values import Values


def predict_to_file(
    sequences: str | Path | SequencesLike,
    head: str | Path,
    out: TextIO,
    *,
    bigwig: str | Path | None = None,
    **how: Unpack[HowToPredict],
) -> None:
    """Apply a head to new sequences and write what it says, as it comes.

    A head of whole sequences gives a table with tabs: id, predicted, and p_CLASS for each class. A head of single bases
    gives BED: the stretches where a label is more likely than not, with the mean probability times 1,000 as score.

    Args:
        sequences: as for `predict`.
        head: folder that `probe` or `finetune` made.
        out: an open stream.
        bigwig: for what is said of each base; of several labels each has a file, x.LABEL.bw.
        how: `model`, `sequence`, `device`, `precision` and `on_progress`, as for `predict`.

    Raises:
        UsageError: the head and the files do not belong together, or as `predict` raises it.
        CheckpointError: the folder holds no head.
    """
    paths = bigwigs_of(head, bigwig)
    if paths is None:
        predictions = predict(sequences, head, **how)
        header = "".join(["id\tpredicted", *(f"\tp_{name}" for name in predictions.classes), "\n"])
        for row in predictions:
            scores = "".join(f"\t{score:.6f}" for score in row.scores)
            out.write(f"{header}{row.id}\t{row.predicted}{scores}\n")
            header = ""  # written with the first line, so that a file that cannot be read leaves nothing
        out.write(header)
        return
    with ExitStack() as stack:
        values = [(path, stack.enter_context(Values())) for path in paths]
        for bases in predict_bases(sequences, head, **how):
            for start, end, name, score in bases.regions():
                out.write(f"{bases.id}\t{start}\t{end}\t{name}\t{round(1000 * score)}\t.\n")
            for column, (_, own) in enumerate(values):
                own.contig(bases.id, len(bases.values))
                own.add(bases.id, 0, bases.values[:, column])
        for path, own in values:
            own.write_bigwig(path)


def bigwigs_of(head: str | Path, bigwig: str | Path | None) -> list[Path] | None:
    """Return the bigWig of each label that a head predicts of each base; None for a head of whole sequences.

    Raises:
        UsageError: the head and the file do not belong together.
    """
    fitted, about = load_head(Path(head))
    if about.pooling != PER_BASE:
        if bigwig is not None:
            raise UsageError("`bigwig` belongs to a head that says something of each base")
        return None
    assert isinstance(fitted, SequenceHead)
    if bigwig is None:
        if not fitted.classes:
            raise UsageError("this head predicts a number for each base; `bigwig` writes them")
        return []
    path, labels = Path(bigwig), fitted.classes
    if len(labels) < 2:
        return [path]
    safe = [re.sub(r"[^\w.+-]", "_", name) for name in labels]
    if len(set(safe)) < len(safe):
        raise UsageError("`bigwig`: two labels have the same name in files; rename one of them")
    return [path.with_name(f"{path.stem}.{name}{path.suffix}") for name in safe]
