"""All mutations of a region, and variants that share one reading, against whole forwards of mutated sequences."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pyBigWig
import pytest
import torch
from helpers import lively_model, one_line_error, random_dna, small_config, write_fasta
from typer.testing import Result

from hnet_dna.config.schema import ModelConfig
from hnet_dna.errors import HNetError, SequenceError, UsageError
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import open_genome
from hnet_dna.inference import branches, effects, variants
from hnet_dna.inference.dependencies import dependencies
from hnet_dna.inference.effects import How, Shift
from hnet_dna.inference.mutate import mutate
from hnet_dna.inference.variants import Variant, VariantReader, controls, score_variants
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval

Cli = Callable[..., Result]
ONE_STAGE = {
    "d_model": [24],
    "d_intermediate": [32],
    "vocab_size": 5,
    "alphabet": "dna",
    "ssm_cfg": {"d_state": 8, "head_dim": 8, "chunk_size": 16},
    "attn_cfg": {"num_heads": [3], "rotary_emb_dim": [4], "window_size": [9]},
}
COMPLEMENT = str.maketrans("ACGT", "TGCA")
TEXT = random_dna(70, 1)
GAPPED = random_dna(150, 2) + "NN" + random_dna(90, 3)


@pytest.fixture(scope="module")
def model() -> HNetLM:
    return lively_model(small_config())


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    return open_genome(write_fasta(tmp_path_factory.mktemp("g") / "g.fa", {"a": TEXT, "b": GAPPED}))


def forward(model: HNetLM, text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log2 p of the letters at each base (L, 4), boundary probabilities and boundaries, of one whole forward."""
    with torch.no_grad():
        output = model(torch.tensor([["ACGT".index(base) for base in text]]))
    first = torch.zeros(1, 4, dtype=output.logits.dtype)
    log2p = torch.log_softmax(torch.cat([first, output.logits[0, :-1, :4]]), dim=-1) / math.log(2)
    stage = output.stages[0]
    return log2p.numpy(), stage.boundary_prob[0].numpy(), stage.boundary_mask[0].numpy()


def total(log2p: np.ndarray, text: str) -> float:
    return float(sum(row["ACGT".index(base)] for row, base in zip(log2p, text, strict=True)))


def slow(
    model: HNetLM, text: str, start: int, end: int, alt: str, after: int, *, begin: int = 0
) -> tuple[float, np.ndarray, tuple[int, int, float, int]]:
    """Ratio, log2 p at the first base, and shift within 5 bases of a substitution, reading forward from `begin`."""
    stop = end + after
    reference, other = text[begin:stop], text[begin:start] + alt + text[end:stop]
    (log2p, prob, mask), (log2p_alt, prob_alt, mask_alt) = forward(model, reference), forward(model, other)
    at = start - begin
    ratio = total(log2p_alt[at:], other[at:]) - total(log2p[at:], reference[at:])
    if len(alt) != end - start:
        return ratio, log2p[at], (0, 0, 0.0, 0)
    near = slice(at, end - begin + 5)
    change = prob_alt[near] - prob[near]
    where = int(np.abs(change).argmax())
    lost, gained = (mask[near] & ~mask_alt[near]).sum(), (mask_alt[near] & ~mask[near]).sum()
    return ratio, log2p[at], (int(lost), int(gained), float(change[where]), where - (end - start) + 1)


def test_mutations_are_those_of_whole_sequences(genome: Genome, model: HNetLM) -> None:
    (mutations,) = mutate("a:21-28", genome, model, deletions=True, window=24, boundaries=5, context=100)
    turned = TEXT.translate(COMPLEMENT)[::-1]
    assert mutations.interval == Interval("a", 20, 28)
    assert mutations.boundaries is not None
    for row, place in enumerate(range(20, 28)):
        mirrored = len(TEXT) - 1 - place
        own = "ACGT".index(TEXT[place])
        assert math.isnan(mutations.llr[row, own])
        entropies = []
        for mutant, alt in enumerate("ACGT"):
            if mutant == own:
                continue
            results = [
                slow(model, TEXT, place, place + 1, alt, 12),
                slow(model, turned, mirrored, mirrored + 1, alt.translate(COMPLEMENT), 12),
            ]
            assert mutations.llr[row, mutant] == pytest.approx(np.mean([one[0] for one in results]), abs=1e-5)
            entropies = [-(2.0 ** one[1] * one[1]).sum() for one in results]
            for strand, (_, _, shift) in enumerate(results):
                where = strand, row, mutant
                b = mutations.boundaries
                assert (b.lost[where], b.gained[where], b.distance[where]) == (shift[0], shift[1], shift[3])
                assert b.change[where] == pytest.approx(shift[2], abs=1e-6)
        assert mutations.entropy[row] == pytest.approx(np.mean(entropies), abs=1e-5)
    # The deletion as VCF has it, with the base before.
    deletions = [("a", place - 1, TEXT[place - 1 : place + 1], TEXT[place - 1]) for place in (20, 27)]
    expected = score_variants(deletions, genome, model, window=24, context=100)
    np.testing.assert_allclose(mutations.llr[[0, 7], 4], expected, atol=1e-6)
    shares = mutations.boundaries.share
    largest = np.abs(mutations.boundaries.change).max(axis=0)
    best = np.unravel_index(np.nanargmax(largest[:, :4]), (8, 4))
    assert shares[best] == pytest.approx(1 / 24)
    assert np.nanmax(shares[:, :4]) == np.nanmax(shares[:, 4]) == 1
    assert mutations.effect[0] == pytest.approx(np.nansum(mutations.llr[0, :4]) / 3)


@pytest.mark.parametrize("kind", ["small", "k-mers", "global attention", "memory"])
def test_one_context_gives_the_scores_of_windows(genome: Genome, model: HNetLM, kind: str) -> None:
    """Where windows reach the ends of the contig, both ways read the same bases; indels and long alleles, too."""
    if kind == "k-mers":
        model = lively_model(ModelConfig.from_dict({**ONE_STAGE, "arch_layout": ["m1t1"], "kmer": 3}))
    elif kind == "global attention":
        attention = {"num_heads": [3, 3, 5], "rotary_emb_dim": [4, 0, 4], "window_size": [-1, 5, -1]}
        model = lively_model(small_config(attn_cfg=attention))
    elif kind == "memory":
        model = lively_model(small_config(memory_cfg={"table_orders": [3], "table_width": 4, "word_orders": [8]}))
    given = [("a", place, TEXT[place], "ACGT".replace(TEXT[place], "")[0]) for place in (0, 1, 12, 13, 69)]
    given += [("a", 30, TEXT[30:33], TEXT[30]), ("a", 31, TEXT[31], TEXT[31] + "ACGTACGTAC")]
    given += [("a", 5, TEXT[5:45], TEXT[5]), ("a", 12, TEXT[12:14], "TTT")]
    for strand in ("+", "-", "both"):
        windows = score_variants(given, genome, model, window=200, strand=strand)
        shared = score_variants(given, genome, model, window=200, strand=strand, context=200)
        np.testing.assert_allclose(shared, windows, atol=1e-6)


def test_what_is_read_before_a_variant_depends_on_its_place(
    genome: Genome, model: HNetLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`context` bases before a multiple of the cell on each strand, within the stretch; whatever else is scored."""
    monkeypatch.setattr(effects, "_CELL", 32)
    places = [3, 64, 70, 101, 149, 152, 200, 241]
    given = [("b", place, GAPPED[place], "A" if GAPPED[place] != "A" else "C") for place in places]
    together = score_variants(given, genome, model, window=20, context=10)
    for one, actual in zip(given, together, strict=True):
        assert actual == pytest.approx(score_variants([one], genome, model, window=20, context=10)[0], abs=1e-6)
        place, alt = one[1], one[3]
        left, right = (0, 150) if place < 150 else (152, 242)
        stretch = GAPPED[left:right]
        begin = max(place // 32 * 32 - 10 - left, 0)
        forth, _, _ = slow(model, stretch, place - left, place + 1 - left, alt, 10, begin=begin)
        turned, end = stretch.translate(COMPLEMENT)[::-1], -(-(place + 1) // 32) * 32 + 10
        mirrored = right - 1 - place
        back, _, _ = slow(
            model, turned, mirrored, mirrored + 1, alt.translate(COMPLEMENT), 10, begin=max(right - end, 0)
        )
        assert actual == pytest.approx((forth + back) / 2, abs=1e-6)


def test_ambiguity_codes_in_the_reference_count_as_their_letter(model: HNetLM, tmp_path: Path) -> None:
    text = TEXT[:30] + "R" + TEXT[31:]
    genome = open_genome(write_fasta(tmp_path / "r.fa", {"a": text}))
    given = [("a", 30, "A", "C"), ("a", 33, text[33], "A" if text[33] != "A" else "C")]
    windows, shared = (score_variants(given, genome, model, window=200, context=context) for context in (None, 200))
    np.testing.assert_allclose(shared, windows, atol=1e-6)


@pytest.mark.parametrize("boundaries_only", [False, True])
def test_batches_and_single_bases_change_nothing(
    genome: Genome, monkeypatch: pytest.MonkeyPatch, boundaries_only: bool
) -> None:
    model = lively_model(small_config(memory_cfg={"table_orders": [3], "table_width": 4})).float()
    given = [
        Variant(Interval("b", place, place + 1), GAPPED[place], tuple(base for base in "ACGT" if base != GAPPED[place]))
        for place in range(90, 110)
    ]
    how = How(20, "both", 40, 6, boundaries_only)
    plain = list(VariantReader(genome, model, how).read(given))
    monkeypatch.setattr(branches, "_BATCH_BASES", 40)
    monkeypatch.setattr(variants, "_SHARED_BASES", 300)
    monkeypatch.setattr(branches.Branches, "stride", 7)
    in_batches = list(VariantReader(genome, model, how).read(given))
    monkeypatch.setattr(effects, "_SCATTERED", 0)
    monkeypatch.setattr(effects, "_GRID", 6)
    on_a_grid = list(VariantReader(genome, model, how).read(given))
    for one, other in zip(plain * 2, in_batches + on_a_grid, strict=True):
        np.testing.assert_allclose(one.llr, other.llr, atol=1e-4)
        np.testing.assert_allclose(one.largest_changes, other.largest_changes, atol=1e-5)
        assert len(one.shifts) == 3
        assert [len(strands) for strands in one.shifts] == [2, 2, 2]
    assert math.isnan(plain[0].llr[0]) == boundaries_only


def test_shifts_of_indels_compare_what_both_have(genome: Genome, model: HNetLM) -> None:
    """A deletion of two bases: what comes after it, base for base."""
    start, ref = 30, TEXT[30:33]
    variant = Variant(Interval("a", start, start + 3), ref, (ref[0],))
    (effects,) = VariantReader(genome, model, How(200, "+", None, 8)).read([variant])
    ((shift,),) = effects.shifts
    place = start
    while TEXT[place] == TEXT[place + 2]:  # leftmost
        place -= 1
    (_, prob, mask), (_, prob_alt, mask_alt) = (
        forward(model, TEXT),
        forward(model, TEXT[: start + 1] + TEXT[start + 3 :]),
    )
    begin = place + 3
    change = prob_alt[begin - 2 : begin + 6] - prob[begin : begin + 8]
    at = int(np.abs(change).argmax())
    assert shift == Shift(
        int((mask[begin : begin + 8] & ~mask_alt[begin - 2 : begin + 6]).sum()),
        int((mask_alt[begin - 2 : begin + 6] & ~mask[begin : begin + 8]).sum()),
        pytest.approx(change[at], abs=1e-6),  # type: ignore[arg-type]
        at + 1,
    )


def test_controls_are_the_same_change_nearby(genome: Genome) -> None:
    places = [place for place, base in enumerate(GAPPED) if base == "C"]
    middle = places[len(places) // 2]
    snv = Variant(Interval("b", middle, middle + 1), "C", ("T",))
    nearby = controls(genome, snv, "T", 4)
    index = places.index(middle)
    assert [one.interval.start for one in nearby] == [places[index + step] for step in (-2, -1, 1, 2)]
    assert {(one.ref, one.alts) for one in nearby} == {("C", ("T",))}
    first = Variant(Interval("b", places[0], places[0] + 1), "C", ("CA",))
    assert [one.interval.start for one in controls(genome, first, "CA", 3)] == places[1:4]
    deletion = Variant(Interval("b", middle, middle + 3), GAPPED[middle : middle + 3], ("C",))
    for one in controls(genome, deletion, "C", 6):
        assert GAPPED[one.interval.start : one.interval.end] == one.ref
        assert len(one.ref) == 3
        assert "N" not in one.ref


def test_mutate_writes_table_track_and_picture(cli: Cli, genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    copy.deepcopy(model).float().save_pretrained(tmp_path / "m")
    (tmp_path / "r.bed").write_text("b\t144\t152\nb\t150\t155\na\t0\t3\n")
    common = ["mutate", "--genome", genome.source, "--model", tmp_path / "m", "--window", 20, "--context", 50]
    result = cli(*common, "--bed", tmp_path / "r.bed", "--out", tmp_path / "m.parquet", "--bigwig", tmp_path / "m.bw")
    assert result.exit_code == 0, result.output
    table = pq.read_table(str(tmp_path / "m.parquet")).to_pydict()
    assert len(table["llr"]) == 3 * (3 + 9)
    assert list(table)[:7] == ["chrom", "start", "end", "ref", "alt", "llr", "entropy"]
    assert {"lost_plus", "distance_minus", "boundary_share"} < set(table)
    with pyBigWig.open(str(tmp_path / "m.bw")) as track:
        assert track.chroms() == {"a": 70, "b": 242}
        rows = [row for row, start in enumerate(table["start"]) if (table["chrom"][row], start) == ("b", 149)]
        assert track.values("b", 149, 150)[0] == pytest.approx(sum(table["llr"][row] for row in rows) / 3, abs=1e-4)
        assert math.isnan(track.values("b", 150, 151)[0])
    picture = tmp_path / "p.svg"
    (tmp_path / "g.bed").write_text("b\t100\t120\tgene1\n")
    result = cli(
        *common, "b:101-110", "--out", tmp_path / "m.tsv", "--plot", picture, "--annotation", tmp_path / "g.bed",
        "--deletions", "--boundaries", 0,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    alone = cli(*common, "b:101-110", "--plot", tmp_path / "alone.svg")  # a picture needs no table
    assert f"wrote {tmp_path / 'alone.svg'}: 30 mutations" in alone.stderr, alone.output
    title = f"b:101-110  ({genome.source.name}, model m)"
    assert all(title in path.read_text() for path in (picture, tmp_path / "alone.svg"))
    lines = (tmp_path / "m.tsv").read_text().splitlines()
    assert lines[0] == "chrom\tstart\tend\tref\talt\tllr\tentropy"
    assert len(lines) == 1 + 4 * 10
    assert "position on b" in picture.read_text()
    for extra, message in (
        (["--bed", tmp_path / "r.bed", "--plot", picture], "--plot: a picture shows one region; there are 2"),
        (["a:1-5", "--boundaries", 10], "--boundaries: expected fewer bases than half a window has (10), got 10"),
        (["a:1-5", "--bed", tmp_path / "r.bed"], "name regions as REGION... or by --bed"),
        (["b:151-152"], "b:151-152 has no A, C, G or T, so there is nothing to mutate"),
    ):
        assert message in one_line_error(cli(*common, *extra, "--out", tmp_path / "x.tsv"))
    assert not (tmp_path / "x.tsv").exists()


def test_models_without_chunks(genome: Genome) -> None:
    plain = lively_model(ModelConfig.from_dict({**ONE_STAGE, "arch_layout": ["m1t1"]}))
    (mutations,) = mutate("a:1-3", genome, plain, window=20)
    assert mutations.boundaries is None
    assert np.isfinite(mutations.llr).sum() == 9
    with pytest.raises(UsageError, match="`boundaries`: this model has no chunks"):
        list(mutate("a:1-3", genome, plain, window=20, boundaries=4))
    with pytest.raises(SequenceError, match="ends past"):
        list(mutate("a:1-3000", genome, plain))


def test_dependencies_against_whole_sequences(
    cli: Cli, genome: Genome, model: HNetLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest change of the log odds at each base by a change of each other, forward and backward."""
    monkeypatch.setattr(branches, "_BATCH_BASES", 50)  # several batches
    start, end = 12, 24
    matrix = dependencies(Interval("a", start, end), genome, model).matrix

    def log_odds(text: str) -> np.ndarray:
        p = np.exp2(forward(model, text)[0])
        odds: np.ndarray = np.log2(p / (1 - p))
        return odds

    expected = np.zeros((12, 12))
    turned = TEXT.translate(COMPLEMENT)[::-1]
    for text, mirrored in ((TEXT, False), (turned, True)):
        before = log_odds(text)
        for i in range(12):
            at = len(TEXT) - 1 - (start + i) if mirrored else start + i
            others = [log_odds(text[:at] + base + text[at + 1 :]) for base in "ACGT" if base != text[at]]
            change = np.max([np.abs(other - before).max(axis=1) for other in others], axis=0)
            for j in range(i) if mirrored else range(i + 1, 12):
                expected[i, j] = change[len(TEXT) - 1 - (start + j) if mirrored else start + j]
    np.testing.assert_allclose(matrix, expected, atol=1e-4)
    copy.deepcopy(model).float().save_pretrained(tmp_path / "m")
    common = ["mutate", "--genome", genome.source, "--model", tmp_path / "m"]
    result = cli(*common, "a:13-24", "--dependencies", tmp_path / "d.npz", "--dependencies", tmp_path / "d.svg")
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "d.npz") as saved:
        np.testing.assert_allclose(saved["matrix"], expected, atol=1e-2)
        assert (str(saved["contig"]), int(saved["start"]), int(saved["end"])) == ("a", 12, 24)
    assert "predicted base: position on a" in (tmp_path / "d.svg").read_text()
    for extra, message in (
        (
            ["b:140-160", "--dependencies", tmp_path / "x.npz"],
            "b:140-160 has N in it; dependencies need a region without",
        ),
        (["a:1-5", "--dependencies", tmp_path / "x.tsv"], "expected a name that ends in .npz, .png, .svg, .pdf"),
        (["a:1-5"], "say what to write: --out, --bigwig, --plot or --dependencies"),
    ):
        assert message in one_line_error(cli(*common, *extra))


def test_processes_give_the_same_in_order_and_one_that_dies_is_named(
    genome: Genome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model with counted words has to reach them, too."""
    model = lively_model(small_config(memory_cfg={"word_orders": [8]}))
    given = [
        Variant(Interval("b", place, place + 1), GAPPED[place], ("A" if GAPPED[place] != "A" else "C",))
        for place in (200, 20, 60, 61, 140)
    ]
    one = [effects.llr for effects in VariantReader(genome, model, How(20)).read(given)]
    monkeypatch.setattr(variants, "_TASK_BASES", 300)  # one variant for each task
    counts: list[int] = []
    with VariantReader(genome, model, How(20), jobs=2) as reader:
        ratios = [effects.llr for effects in reader.read(given, on_variants=counts.append)]
        np.testing.assert_allclose(ratios, one, atol=1e-9)
        assert counts == [1] * 5
        for child in reader._children:
            child.kill()
            child.join()
        with pytest.raises(HNetError, match=r"has ended before its time.* Fewer `jobs` need less"):
            list(reader.read(given))
