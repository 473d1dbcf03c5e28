"""Where a run folder keeps what, and what its run.json says of the data: which genome, and which part did what.

Training writes it; whoever judges a model reads it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hnet_dna.data.split import PARTS, Split, base_counts
from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.genome.genome import Genome
from hnet_dna.sequence.interval import Interval

RUN_FILE = "run.json"
BEST_FOLDER = "best"  # the best model
CHECKPOINTS_FOLDER = "checkpoints"  # a folder for each
_log = logging.getLogger(__name__)


def find_run(model: Path) -> Path | None:
    """Return the run that a model's folder is, or whose best model or checkpoint it is; None where it is of none."""
    here = model.resolve()
    places = [here]
    if here.name == BEST_FOLDER:
        places.append(here.parent)
    elif here.parent.name == CHECKPOINTS_FOLDER:
        places.append(here.parent.parent)
    return next((place for place in places if (place / RUN_FILE).is_file()), None)


def describe_data(genome: Genome, split: Split) -> dict[str, Any]:
    """Return what run.json holds of a genome and its split."""
    return {
        "genome": genome.source.name if genome.streamed else str(genome.source.resolve()),
        "streamed": genome.streamed,
        "contigs": _contigs(genome),
        "split_rule": split.rule,
        "split": {part: [asdict(interval) for interval in getattr(split, part)] for part in PARTS},
        "bases": base_counts(genome, split),
    }


def split_of_run(genome: Genome, model: Path) -> Split | None:
    """Return how the run that a model's folder belongs to split this genome; None if it is no run on this genome."""
    run = find_run(model)
    if run is None:
        return None
    path = run / RUN_FILE
    try:
        data = json.loads(path.read_text())["data"]
        parts = {
            name: tuple(Interval(i["contig"], i["start"], i["end"]) for i in data["split"][name]) for name in PARTS
        }
        contigs, rule = data["contigs"], data["split_rule"]
    except (ValueError, KeyError, TypeError) as error:
        raise SequenceError(f"{path} does not say what the run held out ({error!r}); is it damaged?") from None
    if contigs != _contigs(genome):
        _tell_of_shared(genome, contigs, path)
        return None
    return Split(**parts, rule=rule)


def refuse_other_genome(genome: Genome, data: Mapping[str, Any]) -> None:
    """Refuse to go on with another genome than the one that a run's data describe."""
    if _contigs(genome) != data["contigs"]:
        raise UsageError(f"`resume`: {genome.source} is not the genome of this run ({data['genome']}); give it again")


def refuse_other_split(split: Split, data: Mapping[str, Any]) -> None:
    """Refuse to go on with another split than the one that a run's data describe."""
    for part, intervals in data["split"].items():
        if [asdict(interval) for interval in getattr(split, part)] != intervals:
            raise UsageError(
                f"`resume`: the {part} part is no longer what this run began with; are `split` and `regions` files "
                "unchanged?"
            )


def _contigs(genome: Genome) -> dict[str, dict[str, Any]]:
    return {contig.name: {"length": contig.length, "md5": contig.md5} for contig in genome.contigs}


def _tell_of_shared(genome: Genome, contigs: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Log what a genome has in common with another one that a run was trained on."""
    checksums = {told["md5"] for told in contigs.values()}
    lengths = {(name, told["length"]) for name, told in contigs.items()}
    by_bases = sum(contig.md5 in checksums for contig in genome.contigs)
    by_name = sum((c.name, c.length) in lengths and c.md5 not in checksums for c in genome.contigs)
    if by_bases or by_name:
        _log.warning(
            "%s is not the genome of the run %s, but shares contigs with it: of %s, %s with the same bases and %s with "
            "the same name and length; the model may have been trained on what it is judged on here",
            genome.source,
            path.parent,
            f"{len(genome.contigs):,}",
            f"{by_bases:,}",
            f"{by_name:,} more",
        )
