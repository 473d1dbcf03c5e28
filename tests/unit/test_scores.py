"""Scores of bases, regions and variants against whole forwards and loops."""

from __future__ import annotations

import io
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest
import torch
from helpers import allele_scores, lively_model, random_dna, small_config, write_fasta

from hnet_dna.annotation.regions import read_regions
from hnet_dna.errors import SequenceError
from hnet_dna.genome.genome import Genome, whole
from hnet_dna.genome.open import open_genome
from hnet_dna.inference import branches as branches_module
from hnet_dna.inference.base_scores import base_scores, region_scores
from hnet_dna.inference.stream import forward
from hnet_dna.inference.variants import Variant, _leftmost
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval
from hnet_dna.tracks.vcf import VcfScorer

COMPLEMENT = str.maketrans("ACGTacgt", "TGCAtgca")
RECORDS = {"chr1": random_dna(301) + "NNN" + random_dna(64, 1), "chr2": random_dna(150, 2).lower()}


@pytest.fixture(scope="module")
def model() -> HNetLM:
    return lively_model(small_config())


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    return open_genome(write_fasta(tmp_path / "g.fa", RECORDS))


def forward_log2p(model: HNetLM, text: str) -> np.ndarray:
    ids = torch.tensor(["ACGT".index(base) for base in text.upper()])
    log_p = torch.log_softmax(model(ids[None]).logits[0, :-1, :4].detach(), dim=-1)
    return np.array([-2.0, *(log_p.gather(1, ids[1:, None])[:, 0] / math.log(2)).tolist()])


def both_log2p(model: HNetLM, text: str) -> np.ndarray:
    reverse = forward_log2p(model, text.translate(COMPLEMENT)[::-1])[::-1]
    mean: np.ndarray = (forward_log2p(model, text) + reverse) / 2
    return mean


@pytest.mark.parametrize("strand", ["+", "-", "both"])
@pytest.mark.parametrize("piece", [7, 1000])
def test_bases_by_strand(genome: Genome, model: HNetLM, strand: str, piece: int) -> None:
    by_contig: dict[str, np.ndarray] = {name: np.full(len(text), 9.0) for name, text in RECORDS.items()}
    intervals = [whole(contig) for contig in genome.contigs]
    for scores in base_scores(genome, intervals, model, strand, piece=piece):  # type: ignore[arg-type]
        by_contig[scores.contig][scores.start : scores.end] = scores.log2p
    for contig, start, end in [("chr1", 0, 301), ("chr1", 304, 368), ("chr2", 0, 150)]:
        text = RECORDS[contig][start:end]
        forward, reverse = forward_log2p(model, text), forward_log2p(model, text.translate(COMPLEMENT)[::-1])[::-1]
        expected = {"+": forward, "-": reverse, "both": (forward + reverse) / 2}[strand]
        np.testing.assert_allclose(by_contig[contig][start:end], expected, atol=1e-5)
    assert (by_contig["chr1"][301:304] == 9.0).all()


def test_other_letters_have_no_score(model: HNetLM, tmp_path: Path) -> None:
    genome = open_genome(write_fasta(tmp_path / "r.fa", {"a": "ACGRTA"}))
    (scores,) = base_scores(genome, [whole(genome.contigs[0])], model)
    assert np.isnan(scores.log2p).tolist() == [False, False, False, True, False, False]


def test_regions_sum_what_bases_have(genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    bed = tmp_path / "r.bed"
    bed.write_text("chr2\t10\t40\tx\nchr1\t290\t310\ty\nchr1\t0\t5\nchr2\t30\t150\nchr1\t295\t300\n")
    regions = read_regions(bed, genome)
    expected = {name: np.full(len(text), np.nan) for name, text in RECORDS.items()}
    for contig, start, end in [("chr1", 0, 301), ("chr1", 304, 368), ("chr2", 0, 150)]:
        expected[contig][start:end] = both_log2p(model, RECORDS[contig][start:end])
    scored = region_scores(genome, regions, model, context=1000, piece=32)
    assert [score.region for score in scored] == regions
    for score in scored:
        interval = score.region.interval
        values = expected[interval.contig][interval.start : interval.end]
        assert score.bases == np.count_nonzero(~np.isnan(values))
        assert score.log2p == pytest.approx(np.nansum(values), abs=1e-4)
    near = region_scores(genome, regions[:1], model, context=5)
    alone = both_log2p(model, RECORDS["chr2"][5:45])
    assert near[0].log2p == pytest.approx(alone[5:35].sum(), abs=1e-4)


def slow_score(model: HNetLM, contig: str, start: int, ref: str, alt: str, half: int, strand: str) -> float:
    """Two whole windows, two forwards each."""
    text = RECORDS[contig].upper()
    left, right = text[max(0, start - half) : start], text[start + len(ref) : start + len(ref) + half]
    left, right = left.split("N")[-1], right.split("N")[0]
    total = 0.0
    for sign, allele in ((1, alt), (-1, ref)):
        window = left + allele + right
        forward, reverse = forward_log2p(model, window), forward_log2p(model, window.translate(COMPLEMENT)[::-1])
        total += sign * {"+": forward.sum(), "-": reverse.sum(), "both": (forward.sum() + reverse.sum()) / 2}[strand]
    return total


def ref_at(contig: str, start: int, length: int) -> str:
    return RECORDS[contig][start : start + length].upper()


@pytest.mark.parametrize("strand", ["+", "-", "both"])
@pytest.mark.parametrize("half", [8, 33])
def test_variants_against_whole_windows(genome: Genome, model: HNetLM, strand: str, half: int) -> None:
    cases = [("chr1", 100, 1), ("chr1", 0, 1), ("chr1", 300, 1), ("chr1", 304, 2), ("chr2", 149, 1), ("chr2", 60, 3)]
    variants, expected = [], []
    for contig, start, length in cases:
        ref = ref_at(contig, start, length)
        # Each differs from the reference in its first and last base, so that nothing is trimmed or shifted.
        alts = tuple(a + "G" * (length - 2) + a if length > 1 else a for a in "ACGT" if a not in (ref[0], ref[-1]))
        variants.append(Variant(Interval(contig, start, start + length), ref, alts))
        expected.append([slow_score(model, contig, start, ref, alt, half, strand) for alt in alts])
    scored = list(allele_scores(genome, variants, model, window=2 * half, strand=strand))  # type: ignore[arg-type]
    assert [len(scores) for scores in scored] == [len(scores) for scores in expected]
    np.testing.assert_allclose(np.concatenate(scored), np.concatenate(expected), atol=1e-6)


def test_one_indel_has_one_score_however_it_is_written(model: HNetLM, tmp_path: Path) -> None:
    genome = open_genome(write_fasta(tmp_path / "i.fa", {"a": "GATTC" + "ACACACAC" + "GGTA"}))
    written = [(4, "CAC", "C"), (6, "CAC", "C"), (10, "CAC", "C"), (7, "ACAC", "AC"), (3, "TCAC", "TC")]
    text = "GATTC" + "ACACACAC" + "GGTA"
    variants = [Variant(Interval("a", s, s + len(ref)), ref, (alt,)) for s, ref, alt in written]
    assert all(text[v.interval.start : v.interval.end] == v.ref for v in variants)
    scores = [score for (score,) in allele_scores(genome, variants, model, window=8)]
    assert scores == pytest.approx([scores[0]] * len(scores), abs=1e-9)
    assert abs(scores[0]) > 1e-3


@pytest.mark.parametrize("strand", ["+", "-", "both"])
def test_long_alleles_among_short_ones(model: HNetLM, tmp_path: Path, strand: str, monkeypatch: Any) -> None:
    """Each has the score that it has when it is run by itself; none is padded to the long ones, nor run at once."""
    text = random_dna(900, 3)
    genome = open_genome(write_fasta(tmp_path / "l.fa", {"a": text}))
    other = str.maketrans("ACGT", "CGTA")
    variants = [
        Variant(Interval("a", start, start + 1), text[start], (text[start].translate(other),))
        for start in range(100, 180, 10)
    ]
    deletion = Variant(Interval("a", 200, 600), text[200:600], (text[200],))
    mixed = Variant(Interval("a", 650, 652), text[650:652], (text[650] + random_dna(130, 4), "AAA", "AAA"))
    same = Variant(Interval("a", 700, 701), text[700], (text[700],))
    variants[3:3] = [deletion, mixed, same]
    alone = [next(iter(allele_scores(genome, [v], model, window=40, strand=strand))) for v in variants]  # type: ignore[arg-type]
    ran: list[tuple[int, ...]] = []

    def spy(model: HNetLM, codes: np.ndarray, *rest: Any, **more: Any) -> Any:
        ran.append(codes.shape)
        return forward(model, codes, *rest, **more)

    monkeypatch.setattr(branches_module, "forward", spy)
    monkeypatch.setattr(branches_module, "_BATCH_BASES", 128)
    scored = list(allele_scores(genome, variants, model, window=40, strand=strand))  # type: ignore[arg-type]
    for one, other_one in zip(scored, alone, strict=True):
        np.testing.assert_allclose(one, other_one, atol=1e-6)
    assert scored[5] == [0.0]  # REF is ALT
    assert max(rows * length for rows, length in ran) <= 128
    own = sum(20 + sum(20 + len(allele) for allele in (v.ref, *v.alts)) for v in variants)
    assert sum(rows * length for rows, length in ran) <= (2 if strand == "both" else 1) * 2 * own


def test_long_windows_are_run_in_pieces(genome: Genome, model: HNetLM, monkeypatch: Any) -> None:
    ref = ref_at("chr1", 150, 1)
    variant = Variant(Interval("chr1", 150, 151), ref, ("A" if ref != "A" else "C",))
    (whole_window,) = allele_scores(genome, [variant], model, window=300)
    monkeypatch.setattr(branches_module, "_BATCH_BASES", 50)
    (pieces,) = allele_scores(genome, [variant], model, window=300)
    np.testing.assert_allclose(pieces, whole_window, atol=1e-6)


def test_shifts_of_indels_against_strings(tmp_path: Path) -> None:
    """Against the definition: the leftmost place from which the alleles give the same sequences."""
    text = "GATTC" + "ACACACAC" + "CCCC" + "N" + "AAAA" + "GGTA"
    genome = open_genome(write_fasta(tmp_path / "i.fa", {"a": text}))
    for start in range(len(text)):
        for length in range(1, 6):
            ref = text[start : start + length]
            if "N" in ref or len(ref) < length:
                continue
            for alt in {ref[0], ref + ref, ref[:2], ref + "C", "T" + ref, ref}:
                begin, (new_ref, new_alt) = _leftmost(genome, "a", start, (ref, alt))
                assert text[begin : begin + len(new_ref)] == new_ref
                whole = text[:start] + alt + text[start + length :]
                assert text[:begin] + new_alt + text[begin + len(new_ref) :] == whole
                if ref == alt:
                    assert begin == start
                elif begin > 0 and text[begin - 1] != "N" and min(len(new_ref), len(new_alt)) == 1:
                    assert new_ref[-1] != new_alt[-1]


VCF_HEADER = "##fileformat=VCFv4.2\n##contig=<ID=chr1,length=368>\n##contig=<ID=chr2,length=150>\n"
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def write_vcf(path: Path) -> tuple[Path, list[str]]:
    """Records of every kind, and what each should be skipped for, allele by allele."""
    r = ref_at
    other = {"A": "C", "C": "G", "G": "T", "T": "A"}
    one, two = r("chr1", 50, 1), r("chr1", 51, 2)
    lines: list[tuple[str, list[str | None]]] = [
        (f"chr1\t51\trs1\t{one}\t{other[one]}\t.\t.\t.", [None]),
        (f"chr1\t52\t.\t{two}\t{two[0]},{two}TT,<DEL>\t50\tPASS\t.", [None, None, "SYMBOLIC"]),
        (f"chr1\t60\t.\t{other[r('chr1', 59, 1)]}\tA\t.\t.\t.", ["REF_MISMATCH"]),
        (f"chr1\t61\t.\t{r('chr1', 60, 1)}\t*\t.\t.\t.", ["SPANNING_DELETION"]),
        (f"chr1\t62\t.\t{r('chr1', 61, 1)}\t.\t.\t.\t.", ["MISSING_ALT"]),
        (f"chr1\t63\t.\t{r('chr1', 62, 1)}\t{r('chr1', 62, 1)}[chr2:5[\t.\t.\t.", ["BREAKEND"]),
        (f"chr1\t64\t.\t{r('chr1', 63, 1)}\tR\t.\t.\t.", ["NOT_ACGT"]),
        ("chr1\t302\t.\tN\tA\t.\t.\t.", ["NOT_ACGT"]),
        (f"chr1\t368\t.\t{r('chr1', 367, 1)}A\tC\t.\t.\t.", ["PAST_THE_END"]),
        (f"chr2\t5\t.\t{r('chr2', 4, 1).lower()}\t{other[r('chr2', 4, 1)].lower()}\t.\t.\t.", [None]),
    ]
    path.write_text(VCF_HEADER + COLUMNS + "".join(line + "\n" for line, _ in lines))
    return path, [f"{reason}" for _, reasons in lines for reason in reasons]


def test_vcf_in_and_out(genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    source, reasons = write_vcf(tmp_path / "in.vcf")
    out = io.BytesIO()
    report = VcfScorer(genome, model, "m", window=32).run(str(source), out)
    (tmp_path / "out.vcf").write_bytes(out.getvalue())
    assert report.records == 10
    assert report.scored == reasons.count("None") == 4
    assert sum(report.skipped.values()) == len(reasons) - 4
    assert report.skipped["REF_MISMATCH"] == 1
    outcomes: list[str] = []
    with pysam.VariantFile(str(tmp_path / "out.vcf")) as judge, pysam.VariantFile(str(source)) as before:
        for record, old in zip(judge, before, strict=True):
            assert (record.pos, record.ref, record.alts, record.id) == (old.pos, old.ref, old.alts, old.id)
            count = len(record.alts or (None,))
            skipped = record.info.get("HNET_SKIPPED", ("PASS",) * count)
            scores = record.info.get("HNET_LLR", (None,) * count)
            assert len(skipped) == len(scores) == count
            assert [s is None for s in scores] == [reason != "PASS" for reason in skipped]
            outcomes += ["None" if reason == "PASS" else reason for reason in skipped]
    assert outcomes == reasons
    first = ref_at("chr1", 50, 1)
    alt = {"A": "C", "C": "G", "G": "T", "T": "A"}[first]
    (score,) = next(iter(pysam.VariantFile(str(tmp_path / "out.vcf")))).info["HNET_LLR"]
    assert score == pytest.approx(slow_score(model, "chr1", 50, first, alt, 16, "both"), abs=1e-4)


@pytest.mark.skipif(shutil.which("bcftools") is None, reason="bcftools is not installed")
def test_bcftools_agrees(genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    source, _ = write_vcf(tmp_path / "in.vcf")
    out = io.BytesIO()
    VcfScorer(genome, model, "m", window=32).run(str(source), out)
    (tmp_path / "out.vcf").write_bytes(out.getvalue())
    viewed = subprocess.run(["bcftools", "view", str(tmp_path / "out.vcf")], capture_output=True, text=True, check=True)
    assert "warn" not in viewed.stderr.lower()
    command = ["bcftools", "norm", "-c", "w", "-m-", "-f", str(genome.source), str(tmp_path / "out.vcf")]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    mismatches = {line.split("\t")[2] for line in judged.stderr.splitlines() if line.startswith("REF_MISMATCH")}
    ours = {
        line.split("\t")[1] for line in out.getvalue().decode().splitlines() if "REF_MISMATCH" in line.split("\t")[-1]
    }
    assert ours <= mismatches
    assert mismatches - ours <= {"368"}  # past the end has a reason of its own


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("", r"bad\.vcf is not a VCF file: it is empty"),
        ("chr1\t5\n", r"bad\.vcf is not a VCF file: its first line should be ##fileformat=VCFv4\.2"),
        (VCF_HEADER + COLUMNS + "1\t5\t.\tA\tC\t.\t.\t.\n", r"record 1:5 A: g\.fa has no contig 1.*It is called chr1"),
        (VCF_HEADER + COLUMNS + "chr1\tx\t.\tA\tC\t.\t.\t.\n", "line 5: POS should be a whole number"),
    ],
)
def test_vcf_that_cannot_be_read(genome: Genome, model: HNetLM, tmp_path: Path, text: str | None, message: str) -> None:
    source = tmp_path / "bad.vcf"
    if text is not None:
        source.write_text(text)
    with pytest.raises(SequenceError, match=message):
        VcfScorer(genome, model, "m").run(str(source), io.BytesIO())


def test_an_unknown_contig_is_named_with_those_of_the_file(genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    """Not with those of the genome, which are added to a header that has none."""
    source = tmp_path / "in.vcf"
    source.write_text("##fileformat=VCFv4.2\n" + COLUMNS + "scaffold_7\t5\t.\tA\tC\t.\t.\t.\n")
    with pytest.raises(SequenceError, match=r"in.vcf: line 3, record scaffold_7:5 A: .*no contig scaffold_7") as caught:
        VcfScorer(genome, model, "m").run(str(source), io.BytesIO())
    assert "given" not in str(caught.value)


def test_strict_stops_at_a_mismatch(genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    source, _ = write_vcf(tmp_path / "in.vcf")
    with pytest.raises(SequenceError, match=r"record chr1:60 .*the genome has other bases there"):
        VcfScorer(genome, model, "m", strict=True).run(str(source), io.BytesIO())
