"""Evaluates a model on a genome: what is held out, what the model was trained on, and the comparison."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from hnet_dna.annotation.reader import read_annotation
from hnet_dna.data.run_record import split_of_run
from hnet_dna.data.split import split_genome
from hnet_dna.errors import SequenceError
from hnet_dna.evaluation.compare import Comparison, HeldOut, compare
from hnet_dna.genome.genome import known_bases
from hnet_dna.genome.open import GenomeLike, open_genome
from hnet_dna.inference.load import load_model
from hnet_dna.inference.stream import log_windows
from hnet_dna.model.lm import HNetLM
from hnet_dna.progress import OnProgress, ignore
from hnet_dna.sequence.interval import Interval, intersection

_log = logging.getLogger(__name__)
_SHOWN = 5


def evaluate(
    genome: GenomeLike,
    model: str | Path | HNetLM,
    *,
    held_out: Sequence[str] = (),
    split: str = "",
    regions: str = "",
    annotation: str | Path | None = None,
    streams: int | None = None,
    on_start: Callable[[int, str], None] = lambda bases, rule: None,
    on_progress: OnProgress = ignore,
) -> Comparison:
    """Measure bits per base on held-out bases, beside uniform and Markov models counted on the rest of the genome.

    Args:
        genome: anything that `open_genome` takes.
        model: anything that `load_model` takes. A run on this genome is evaluated on what the run held out, any other
            model on what `pretrain` holds out by default, unless one of the next three is given.
        held_out: contigs to evaluate on.
        split: a BED file whose fourth column is train, valid or test; or a share to hold out, such as 0.1.
        regions: a BED file; only its regions are used.
        annotation: GFF3, GTF, GenBank, or BED with a class in column 4; the comparison has these classes too.
        streams: held-out intervals that are run side by side, at most; what suits the model's device where None.
        on_start: called before any base is read, with the number of held-out bases and how they were chosen.
        on_progress: called with a `Progress` as the work goes on.

    Raises:
        SequenceError: nothing is held out, or a file cannot be used.

    Example:
        >>> from hnet_dna import evaluate
        >>> comparison = evaluate({"chr1": "ACGTTGCA" * 40}, "five-genomes", split="0.5")
        >>> comparison.whole.bases
        160
    """
    opened, loaded = open_genome(genome), load_model(model)
    log_windows(loaded)
    trained = split_of_run(opened, loaded.folder) if loaded.folder is not None else None
    parts = split_genome(opened, tuple(held_out), split, regions, trained)
    seen = sum(map(len, intersection(parts.held_out, trained.train))) if trained else None
    if not parts.train:
        _log.warning(
            "%s was held out whole: there is nothing to count words in, so that the Markov models know nothing",
            opened.source,
        )
    classes = None
    if annotation is not None:
        classes = read_annotation(Path(annotation), opened)
        _note_bare_contigs(Path(annotation), classes, parts.held_out)
    on_start(known_bases(opened, parts.held_out), parts.rule)
    comparison = compare(loaded, [HeldOut(opened, parts)], annotation=classes, streams=streams, on_progress=on_progress)
    if comparison is None:
        raise SequenceError(f"{opened.source}: nothing to evaluate on: no base is held out")
    return replace(comparison, trained_on=seen)


def _note_bare_contigs(path: Path, classes: dict[str, list[Interval]], held_out: Sequence[Interval]) -> None:
    annotated = {interval.contig for intervals in classes.values() for interval in intervals}
    if bare := sorted({interval.contig for interval in held_out} - annotated):
        named = ", ".join(bare[:_SHOWN]) + (f" and {len(bare) - _SHOWN} more" if len(bare) > _SHOWN else "")
        _log.info("%s has no line on %s; the bases there are in none of its classes", path.name, named)
