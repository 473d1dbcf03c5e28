"""Where a run folder keeps what, and what its run.json says of the data: which genomes, and which parts did what.

Training writes it; whoever judges a model reads it.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hnet_dna.data.genome_mix import GenomeMix, MixEntry
from hnet_dna.data.mixture import Mixture
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


def describe_data(mixture: Mixture) -> dict[str, Any]:
    """Return what run.json holds of the genomes and their splits."""
    if mixture.plain:
        return _describe(mixture, 0)
    genomes = [
        {"name": part.name, "asked": part.entry.asked, "share": part.share, "repeat_weight": part.repeat_weight}
        | _describe(mixture, number)
        for number, part in enumerate(mixture.parts)
    ]
    return {"size_power": mixture.size_power, "genomes": genomes}


def _describe(mixture: Mixture, number: int) -> dict[str, Any]:
    genome, split = mixture.parts[number].genome, mixture.parts[number].split
    return {
        "genome": genome.source.name if genome.streamed else str(genome.source.resolve()),
        "streamed": genome.streamed,
        "aliases": genome.aliases,
        "contigs": _contigs(genome),
        "split_rule": split.rule,
        "split": {name: [asdict(interval) for interval in getattr(split, name)] for name in PARTS},
        "bases": base_counts(genome, split),
        "chunk_lengths": _digest(mixture, number),
    }


def _digest(mixture: Mixture, number: int) -> str | None:
    return None if mixture.chunk_lengths is None else mixture.chunk_lengths.digest(number)


def genomes_in(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a run's data say of each genome; of the one genome of a plain run, without a name."""
    return list(data["genomes"]) if "genomes" in data else [dict(data)]


def genomes_of_run(run: Path) -> list[str]:
    """Return the paths of the genomes that a run reads; without those that came through a pipe or from memory."""
    data = json.loads((run / RUN_FILE).read_text())["data"]
    return [record["genome"] for record in genomes_in(data) if not record.get("streamed")]


def mix_in(data: Mapping[str, Any]) -> GenomeMix:
    """Return the mix that a run's data describe.

    Raises:
        UsageError: a genome came through a pipe or from memory, which leaves nothing to read again.
    """
    if gone := [record.get("name", "the genome of this run") for record in genomes_in(data) if record.get("streamed")]:
        raise UsageError(
            f"{', '.join(gone)} came through a pipe or from memory, which leaves nothing to read again; give the same "
            "sequences as `genome`"
        )
    if "genomes" not in data:
        return GenomeMix((MixEntry(data["genome"], aliases=data.get("aliases", False)),), plain=True)
    return GenomeMix(
        tuple(MixEntry(record["genome"], **record["asked"]) for record in data["genomes"]), data["size_power"]
    )


def split_of_run(genome: Genome, model: Path) -> Split | None:
    """Return how the run that a model's folder belongs to split this genome; None if it is not a run on this genome."""
    run = find_run(model)
    if run is None:
        return None
    path, own = run / RUN_FILE, _contigs(genome)
    try:
        described = genomes_in(json.loads(path.read_text())["data"])
        splits = [
            Split(**{part: _intervals(record["split"][part]) for part in PARTS}, rule=record["split_rule"])
            for record in described
            if record["contigs"] == own
        ]
        contigs = [(name, contig) for record in described for name, contig in record["contigs"].items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SequenceError(f"{path} does not say what the run held out ({error!r}); is it damaged?") from None
    if splits:
        return splits[0]
    _tell_of_shared(genome, contigs, run)
    return None


def refuse_other_data(mixture: Mixture, data: Mapping[str, Any]) -> None:
    """Refuse to go on with other genomes, other parts of them or other shares than those that a run's data describe."""
    described = genomes_in(data)
    now, then = [part.name for part in mixture.parts], [record.get("name") for record in described]
    if mixture.plain != ("genomes" not in data) or (now != then and not mixture.plain):
        raise UsageError(
            f"`resume`: the run began with {_listed(then, data)}; got {', '.join(now)}. Leave `genome` out, or give "
            "the same ones in the same order"
        )
    for number, (part, record) in enumerate(zip(mixture.parts, described, strict=True)):
        if _contigs(part.genome) != record["contigs"]:
            raise UsageError(
                f"`resume`: {part.genome.source} is not the genome of this run ({record['genome']}); give it again"
            )
        of = "" if mixture.plain else f" of {part.name}"
        for name, intervals in record["split"].items():
            if list(getattr(part.split, name)) != list(_intervals(intervals)):
                raise UsageError(
                    f"`resume`: the {name} part{of} is no longer what this run began with; are `split` and `regions` "
                    "files unchanged?"
                )
        if _digest(mixture, number) != record.get("chunk_lengths"):
            raise UsageError(f"`resume`: `chunk_lengths`{of} is no longer the file that this run began with")
        for field in ("share", "repeat_weight"):
            before = record.get(field, getattr(part, field))
            if not math.isclose(getattr(part, field), before, rel_tol=1e-9):
                raise UsageError(
                    f"`resume`: {field}{of} decides what the run is and stays as it began, {before:g}; asked for "
                    f"{getattr(part, field):g}"
                )


def _listed(names: Sequence[str | None], data: Mapping[str, Any]) -> str:
    return ", ".join(name or str(data["genome"]) for name in names)


def _intervals(records: Iterable[Mapping[str, Any]]) -> tuple[Interval, ...]:
    return tuple(Interval(i["contig"], i["start"], i["end"]) for i in records)


def _contigs(genome: Genome) -> dict[str, dict[str, Any]]:
    return {contig.name: {"length": contig.length, "md5": contig.md5} for contig in genome.contigs}


def _tell_of_shared(genome: Genome, contigs: Sequence[tuple[str, Mapping[str, Any]]], run: Path) -> None:
    """Log what a genome has in common with those that a run was trained on."""
    checksums = {record["md5"] for _, record in contigs}
    lengths = {(name, record["length"]) for name, record in contigs}
    by_bases = sum(contig.md5 in checksums for contig in genome.contigs)
    by_name = sum((c.name, c.length) in lengths and c.md5 not in checksums for c in genome.contigs)
    if by_bases or by_name:
        _log.warning(
            "%s is not the genome of the run %s, but shares contigs with it: of %s, %s with the same bases and %s with "
            "the same name and length; the model may have been trained on what it is evaluated on here",
            genome.source,
            run,
            f"{len(genome.contigs):,}",
            f"{by_bases:,}",
            f"{by_name:,} more",
        )
