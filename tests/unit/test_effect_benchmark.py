"""Measured effects beside likelihoods: how tables are read, and the predictors against plain loops."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyBigWig
import pytest
from helpers import lively_model, one_line_error, random_dna, small_config, write_fasta
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from typer.testing import Result

from hnet_dna.errors import SequenceError
from hnet_dna.evaluation.markov import MarkovModel
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import open_genome
from hnet_dna.inference.variants import score_variants
from hnet_dna.model.lm import HNetLM
from hnet_dna.probing.effect_benchmark import MODEL, MODEL_MEAN, benchmark_variants
from hnet_dna.probing.effect_tables import read_effects, turned
from hnet_dna.sequence.codes import from_text

Cli = Callable[..., Result]
CDS = "ATGGCTTGGAAACGTCTGTAA"  # M A W K R L *
TEXT = random_dna(60, 1) + CDS + random_dna(50, 2) + turned(CDS) + random_dna(40, 3)
FORWARD, REVERSE = 60, 60 + 21 + 50
SCAN = "gene\tchrom\tcds_start\tcds_end\tstrand\tresidue\tref_aa\talt_aa\tscore\n"


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    return open_genome(write_fasta(tmp_path_factory.mktemp("g") / "g.fa", {"a": TEXT}))


@pytest.fixture(scope="module")
def model() -> HNetLM:
    return lively_model(small_config()).float()


def scan(rows: list[tuple[str, int, str, str, object]]) -> str:
    """Residues of a gene on either strand."""
    lines = []
    for strand, residue, old, new, value in rows:
        start = FORWARD if strand == "+" else REVERSE
        lines.append(f"g{strand}\ta\t{start}\t{start + 21}\t{strand}\t{residue}\t{old}\t{new}\t{value}\n")
    return SCAN + "".join(lines)


def test_residues_become_codons_on_their_strand(genome: Genome, tmp_path: Path) -> None:
    table = tmp_path / "s.tsv"
    table.write_text(
        scan([("+", 4, "K", "N", 1), ("-", 4, "K", "N", 2), ("-", 2, "A", "W", "NA"), ("-", 3, "W", "W", "")])
    )
    forward, reverse = read_effects(table, genome)
    assert (forward.interval.start, forward.ref, forward.alts) == (FORWARD + 9, "AAA", ("AAC", "AAT"))
    assert (reverse.interval.start, reverse.ref, reverse.alts) == (REVERSE + 9, "TTT", ("GTT", "ATT"))
    assert TEXT[reverse.interval.start : reverse.interval.end] == "TTT"
    assert reverse.codons == ("AAA", "AAC")
    assert (forward.substitutions, forward.value, reverse.group) == (1, 1.0, "g-")
    table.write_text(scan([("+", 5, "R", "L", 1)]))  # CGT: CTT is one change away, CTA and TTA more
    assert read_effects(table, genome)[0].alts[0] == "CTT"


@pytest.mark.parametrize("strand", ["+", "-"])
def test_a_codon_with_an_intron_in_it(strand: str, tmp_path: Path) -> None:
    cut = CDS[:11] + "GTAAGTAG" + CDS[11:] if strand == "+" else turned(CDS[:11] + "GTAAGTAG" + CDS[11:])
    genome = open_genome(write_fasta(tmp_path / "i.fa", {"a": "CC" + cut + "CC"}))
    starts, ends = ("2,21", "13,31") if strand == "+" else ("2,20,", "12,31,")
    row = f"g\ta\t{starts}\t{ends}\t{strand}\t{{}}\t{{}}\t1\n"
    (tmp_path / "s.tsv").write_text(SCAN + row.format(4, "K\tN") + row.format(5, "R\tL"))
    split, next_one = read_effects(tmp_path / "s.tsv", genome)
    assert (split.codons, split.substitutions) == (("AAA", "AAC"), 1)
    assert next_one.codons == ("CGT", "CTT")
    # K is AA GTAAGTAG A: only its last base changes, wherever that lies.
    ref, alt = (split.ref, split.alts[0]) if strand == "+" else (turned(split.ref), turned(split.alts[0]))
    assert (ref, alt) == ("AAGTAAGTAGA", "AAGTAAGTAGC")
    text = "CC" + cut
    assert text[split.interval.start : split.interval.end] == split.ref
    (tmp_path / "s.tsv").write_text(SCAN + row.replace(ends, "12").format(4, "K\tN"))
    with pytest.raises(SequenceError, match=r"line 2: the exons from 2,.* should have as many starts as ends, rising"):
        read_effects(tmp_path / "s.tsv", genome)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (scan([("+", 4, "A", "N", 1)]), r"s\.tsv: line 2: residue 4 is AAA in g\.fa, which does not stand for A"),
        (scan([("+", 40, "A", "N", 1)]), r"line 2: residue 40 lies outside of the CDS, 60 to 81"),
        (scan([("+", 1, "M", "M", 1)]), r"line 2: there is no other codon of 'M'"),
        (scan([("+", 4, "K", "N", "high")]), r"line 2: the value should be a number, got 'high'"),
        (scan([("+", 4, "K", "N", "NA")]), r"s\.tsv: no row has a value"),
        ("chrom\tpos\tref\talt\tscore\na\t1\tN\tA\t1\n", r"line 2: N to A cannot be scored \(NOT_ACGT\)"),
        ("chrom\tpos\tref\talt\tscore\na\t1\tAAAAAAAA\tA\t1\n", r"line 2: g\.fa has \w+ at a:1-8, not AAAAAAAA"),
        ("sequence\tvalue\nACGTACGTAC\t1\nACGT\t2\n", r"line 3: expected 10 bases as in the first row, got 4"),
        ("sequence\tvalue\nACGTACGTACGGGGGTTTTT\t1\n", r"they stand there 0 times"),
    ],
)
def test_tables_that_do_not_fit(text: str, message: str, genome: Genome, tmp_path: Path) -> None:
    (tmp_path / "s.tsv").write_text(text)
    with pytest.raises(SequenceError, match=message):
        read_effects(tmp_path / "s.tsv", genome)


@pytest.mark.parametrize("strand", ["+", "-"])
def test_sequences_are_put_where_their_consensus_stands(strand: str, genome: Genome, tmp_path: Path) -> None:
    native = TEXT[20:40] if strand == "+" else turned(TEXT[20:40])
    changed = [native[:place] + ("A" if native[place] != "A" else "C") + native[place + 1 :] for place in (3, 4, 9)]
    with gzip.open(tmp_path / "p.tsv.gz", "wt") as file:
        file.write("sequence\tmean_bin\n" + "".join(f"{one}\t{i}\n" for i, one in enumerate([native, *changed])))
    effects = read_effects(tmp_path / "p.tsv.gz", genome)  # the native one is not a variant
    assert [one.value for one in effects] == [1, 2, 3]
    assert {(one.interval.start, one.ref) for one in effects} == {(20, TEXT[20:40])}
    assert effects[0].alts[0] == (changed[0] if strand == "+" else turned(changed[0]))
    assert [one.substitutions for one in effects] == [1, 1, 1]


def test_predictors_against_plain_loops(genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows: list[tuple[str, int, str, str, object]] = []
    for strand in "+-":
        rows += [(strand, 4, "K", new, random.normal()) for new in "NRA"]
        rows += [(strand, 5, "R", new, random.normal()) for new in "LK"]
    (tmp_path / "s.tsv").write_text(scan(rows))
    (tmp_path / "g.gff3").write_text(f"##gff-version 3\na\tx\tCDS\t{FORWARD + 1}\t{FORWARD + 21}\t.\t+\t0\tID=c\n")
    with pyBigWig.open(str(tmp_path / "c.bw"), "w") as track:
        track.addHeader([("a", len(TEXT))])
        track.addEntries("a", FORWARD, values=[float(i) for i in range(21)], span=1, step=1)
    benchmark = benchmark_variants(
        tmp_path / "s.tsv", genome, model, window=20, context=30, annotation=tmp_path / "g.gff3",
        conservation=tmp_path / "c.bw",
    )  # fmt: skip
    for row, one in enumerate(benchmark.effects):
        llr = score_variants(
            [("a", one.interval.start, one.ref, alt) for alt in one.alts], genome, model, window=20, context=30
        )
        assert benchmark.predictors[MODEL][row] == pytest.approx(llr[0], abs=1e-4)
        assert benchmark.predictors[MODEL_MEAN][row] == pytest.approx(llr.mean(), abs=1e-4)
        markov = MarkovModel(5, [from_text(TEXT)])
        left, right = TEXT[one.interval.start - 5 : one.interval.start], TEXT[one.interval.end : one.interval.end + 5]
        bits = [
            sum(markov.bits(from_text(t)).sum() for t in (left + allele + right, turned(left + allele + right)))
            for allele in (one.ref, one.alts[0])
        ]
        assert benchmark.predictors["Markov, k = 5"][row] == pytest.approx((bits[0] - bits[1]) / 2, abs=1e-9)
    assert benchmark.predictors["BLOSUM62"][:5].tolist() == [0, 2, -1, -2, 2]
    assert benchmark.predictors["codon usage"][0] == -1  # AAA is in the gene once, AAC is not
    assert benchmark.predictors["conservation"][0] == -10  # bases 9, 10 and 11 of the gene
    assert math.isnan(benchmark.predictors["conservation"][9])
    value = np.array([one.value for one in benchmark.effects])
    result = {(one.group, one.predictor): one for one in benchmark.results}
    for group, rows_of in (("g+", slice(0, 5)), ("g-", slice(5, 10))):
        expected = spearmanr(value[rows_of], benchmark.predictors[MODEL][rows_of]).statistic
        assert result[group, MODEL].spearman.value == pytest.approx(expected)
        assert (result[group, MODEL].rows, result[group, MODEL].positions) == (5, 2)
    mean = np.mean([abs(result[group, MODEL].spearman.value) for group in ("g+", "g-")])
    assert result["all", MODEL].spearman.value == pytest.approx(mean)
    assert ("g-", "conservation") not in result


def test_labels_of_a_vcf(cli: Cli, genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "m")
    lines = [
        f"a\t{place + 1}\t.\t{TEXT[place]}\t{'A' if TEXT[place] != 'A' else 'C'}\t.\t.\tX=1;LABEL={place % 2}\n"
        for place in range(40, 52)
    ]
    lines.append(f"a\t60\t.\t{TEXT[59]}\t{'A' if TEXT[59] != 'A' else 'C'}\t.\t.\tX=1\n")  # without a label
    header = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (tmp_path / "v.vcf").write_text(header + "".join(lines))
    common = ["benchmark", "variants", tmp_path / "v.vcf", "--genome", genome.source, "--model", tmp_path / "m"]
    result = cli(*common, "--value", "LABEL", "--window", 20, "--json", "--out", tmp_path / "b.tsv")
    assert result.exit_code == 0, result.output
    by_predictor = {one["predictor"]: one for one in json.loads(result.stdout)}
    header_line, *rows = (tmp_path / "b.tsv").read_text().splitlines()
    columns = list(zip(*(row.split("\t") for row in rows), strict=True))
    value, score = (np.array(columns[header_line.split("\t").index(name)], dtype=float) for name in ("value", "model"))
    assert len(value) == 12
    assert by_predictor["model"]["auroc"]["value"] == pytest.approx(roc_auc_score(value, -score))
    assert by_predictor["model"]["rows"] == 12
    # TraitGym's tables are Parquet with labels that are true or false, and so are its features.
    places = {"chrom": 0, "pos": 1, "ref": 3, "alt": 4}
    named: dict[str, list[Any]] = {name: [lines[i].split("\t")[at] for i in range(12)] for name, at in places.items()}
    named["label"] = [i % 2 == 0 for i in range(12)]
    pq.write_table(pa.table(named), tmp_path / "test.parquet")
    asked = [tmp_path / "test.parquet", "--genome", genome.source, "--model", tmp_path / "m", "--window", 20]
    result = cli("benchmark", "variants", *asked, "--features", tmp_path / "f.parquet")
    assert result.exit_code == 0, result.output
    features = pq.read_table(tmp_path / "f.parquet").to_pydict()
    assert features["score"] == pytest.approx(score, rel=1e-4)
    assert features["abs_score"] == pytest.approx(np.abs(score), rel=1e-4)
    table = cli(*common, "--value", "LABEL", "--rows", 6)
    assert "6 measured effects" in table.stdout
    assert "AUROC" in table.stdout
    assert "--value: name the field of INFO that holds the labels of a VCF" in one_line_error(cli(*common))
