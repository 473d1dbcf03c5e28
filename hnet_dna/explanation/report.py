"""Reads a genome with a model and its controls, and writes one table per statistic."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnet_dna.annotation.genes import Site, coding_sequences, derived_genes, directed_genes, sites
from hnet_dna.annotation.reader import Feature, classes_of
from hnet_dna.annotation.regions import Region
from hnet_dna.explanation import motifs, robustness
from hnet_dna.explanation.axis import Axis, Positions
from hnet_dna.explanation.bits import class_rows, overall, profile_rows
from hnet_dna.explanation.controls import Shifted, shifted
from hnet_dna.explanation.measures import (
    Agreement,
    ClassRates,
    CodonRates,
    Measure,
    Precision,
    Profiles,
    Recall,
    Values,
    codon_intervals,
    intervals_of,
    place_cuts,
    ratio,
    value,
)
from hnet_dna.explanation.reading import Found, Reading, read, reverse_boundaries, shuffled_pieces
from hnet_dna.files import write_beside
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.pieces import forward_pieces
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval, union

DISTANCES = (0, 1, 3, 10)
PROMOTER = 100  # bases before a gene
_EDGES = ("gene", "exon", "CDS")
_COUNTS = ("hits", "of", "value")
_SHIFTED = ("shifted", "shifted_low", "shifted_high", "over_shifted", "p")
_MODELS = ("untrained", "shuffled")
_RATES = ("bases", "boundaries", "rate", "low", "high", "rate_outside", "enrichment", "enrichment_low",
          "enrichment_high", *_SHIFTED, "untrained", "untrained_enrichment", "shuffled",
          "shuffled_enrichment")  # fmt: skip
_BITS = ("bases", "bits_per_base", "low", "high", "untrained", "untrained_difference")
_COLUMNS = {
    "chunks": ("stage", "length", "chunks", "share"),
    "classes": ("stage", "group", "class", *_RATES),
    "codons": ("stage", "strand", "codon_position", *_RATES),
    "profiles": ("stage", "site", "strand", "offset", *_COUNTS, *_SHIFTED, *_MODELS),
    "edges": ("stage", "feature", "measure", "distance", *_COUNTS, *_SHIFTED, *_MODELS),
    "strands": ("stage", "distance", *_COUNTS, *_SHIFTED),
    "kmers": ("stage", "rank", "kmer", "boundaries", "count", "log_odds", *_SHIFTED[:3], "p", "p_of_all", "untrained"),
    "logo": ("stage", "offset", "A", "C", "G", "T", "boundaries", "bits", "untrained"),
    "robustness": (
        "stage",
        "segmentation",
        "edit",
        "rate",
        "within",
        "edits",
        "borders",
        "boundaries",
        "kept",
        "low",
        "high",
        "kept_by_chance",
        "gained",
        "bits_per_base",
        "bits_clean",
        "bits_added",
        "bits_added_low",
        "bits_added_high",
    ),
    "bits": ("group", "class", *_BITS[:4], "difference", "difference_low", "difference_high", *_BITS[4:]),
    "bits_profiles": ("site", "strand", "offset", *_BITS[:4], "difference", *_BITS[4:]),
}
Row = tuple[Any, ...]


@dataclass
class Report:
    """Tables and what was read.

    Attributes:
        tables: rows by table, in the order of their columns.
        summary: in JSON's types.
    """

    tables: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in _COLUMNS})
    summary: dict[str, Any] = field(default_factory=dict)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return the rows of a table by column."""
        return [dict(zip(_COLUMNS[table], row, strict=True)) for row in self.tables[table]]

    def write(self, folder: Path) -> None:
        """Write <table>.tsv and summary.json into a folder."""
        for name, rows in self.tables.items():
            with write_beside(folder / f"{name}.tsv") as temporary, temporary.open("w") as file:
                file.write("\t".join(_COLUMNS[name]) + "\n")
                file.writelines("\t".join(map(_cell, row)) + "\n" for row in rows)
        with write_beside(folder / "summary.json") as temporary:
            temporary.write_text(json.dumps(self.summary, indent=2) + "\n")


def explain(
    model: HNetLM,
    untrained: HNetLM,
    genome: Genome,
    reading: Reading,
    features: Sequence[Feature],
    repeats: Sequence[Region] = (),
    *,
    shifts: int = 200,
    seed: int = 0,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
) -> Report:
    """Measure where a model's boundaries lie, beside those of controls.

    Args:
        model: with at least one chunking stage.
        untrained: of the same shape.
        genome: what both read.
        reading: which part of it.
        features: lines of its annotation.
        repeats: regions by name.
        shifts: random circular shifts, from which expected values and p come.
        seed: of shifts and shuffled sequence.
        on_progress: called with what is being done and the share of it done.
    """
    axis = Axis(reading.stretches(genome))
    found = _Read(model, untrained, genome, reading, axis, seed, on_progress)
    codes = axis.codes(genome)
    derived = derived_genes(features)
    features = [*features, *derived]
    codings, left_out = coding_sequences(features)
    places = sites(features, codings)
    intervals = _classes(axis, codes, genome, features, repeats)
    classes, words = ClassRates(axis, intervals), motifs.Words(axis, codes)
    codons, profiles = CodonRates(axis, codings), Profiles(axis, places)
    edges = _edges(axis, features, places)
    precision, recall = Precision(axis, edges, DISTANCES), Recall(edges, DISTANCES)
    report = Report()
    stages = []
    for stage, positions in enumerate(found.model.boundaries):
        agreement = Agreement(axis, found.reverse[stage], DISTANCES)
        measures: tuple[Measure, ...] = (classes, codons, profiles, precision, recall, agreement)
        statistics: list[Callable[[Positions], Values]] = [partial(value, measure) for measure in measures]
        statistics.append(words.log_odds)
        told = f"shifting boundaries of stage {stage}"
        by_chance = shifted(axis, positions, statistics, shifts, seed, partial(_tell, on_progress, told, shifts))
        row = _Rows(stage, positions, found.untrained.boundaries[stage], found.shuffled.boundaries[stage])
        tables = report.tables
        _add_rates(tables, row, classes, codons, by_chance)
        tables["profiles"] += row.of(profiles, by_chance[2])
        tables["edges"] += row.of(precision, by_chance[3]) + row.of(recall, by_chance[4])
        tables["strands"] += [full[: -len(_MODELS)] for full in row.of(agreement, by_chance[5])]
        lengths = chunk_lengths(axis, positions)
        kinds, counts = np.unique(lengths, return_counts=True)
        tables["chunks"] += [
            (stage, length, count, count / len(lengths))
            for length, count in zip(kinds.tolist(), counts.tolist(), strict=True)
        ]
        tables["kmers"] += _kmers(words, row, by_chance[6])
        tables["logo"] += _logo(stage, *(motifs.logo(axis, codes, at) for at in (positions, row.untrained)))
        stages.append(
            {
                "stage": stage,
                "boundaries": len(positions),
                "bases_per_chunk": _over(axis.bases, len(positions)),
                "chunk_length_quantiles": _quantiles(lengths),
                "bases_per_chunk_untrained": _over(axis.bases, len(row.untrained)),
                "bases_per_chunk_shuffled": _over(axis.bases, len(row.shuffled)),
            }
        )
    spent, theirs = found.model.bits, found.untrained.bits
    report.tables["bits"] = class_rows(axis, spent, theirs, {**intervals, **codon_intervals(axis, codings)})
    report.tables["bits_profiles"] = profile_rows(axis, spent, theirs, profiles)
    report.tables["robustness"], edited = _robustness(model, untrained, genome, axis, found.model, seed, on_progress)
    report.summary = {
        "read": {
            "rule": reading.rule,
            "bases": axis.bases + len(axis.stretches),
            "bases_that_count": axis.bases,
            "stretches": len(axis.stretches),
            "intervals": [asdict(interval) for interval in reading.intervals],
        },
        "shifts": shifts,
        "seed": seed,
        "promoter_bases": PROMOTER,
        "genes": {"lines": sum(f.kind == "gene" for f in features) - len(derived), "derived": len(derived)},
        "coding_sequences": {"complete": len(codings), "left_out": left_out},
        "sites": {name: len(found) for name, found in places.items()},
        "edges_read": {name: len(found) for name, found in edges.items()},
        "bits_per_base": {
            "model": overall(axis, spent),
            "untrained": overall(axis, theirs),
            "shuffled": overall(axis, found.shuffled.bits),
        },
        "robustness": edited,
        "stages": stages,
    }
    return report


def chunk_lengths(axis: Axis, positions: Positions) -> Positions:
    """Return bases from each boundary to the next one of its stretch.

    What lies before the first and after the last boundary of a stretch is no whole chunk.
    """
    stretch = np.searchsorted(axis.offset, positions, side="right")
    lengths: Positions = np.diff(positions)[np.diff(stretch) == 0]
    return lengths


class _Read:
    """What the model, the untrained one, and the model on shuffled sequence make; boundaries of the other strand."""

    def __init__(
        self,
        model: HNetLM,
        untrained: HNetLM,
        genome: Genome,
        reading: Reading,
        axis: Axis,
        seed: int,
        on_progress: Callable[[str, float], None],
    ) -> None:
        total = sum(map(len, reading.intervals))

        def progress(what: str) -> Callable[[int], None]:
            done = 0

            def add(bases: int) -> None:
                nonlocal done
                done += bases
                on_progress(what, done / total)

            return add

        pieces = forward_pieces(genome, reading.intervals)
        self.model = read(model, pieces, axis, progress("reading"))
        pieces = forward_pieces(genome, reading.intervals)
        self.untrained = read(untrained, pieces, axis, progress("reading by an untrained model"))
        pieces = shuffled_pieces(genome, axis.stretches, seed)
        self.shuffled = read(model, pieces, axis, progress("reading shuffled sequence"))
        on_progress("reading the other strand", 0.0)
        self.reverse = reverse_boundaries(model, genome, reading.intervals, axis)


@dataclass(frozen=True)
class _Rows:
    """Fills the rows of a stage from the boundaries of the model and of both other readings."""

    stage: int
    positions: Positions
    untrained: Positions
    shuffled: Positions

    def of(self, measure: Measure, by_chance: Shifted) -> list[Row]:
        hits, trials = measure.hits(self.positions), measure.trials(self.positions)
        columns = [hits, trials, ratio(hits, trials), *self.by_chance(measure, by_chance)]
        columns += [value(measure, self.untrained), value(measure, self.shuffled)]
        return [
            (self.stage, *name, *cells)
            for name, *cells in zip(measure.rows, *(c.tolist() for c in columns), strict=True)
        ]

    def by_chance(self, measure: Measure, found: Shifted) -> list[Values]:
        over = ratio(value(measure, self.positions), found.mean)
        return [found.mean, found.low, found.high, over, found.p]


def _add_rates(
    tables: dict[str, list[Row]], row: _Rows, classes: ClassRates, codons: CodonRates, by_chance: list[Shifted]
) -> None:
    """Fill classes and codons, which share their columns; enrichment is over the rate of all bases."""
    hits, trials = (
        np.concatenate(pair, axis=1)
        for pair in zip(classes.by_block(row.positions), codons.by_block(row.positions), strict=True)
    )
    of_rate, of_enrichment = intervals_of(hits, trials)
    at = 0
    for table, measure, found in (("classes", classes, by_chance[0]), ("codons", codons, by_chance[1])):
        here = slice(at, at + len(measure.rows))
        at = here.stop
        total = len(row.positions)
        count, bases = measure.hits(row.positions), measure.trials(row.positions)
        whole = int(classes.trials(row.positions)[0])
        columns: list[NDArray[Any]] = [bases, count, ratio(count, bases), *of_rate[:, here]]
        columns += [ratio(total - count, whole - bases), ratio(count, bases) / _nan_over(total, whole)]
        columns += [*of_enrichment[:, here], *row.by_chance(measure, found)]
        for other in (row.untrained, row.shuffled):
            rates = value(measure, other)
            columns += [rates, rates / _nan_over(len(other), whole)]
        tables[table] += [
            (row.stage, *name, *cells)
            for name, *cells in zip(measure.rows, *(c.tolist() for c in columns), strict=True)
        ]


def _robustness(
    model: HNetLM,
    untrained: HNetLM,
    genome: Genome,
    axis: Axis,
    found: Found,
    seed: int,
    on_progress: Callable[[str, float], None],
) -> tuple[list[Row], dict[str, Any]]:
    """Read samples with edits, and say what was sampled."""
    kmers = [round(axis.bases / len(positions)) if len(positions) else axis.bases for positions in found.boundaries]
    windows = robustness.sample(genome, axis.stretches, robustness.WINDOW, robustness.WINDOWS, seed)
    singles = robustness.sample(genome, axis.stretches, robustness.SINGLE_WINDOW, robustness.SINGLES, seed)
    rows = robustness.rows(
        {
            "model": robustness.model_segmentation(model),
            "untrained": robustness.model_segmentation(untrained),
            "k-mers": robustness.kmer_segmentation(kmers),
        },
        len(kmers),
        windows,
        singles,
        seed,
        partial(on_progress, "reading edited sequence"),
    )
    sampled = {"windows": len(windows), "window_bases": sum(map(len, windows))}
    return rows, {**sampled, "singles": len(singles), "single_bases": sum(map(len, singles)), "kmer_lengths": kmers}


def _logo(stage: int, found: motifs.Logo, untrained: motifs.Logo) -> list[Row]:
    shares = ratio(found.count, found.count.sum(axis=1, keepdims=True))
    columns = [found.offset, *shares.T, found.count.sum(axis=1), found.bits, untrained.bits]
    return [(stage, *cells) for cells in zip(*(column.tolist() for column in columns), strict=True)]


def _kmers(words: motifs.Words, row: _Rows, by_chance: Shifted) -> list[Row]:
    columns = [by_chance.mean, by_chance.low, by_chance.high, by_chance.p, by_chance.p_of_all]
    columns.append(words.log_odds(row.untrained))
    return [
        (row.stage, w.rank, w.text, w.boundaries, w.count, w.log_odds, *(float(column[w.row]) for column in columns))
        for w in words.listed(row.positions)
    ]


def _classes(
    axis: Axis, codes: NDArray[np.uint8], genome: Genome, features: Sequence[Feature], repeats: Iterable[Region]
) -> dict[tuple[str, str], Positions]:
    """Return all classes by group and name, as intervals on the axis."""
    found: dict[tuple[str, str], Positions] = {}
    for name, intervals in classes_of(features, genome).items():
        found["annotation", name] = axis.clip(intervals)
    if windows := promoters(features, genome):
        found["annotation", "promoter window"] = axis.clip(windows)
    found["soft-mask", "soft-masked"] = motifs.soft_masked(axis, codes)
    found["sequence", "homopolymer"] = motifs.homopolymers(axis, codes)
    found["sequence", "microsatellite"] = motifs.microsatellites(axis, codes)
    found["sequence", "tandem repeat"] = motifs.tandem_repeats(axis, codes)
    by_name: dict[str, list[Interval]] = {}
    for region in repeats:
        by_name.setdefault(region.name or "unnamed", []).append(region.interval)
    for name in sorted(by_name):
        found["repeats", name] = axis.clip(union(by_name[name]))
    return found


def promoters(features: Iterable[Feature], genome: Genome) -> list[Interval]:
    """Return the `PROMOTER` bases before each gene in its direction, disjoint; they may lie in other genes."""
    windows = []
    for feature in directed_genes(features):
        gene = feature.interval
        if feature.strand == "+":
            windows.append(Interval(gene.contig, max(gene.start - PROMOTER, 0), gene.start))
        else:
            length = genome[gene.contig].length
            windows.append(Interval(gene.contig, gene.end, min(gene.end + PROMOTER, length)))
    return union(windows)


def _edges(axis: Axis, features: Sequence[Feature], places: Mapping[str, Sequence[Site]]) -> dict[str, Positions]:
    """Return borders by kind, as places of the base after each border."""
    found = {}
    for kind in _EDGES:
        lines = [feature.interval for feature in features if feature.kind == kind]
        if lines:
            found[kind] = place_cuts(axis, ((i.contig, cut) for i in lines for cut in (i.start, i.end)))
    for name, known in places.items():
        found[name] = place_cuts(axis, ((site.contig, site.cut) for site in known))
    return found


def _tell(on_progress: Callable[[str, float], None], what: str, whole: int, done: int) -> None:
    on_progress(what, done / whole)


def _over(bases: int, chunks: int) -> float | None:
    return bases / chunks if chunks else None


def _nan_over(part: int, whole: int) -> float:
    return part / whole if part else math.nan


def _quantiles(lengths: Positions) -> dict[str, float]:
    """Return quantiles of chunk lengths, in bases."""
    shares = (0.05, 0.25, 0.5, 0.75, 0.95)
    return {f"{q:g}": float(np.quantile(lengths, q)) for q in shares} if len(lengths) else {}


def _cell(content: Any) -> str:
    if isinstance(content, float):
        return "NA" if math.isnan(content) else f"{content:.6g}"
    return str(content)
