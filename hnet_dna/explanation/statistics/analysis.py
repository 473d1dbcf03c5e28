"""Measures a model's boundaries and bits beside controls: all tables of a report, and its summary."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hnet_dna.annotation.genes import Site, coding_sequences, derived_genes, directed_genes, sites
from hnet_dna.annotation.reader import Feature, classes_of
from hnet_dna.annotation.regions import Region
from hnet_dna.explanation.statistics import motifs, robustness
from hnet_dna.explanation.statistics.axis import Axis, Positions
from hnet_dna.explanation.statistics.bits import class_rows, overall, profile_rows
from hnet_dna.explanation.statistics.columns import NOT_JUDGED, TABLES
from hnet_dna.explanation.statistics.controls import Shifted, shifted
from hnet_dna.explanation.statistics.measures import (
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
    rows_of,
    value,
)
from hnet_dna.explanation.statistics.reading import (
    Reading,
    Selection,
    read,
    reverse_boundaries,
    shuffled_pieces,
)
from hnet_dna.explanation.statistics.tables import Table, table_of
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.pieces import forward_pieces
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval, union

DISTANCES = (0, 1, 3, 10)  # bases between a boundary and an edge
PROMOTER = 100  # bases before a gene
_EDGES = ("gene", "exon", "CDS")
Row: TypeAlias = tuple[Any, ...]
OnPart: TypeAlias = Callable[[str, float], None]


def analyse(
    model: HNetLM,
    untrained: HNetLM,
    genome: Genome,
    selection: Selection,
    features: Sequence[Feature],
    repeats: Sequence[Region] = (),
    *,
    shifts: int = 200,
    seed: int = 0,
    on_progress: OnPart = lambda what, share: None,
) -> tuple[dict[str, Table], dict[str, Any]]:
    """Measure where a model's boundaries lie, beside those of controls.

    Args:
        model: with at least one chunking stage.
        untrained: of the same shape.
        genome: that both read.
        selection: the part of it to read.
        features: lines of its annotation.
        repeats: regions by name.
        shifts: number of random circular shifts, which give expected values and p.
        seed: of the shifts, the shuffled sequence and the edits.
        on_progress: called with the part of the work that is being done and the share of it that is done.

    Returns:
        All tables by name, and a summary of JSON's types.
    """
    axis = Axis(selection.stretches(genome))
    readings = _read_all(model, untrained, genome, selection, axis, seed, on_progress)
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
    rows: dict[str, list[Row]] = {name: [] for name in TABLES}
    stages = []
    for stage, positions in enumerate(readings.model.boundaries):
        agreement = Agreement(axis, readings.reverse[stage], DISTANCES)
        measures: tuple[Measure, ...] = (classes, codons, profiles, precision, recall, agreement)
        statistics: list[Callable[[Positions], Values]] = [partial(value, measure) for measure in measures]
        statistics.append(words.log_odds)
        progress = partial(_of_shifts, on_progress, f"shifting boundaries of stage {stage}", shifts)
        by_chance = shifted(axis, positions, statistics, shifts, seed, progress)
        here = _Stage(stage, positions, readings.untrained.boundaries[stage], readings.shuffled.boundaries[stage])
        class_rates, codon_rates = _rate_rows(here, classes, codons, by_chance)
        rows["classes"] += class_rates
        rows["codons"] += codon_rates
        rows["profiles"] += here.rows(profiles, by_chance[2])
        rows["edges"] += here.rows(precision, by_chance[3]) + here.rows(recall, by_chance[4])
        # The same shape of row without both other readings, whose reverse strands were not read.
        rows["strands"] += [row[:-2] for row in here.rows(agreement, by_chance[5])]
        lengths = chunk_lengths(axis, positions)
        kinds, counts = np.unique(lengths, return_counts=True)
        rows["chunks"] += rows_of([(stage,)] * len(kinds), (kinds, counts, counts / max(len(lengths), 1)))
        rows["kmers"] += _word_rows(words, here, by_chance[6])
        rows["logo"] += _logo_rows(stage, *(motifs.logo(axis, codes, at) for at in (positions, here.untrained)))
        stages.append(
            {
                "stage": stage,
                "boundaries": len(positions),
                "bases_per_chunk": _bases_per_chunk(axis, positions),
                "chunk_length_quantiles": _quantiles(lengths),
                "bases_per_chunk_untrained": _bases_per_chunk(axis, here.untrained),
                "bases_per_chunk_shuffled": _bases_per_chunk(axis, here.shuffled),
            }
        )
    bits, untrained_bits = readings.model.bits, readings.untrained.bits
    rows["bits"] = class_rows(axis, bits, untrained_bits, {**intervals, **codon_intervals(axis, codings)})
    rows["bits_profiles"] = profile_rows(axis, bits, untrained_bits, profiles)
    count = robustness.counts(selection.bases)
    rows["robustness"], edited = _robustness(model, untrained, genome, axis, readings.model, count, seed, on_progress)
    summary = {
        "read": {
            "rule": selection.rule,
            "bases": axis.bases + len(axis.stretches),
            "bases_that_count": axis.bases,
            "stretches": len(axis.stretches),
            "intervals": [asdict(interval) for interval in selection.intervals],
        },
        "shifts": shifts,
        "seed": seed,
        "promoter_bases": PROMOTER,
        "genes": {"lines": sum(f.kind == "gene" for f in features) - len(derived), "derived": len(derived)},
        "coding_sequences": {"complete": len(codings), "left_out": left_out},
        "sites": {name: len(listed) for name, listed in places.items()},
        "edges_read": {name: len(listed) for name, listed in edges.items()},
        "bits_per_base": {
            "model": overall(axis, bits),
            "untrained": overall(axis, untrained_bits),
            "shuffled": overall(axis, readings.shuffled.bits),
        },
        "robustness": edited,
        "stages": stages,
    }
    return {name: table_of(name, lines) for name, lines in rows.items()}, summary


def chunk_lengths(axis: Axis, positions: Positions) -> Positions:
    """Return bases from each boundary to the next one of its stretch.

    What lies before the first and after the last boundary of a stretch is not a whole chunk.
    """
    stretch = np.searchsorted(axis.offset, positions, side="right")
    lengths: Positions = np.diff(positions)[np.diff(stretch) == 0]
    return lengths


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


@dataclass(frozen=True)
class _Readings:
    """The forward readings of the model, of the untrained one, and of the model on shuffled sequence.

    Attributes:
        reverse: boundaries of the model's reading of the other strand, by stage.
    """

    model: Reading
    untrained: Reading
    shuffled: Reading
    reverse: list[Positions]


def _read_all(
    model: HNetLM,
    untrained: HNetLM,
    genome: Genome,
    selection: Selection,
    axis: Axis,
    seed: int,
    on_progress: OnPart,
) -> _Readings:
    total = sum(map(len, selection.intervals))

    def progress(what: str) -> Callable[[int], None]:
        done = 0

        def add(bases: int) -> None:
            nonlocal done
            done += bases
            on_progress(what, done / total)

        return add

    forward = partial(forward_pieces, genome, selection.intervals)
    of_model = read(model, forward(), axis, progress("reading"))
    of_untrained = read(untrained, forward(), axis, progress("reading by an untrained model"))
    pieces = shuffled_pieces(genome, axis.stretches, seed)
    of_shuffled = read(model, pieces, axis, progress("reading shuffled sequence"))
    on_progress("reading the other strand", 0.0)
    return _Readings(of_model, of_untrained, of_shuffled, reverse_boundaries(model, genome, selection.intervals, axis))


@dataclass(frozen=True)
class _Stage:
    """The boundaries of one stage, in the readings of the model, the untrained model and shuffled sequence."""

    number: int
    positions: Positions
    untrained: Positions
    shuffled: Positions

    def rows(self, measure: Measure, by_chance: Shifted) -> list[Row]:
        """Return a row for each one of the measure: counts, value, shifts and both other readings."""
        hits, trials = measure.hits(self.positions), measure.trials(self.positions)
        columns = [hits, trials, ratio(hits, trials), *self.beside_shifts(measure, by_chance)]
        return self.named(measure, [*columns, value(measure, self.untrained), value(measure, self.shuffled)])

    def beside_shifts(self, measure: Measure, by_chance: Shifted) -> list[Values]:
        """Return the columns of `columns._shifted`, `over_shifted` and `p`."""
        over = ratio(value(measure, self.positions), by_chance.mean)
        return [by_chance.mean, by_chance.low, by_chance.high, over, by_chance.p]

    def named(self, measure: Measure, columns: Sequence[NDArray[Any]]) -> list[Row]:
        """Return rows that begin with the stage and the measure's own names of its rows."""
        return rows_of([(self.number, *name) for name in measure.rows], columns)


def _rate_rows(
    stage: _Stage, classes: ClassRates, codons: CodonRates, by_chance: Sequence[Shifted]
) -> tuple[list[Row], list[Row]]:
    """Return the rows of `classes` and `codons`, whose intervals come from the same resamples."""
    hits, trials = (
        np.concatenate(pair, axis=1)
        for pair in zip(classes.by_block(stage.positions), codons.by_block(stage.positions), strict=True)
    )
    of_rate, of_enrichment = intervals_of(hits, trials)
    all_bases, all_boundaries = int(classes.trials(stage.positions)[0]), len(stage.positions)
    measures: tuple[Measure, ...] = (classes, codons)
    rows, first = [], 0
    for measure, chance in zip(measures, by_chance, strict=False):
        here = slice(first, first + len(measure.rows))
        first = here.stop
        count, bases = measure.hits(stage.positions), measure.trials(stage.positions)
        rate = ratio(count, bases)
        columns: list[NDArray[Any]] = [bases, count, rate, *of_rate[:, here]]
        columns += [ratio(all_boundaries - count, all_bases - bases), rate / _rate(all_boundaries, all_bases)]
        columns += [*of_enrichment[:, here], *stage.beside_shifts(measure, chance)]
        for other in (stage.untrained, stage.shuffled):
            rates = value(measure, other)
            columns += [rates, rates / _rate(len(other), all_bases)]
        columns.append(np.full(len(measure.rows), NOT_JUDGED))  # until all rows are known, see `with_verdicts`
        rows.append(stage.named(measure, columns))
    return rows[0], rows[1]


def _robustness(
    model: HNetLM,
    untrained: HNetLM,
    genome: Genome,
    axis: Axis,
    reading: Reading,
    count: tuple[int, int],
    seed: int,
    on_progress: OnPart,
) -> tuple[list[Row], dict[str, Any]]:
    """Read samples with edits; return the rows, and how much was sampled."""
    kmers = [round(axis.bases / len(positions)) if len(positions) else axis.bases for positions in reading.boundaries]
    windows = robustness.sample(genome, axis.stretches, robustness.WINDOW, count[0], seed)
    singles = robustness.sample(genome, axis.stretches, robustness.SINGLE_WINDOW, count[1], seed)
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


def _logo_rows(stage: int, logo: motifs.Logo, untrained: motifs.Logo) -> list[Row]:
    shares = ratio(logo.count, logo.count.sum(axis=1, keepdims=True))
    columns = (logo.offset, *shares.T, logo.count.sum(axis=1), logo.bits, untrained.bits)
    return rows_of([(stage,)] * len(logo.offset), columns)


def _word_rows(words: motifs.Words, stage: _Stage, by_chance: Shifted) -> list[Row]:
    columns = [by_chance.mean, by_chance.low, by_chance.high, by_chance.p, by_chance.p_of_all]
    columns.append(words.log_odds(stage.untrained))
    return [
        (stage.number, w.rank, w.text, w.boundaries, w.count, w.log_odds, *(float(column[w.row]) for column in columns))
        for w in words.listed(stage.positions)
    ]


def _classes(
    axis: Axis, codes: NDArray[np.uint8], genome: Genome, features: Sequence[Feature], repeats: Iterable[Region]
) -> dict[tuple[str, str], Positions]:
    """Return all classes by group and name, as intervals on the axis."""
    classes = {("annotation", name): axis.clip(parts) for name, parts in classes_of(features, genome).items()}
    if windows := promoters(features, genome):
        classes["annotation", "promoter window"] = axis.clip(windows)
    classes["soft-mask", "soft-masked"] = motifs.soft_masked(axis, codes)
    classes["sequence", "homopolymer"] = motifs.homopolymers(axis, codes)
    classes["sequence", "microsatellite"] = motifs.microsatellites(axis, codes)
    classes["sequence", "tandem repeat"] = motifs.tandem_repeats(axis, codes)
    by_name: dict[str, list[Interval]] = {}
    for region in repeats:
        by_name.setdefault(region.name or "unnamed", []).append(region.interval)
    for name in sorted(by_name):
        classes["repeats", name] = axis.clip(union(by_name[name]))
    return classes


def _edges(axis: Axis, features: Sequence[Feature], places: Mapping[str, Sequence[Site]]) -> dict[str, Positions]:
    """Return borders by kind, as places of the base after each border."""
    edges = {}
    for kind in _EDGES:
        lines = [feature.interval for feature in features if feature.kind == kind]
        if lines:
            edges[kind] = place_cuts(axis, ((i.contig, cut) for i in lines for cut in (i.start, i.end)))
    for name, listed in places.items():
        edges[name] = place_cuts(axis, ((site.contig, site.cut) for site in listed))
    return edges


def _of_shifts(on_progress: OnPart, what: str, shifts: int, done: int) -> None:
    on_progress(what, done / shifts)


def _bases_per_chunk(axis: Axis, positions: Positions) -> float | None:
    return axis.bases / len(positions) if len(positions) else None


def _rate(boundaries: int, bases: int) -> float:
    """Return boundaries per base of all bases; NaN where there are none, over which no enrichment is defined."""
    return boundaries / bases if boundaries else math.nan


def _quantiles(lengths: Positions) -> dict[str, float]:
    """Return quantiles of chunk lengths, in bases."""
    shares = (0.05, 0.25, 0.5, 0.75, 0.95)
    return {f"{q:g}": float(np.quantile(lengths, q)) for q in shares} if len(lengths) else {}
