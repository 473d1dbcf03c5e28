"""Do likelihoods of variants agree with what was measured? Scores without training, beside what needs no model.

All predictors are oriented alike: the larger, the fitter a variant should be. Spearman's correlation is positive where
likely variants are the ones with large values. The area under the curve is that of the larger of two labels, which is
taken to mark variants with an effect, so it ranks by minus the predictor.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnet_dna.annotation.reader import read_features
from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.evaluation.markov import MarkovModel, count_words
from hnet_dna.files import write_beside
from hnet_dna.genome.genome import Genome, whole
from hnet_dna.genome.open import GenomeLike, open_genome
from hnet_dna.inference.effects import How
from hnet_dna.inference.load import load_model
from hnet_dna.inference.variants import Variant, VariantReader
from hnet_dna.model.lm import HNetLM
from hnet_dna.probing.effect_tables import Effect, read_effects, turned
from hnet_dna.probing.metrics import Metric, measure
from hnet_dna.progress import OnProgress, Work, ignore
from hnet_dna.sequence.codes import LETTER_BITS, N_CODE, Codes, from_text, reverse_complement, to_text
from hnet_dna.sequence.interval import Interval
from hnet_dna.sequence.strand import Strand, check_strand
from hnet_dna.tables import data_frame
from hnet_dna.tracks.bgzip import text_file

MODEL, MODEL_MEAN = "model", "model, mean of codons"
_ORDERS = (2, 5, 8)
_FEWEST = 3  # rows of a group
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """How well a predictor agrees with a group of measured effects.

    Attributes:
        group: gene or table; `all` is the mean over groups.
        predictor: `model` and others, see `EffectBenchmark`.
        rows, positions: effects, and places that are resampled for the intervals.
        spearman: with a 95 % interval by bootstrap over positions; of `all`, the mean of absolute values, without one.
        auroc, auprc: where there are two values, else None.
    """

    group: str
    predictor: str
    rows: int
    positions: int
    spearman: Metric
    auroc: Metric | None = None
    auprc: Metric | None = None


@dataclass(frozen=True)
class EffectBenchmark:
    """Measured effects, what predicts them, and how well.

    Attributes:
        effects: N rows.
        predictors: (N,) by name, larger for variants that should be fitter; NaN where a predictor says nothing.
        results: by group and predictor, in the order of the table.
    """

    effects: Sequence[Effect]
    predictors: Mapping[str, Floats]
    results: Sequence[Result]

    def columns(self) -> dict[str, Any]:
        """Return one row for each effect: line, group, chrom, start, end (0-based), ref, alt, value, and predictors."""
        effects = self.effects
        return {
            "line": np.array([one.line for one in effects]),
            "group": np.array([one.group for one in effects]),
            "chrom": np.array([one.interval.contig for one in effects]),
            "start": np.array([one.interval.start for one in effects]),
            "end": np.array([one.interval.end for one in effects]),
            "ref": np.array([one.ref for one in effects]),
            "alt": np.array([one.alts[0] for one in effects]),
            "value": np.array([one.value for one in effects]),
            **self.predictors,
        }

    def write_table(self, path: str | Path) -> None:
        """Write `columns` as a table with tabs, by bgzip if the name ends in .gz."""
        columns = self.columns()
        with text_file(Path(path)) as stream:
            stream.write("\t".join(columns) + "\n")
            for row in zip(*columns.values(), strict=True):
                cells = (f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in row)
                stream.write("\t".join(cells) + "\n")

    def write_features(self, path: str | Path) -> None:
        """Write the model's scores as a Parquet file of features, as TraitGym takes them: a row for each effect.

        The columns are `score`, and `abs_score` for tables in which changes in either direction count.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        score = self.predictors[MODEL]
        with write_beside(Path(path)) as temporary:
            pq.write_table(pa.table({"score": score, "abs_score": np.abs(score)}), temporary)

    def to_pandas(self) -> Any:
        """Return `columns` as a data frame (needs pandas)."""
        return data_frame(self.columns())


def benchmark_variants(
    table: str | Path,
    genome: GenomeLike,
    model: str | Path | HNetLM,
    *,
    value: str | None = None,
    window: int = 512,
    context: int = 4096,
    strand: Strand = "both",
    annotation: str | Path | None = None,
    conservation: str | Path | None = None,
    rows: int | None = None,
    jobs: int = 1,
    on_progress: OnProgress = ignore,
) -> EffectBenchmark:
    """Compare log-likelihood ratios of variants with measured effects, beside predictors that need no model.

    Args:
        table: deep mutational scan, variants, sequences (CSV or TSV) or a VCF; `hnet_dna.probing.effect_tables` has the
            columns.
        genome: anything that `open_genome` takes.
        model: anything that `load_model` takes.
        value: the column, or the field of INFO, that holds what was measured; by default one with a usual name.
        window: its likelihood includes half this many bases after a variant; 2 leaves the variant and one base.
        context: the least number of bases read before a variant.
        strand: which strand's likelihood, or the mean of both.
        annotation: GFF3, GTF or GenBank file, whose CDS tell how often codons are used.
        conservation: a bigWig of conservation.
        rows: how many rows to draw at random; all where None.
        jobs: number of processes.
        on_progress: called with reports.

    Raises:
        SequenceError: the table does not agree with the genome, or cannot be read.
        UsageError: a column does not exist.
    """
    opened, loaded = open_genome(genome), load_model(model)
    effects = read_effects(table, opened, value)
    if len(effects) < _FEWEST:
        raise SequenceError(f"{table}: {len(effects)} effects; a correlation needs at least {_FEWEST}")
    if rows is not None and rows < len(effects):
        chosen = np.sort(np.random.default_rng(0).choice(len(effects), rows, replace=False))
        effects = [effects[index] for index in chosen]
    scores = _scores(effects, opened, loaded, How(window, check_strand(strand), context), jobs, on_progress)
    predictors = {MODEL: np.array([ratios[0] for ratios in scores])}
    if any(len(one.alts) > 1 for one in effects):
        predictors[MODEL_MEAN] = np.array([np.mean(ratios) for ratios in scores])
    predictors |= _without_model(effects, opened, annotation, conservation)
    return EffectBenchmark(effects, predictors, _results(effects, predictors))


def _scores(
    effects: Sequence[Effect], genome: Genome, model: HNetLM, how: How, jobs: int, on_progress: OnProgress
) -> list[Floats]:
    """Return the log-likelihood ratio of each alternative of each effect; in its order."""
    # One variant for each alternative, so that its window does not depend on what else the table has for its place.
    distinct = {(one.interval, one.ref, alt) for one in effects for alt in one.alts}
    variants = [Variant(interval, ref, (alt,)) for interval, ref, alt in sorted(distinct)]
    scores: dict[tuple[Interval, str, str], float] = {}
    with (
        VariantReader(genome, model, how, jobs=jobs) as reader,
        Work(on_progress, "scoring", len(variants), "alleles") as work,
    ):
        for variant, effect in zip(variants, reader.read(variants, on_variants=work.add), strict=True):
            scores[variant.interval, variant.ref, variant.alts[0]] = float(effect.llr[0])
    return [np.array([scores[one.interval, one.ref, alt] for alt in one.alts]) for one in effects]


def _without_model(
    effects: Sequence[Effect], genome: Genome, annotation: str | Path | None, conservation: str | Path | None
) -> dict[str, Floats]:
    predictors = {"substitutions": -np.array([one.substitutions for one in effects], dtype=np.float64)}
    if all(one.amino_acids for one in effects):
        pairs = [one.amino_acids for one in effects if one.amino_acids]
        predictors["amino acid changed"] = -np.array([old != new for old, new in pairs], dtype=np.float64)
        predictors["BLOSUM62"] = _blosum62(pairs)
        if annotation is not None:
            usage = _codon_usage(genome, annotation)
            predictors["codon usage"] = np.array(
                [usage[new] - usage[old] for old, new in (one.codons for one in effects if one.codons)]
            )
    predictors["GC"] = np.array([_gc(one.alts[0]) - _gc(one.ref) for one in effects])
    counts = count_words((genome.codes(whole(contig)) for contig in genome.contigs), _ORDERS)
    for order in _ORDERS:
        model = MarkovModel.of_counts(order, counts[order])
        predictors[f"Markov, k = {order}"] = _markov_ratios(effects, genome, model)
    if conservation is not None:
        predictors["conservation"] = _conservation(effects, Path(conservation))
    return predictors


def _gc(text: str) -> float:
    return sum(letter in "GC" for letter in text) / max(len(text), 1)


def _blosum62(pairs: Iterable[tuple[str, str]]) -> Floats:
    try:
        from Bio.Align import substitution_matrices
    except ModuleNotFoundError:
        raise UsageError("BLOSUM62 needs Biopython: pip install 'hnet-dna[genbank]'") from None
    matrix: Any = substitution_matrices.load("BLOSUM62")  # type: ignore[no-untyped-call]
    return np.array([matrix[old, new] for old, new in pairs], dtype=np.float64)


def _codon_usage(genome: Genome, annotation: str | Path) -> dict[str, float]:
    """Return log2 of one more than how often each codon occurs in genes whose CDS is one piece."""
    counts: Counter[str] = Counter({a + b + c: 1 for a in "ACGT" for b in "ACGT" for c in "ACGT"})
    for feature in read_features(Path(annotation), genome):
        if feature.kind == "CDS" and len(feature.interval) % 3 == 0 and feature.strand in ("+", "-"):
            text = to_text(genome.codes(feature.interval)).upper()
            text = text if feature.strand == "+" else turned(text)
            if text[-3:] in ("TAA", "TAG", "TGA"):
                counts.update(text[place : place + 3] for place in range(0, len(text), 3))
    return {codon: math.log2(count) for codon, count in counts.items()}


def _markov_ratios(effects: Sequence[Effect], genome: Genome, model: MarkovModel) -> Floats:
    """Return the log-likelihood ratio under a Markov model, the mean of both strands."""
    order = model.order
    ref: list[Codes] = []
    alt: list[Codes] = []
    for one in effects:
        contig, length = one.interval.contig, genome[one.interval.contig].length
        before = genome.codes(Interval(contig, max(0, one.interval.start - order), one.interval.start))
        after = genome.codes(Interval(contig, one.interval.end, min(length, one.interval.end + order)))
        for letters, those in ((one.ref, ref), (one.alts[0], alt)):
            those.append(np.concatenate([before, from_text(letters), after]) & np.uint8(LETTER_BITS))
    ratio: Floats = (_bits(model, ref) - _bits(model, alt)) / 2
    return ratio


def _bits(model: MarkovModel, sequences: Sequence[Codes]) -> Floats:
    """Return the bits of each sequence, both strands added."""
    gap = np.array([N_CODE], dtype=np.uint8)
    starts = np.cumsum([0, *(len(one) + 1 for one in sequences[:-1])])
    total = np.zeros(len(sequences))
    for turn in (np.asarray, reverse_complement):
        joined = np.concatenate([part for one in sequences for part in (turn(one), gap)])
        total += np.add.reduceat(model.bits(joined), starts)
    return total


def _conservation(effects: Sequence[Effect], path: Path) -> Floats:
    """Return minus the mean conservation of the replaced bases, NaN where the file has none."""
    import pyBigWig

    try:
        track = pyBigWig.open(str(path))
    except RuntimeError:
        raise SequenceError(f"{path}: not a bigWig") from None
    with track:
        lengths = track.chroms()
        means = []
        for one in effects:
            contig, start, end = one.interval.contig, one.interval.start, one.interval.end
            mean = track.stats(contig, start, end, exact=True)[0] if end <= lengths.get(contig, 0) else None
            means.append(math.nan if mean is None else -mean)
    return np.array(means)


def _results(effects: Sequence[Effect], predictors: Mapping[str, Floats]) -> list[Result]:
    groups = list(dict.fromkeys(one.group for one in effects))
    group = np.array([groups.index(one.group) for one in effects])
    value = np.array([one.value for one in effects])
    # Rows about one base or residue are not independent. Sequences all have the same place, so each is one of its own.
    places = [(one.interval, one.line if len(one.ref) > 3 else 0) for one in effects]
    number = {place: index for index, place in enumerate(dict.fromkeys(places))}
    position = np.array([number[place] for place in places])
    results = []
    for name, predicted in predictors.items():
        of_groups = []
        for index, label in enumerate(groups):
            rows = np.flatnonzero((group == index) & ~np.isnan(predicted))
            if len(rows) >= _FEWEST:
                of_groups.append(_result(label, name, value[rows], predicted[rows], position[rows]))
        results += of_groups
        if len(groups) > 1 and of_groups:
            mean = float(np.mean([abs(one.spearman.value) for one in of_groups]))
            rows_in_all, positions = sum(one.rows for one in of_groups), sum(one.positions for one in of_groups)
            results.append(Result("all", name, rows_in_all, positions, Metric(mean, math.nan, math.nan)))
    return results


def _result(group: str, name: str, value: Floats, predicted: Floats, position: NDArray[np.int64]) -> Result:
    positions = len(np.unique(position))
    spearman = measure("regression", value, predicted, None, [], position)["Spearman"]
    labels = np.unique(value)
    if len(labels) != 2:
        return Result(group, name, len(value), positions, spearman)
    classes = ["no effect", "effect"]
    target = np.where(value == labels[1], classes[1], classes[0])
    scores = np.stack([predicted, -predicted], axis=1)
    said = np.where(predicted > np.median(predicted), classes[0], classes[1])
    metrics = measure("classification", target, said, scores, classes, position)
    return Result(group, name, len(value), positions, spearman, metrics["AUROC"], metrics["AUPRC"])
