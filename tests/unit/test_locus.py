"""A locus as the engine reads it, its picture, and how regions are written."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import lively_model, one_line_error, random_dna, small_config, write_fasta
from typer.testing import Result

from hnet_dna.annotation.reader import Feature, read_features
from hnet_dna.annotation.regions import Region, parse_region
from hnet_dna.errors import HNetError, SequenceError, UsageError
from hnet_dna.explanation.statistics.locus import CONTEXT, LONGEST, SHOWN, annotation_of, around, read_locus, typical
from hnet_dna.genome.genome import Genome, whole
from hnet_dna.genome.open import open_genome
from hnet_dna.genome.pieces import forward_pieces
from hnet_dna.inference.stream import annotate
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval

GFF = (
    "c\tx\tgene\t11\t60\t.\t+\t.\tID=g1;Name=ABC1\n"
    "c\tx\tCDS\t11\t30\t.\t+\t0\tParent=g1\n"
    "c\tx\tCDS\t41\t60\t.\t+\t1\tParent=g1\n"
    "c\tx\tgene\t81\t300\t.\t-\t.\tID=g2\n"
    "c\tx\ttRNA\t90\t100\t.\t-\t.\tID=t\n"
)


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    text = random_dna(120) + "N" * 5 + random_dna(375, 1)
    return open_genome(write_fasta(tmp_path / "g.fa", {"c": text, "HLA:A": random_dna(50)}))


@pytest.fixture(scope="module")
def model() -> HNetLM:
    return lively_model(small_config()).float()


@pytest.mark.parametrize(
    ("text", "start", "end"), [("c:1-500", 0, 500), ("c:7-7", 6, 7), ("c:1,0-1,00", 9, 100), ("HLA:A:2-50", 1, 50)]
)
def test_regions_count_from_one(text: str, start: int, end: int, genome: Genome) -> None:
    assert parse_region(text, genome) == Interval(text.rpartition(":")[0], start, end)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("c", UsageError, "expected contig:start-end"),
        ("c:5", UsageError, "expected contig:start-end"),
        ("c:-5-7", UsageError, "expected contig:start-end"),
        ("c:0-5", UsageError, "counted from 1"),
        ("c:9-5", UsageError, "start 9, end 5"),
        ("c:1-501", SequenceError, "c has 500 bases in g.fa"),
        ("d:1-5", SequenceError, "no contig d"),
    ],
)
def test_regions_that_are_none(text: str, error: type[HNetError], words: str, genome: Genome) -> None:
    with pytest.raises(error, match=words):
        parse_region(text, genome)


def test_locus_is_what_the_engine_reads(genome: Genome, model: HNetLM) -> None:
    """At less than the context from the contig's start, a locus is a slice of the whole reading."""
    contig = genome["c"]
    bits, probs, begins = np.full(500, np.nan), np.full((2, 500), np.nan), np.zeros((2, 500), dtype=bool)
    for bases in annotate(forward_pieces(genome, [whole(contig)]), model):
        bits[bases.start : bases.end] = bases.bits
        for stage, read in enumerate(bases.stages):
            probs[stage, read.position] = read.prob
            begins[stage, read.position[read.mask]] = True
    probs[:, [0, 125]] = np.nan  # chunks by definition
    locus = read_locus(model, genome, Interval("c", 50, 400))
    np.testing.assert_allclose(locus.bits, bits[50:400], rtol=1e-5)
    assert np.isnan(locus.bits[70:75]).all()
    for stage, track in enumerate(locus.stages):
        np.testing.assert_allclose(track.prob, probs[stage, 50:400], rtol=1e-5)
        shown = track.start[track.start >= 50]
        assert shown.tolist() == (50 + np.flatnonzero(begins[stage, 50:400])).tolist()
        # Chunks tile the locus but for the run of N.
        covered = np.zeros(500, dtype=int)
        for start, end in zip(track.start.tolist(), track.end.tolist(), strict=True):
            covered[start:end] += 1
        assert covered[50:400].tolist() == [1] * 70 + [0] * 5 + [1] * 275
        assert track.end[0] > 50


def test_locus_of_all_n_and_one_too_long(genome: Genome, model: HNetLM) -> None:
    locus = read_locus(model, genome, Interval("c", 121, 124))
    assert np.isnan(locus.bits).all()
    assert [len(track.start) for track in locus.stages] == [0, 0]
    with pytest.raises(UsageError, match="give 2,000,000 or fewer"):
        read_locus(model, genome, Interval("c", 0, LONGEST + 1))


def test_context_is_what_a_locus_begins_with(tmp_path: Path, model: HNetLM) -> None:
    text = random_dna(CONTEXT + 300)
    long = open_genome(write_fasta(tmp_path / "long.fa", {"c": text}))
    short = open_genome(write_fasta(tmp_path / "short.fa", {"c": text[200:]}))
    locus = read_locus(model, long, Interval("c", CONTEXT + 200, CONTEXT + 300))
    same = read_locus(model, short, Interval("c", CONTEXT, CONTEXT + 100))
    np.testing.assert_array_equal(locus.bits, same.bits)


def test_transposons_have_their_own_names(genome: Genome) -> None:
    """By the attributes of NCBI and of GenBank files; those without one keep the name of their kind, and meet there."""
    lines = [
        ("mobile_genetic_element", 10, "ID=id-c:1..9;Name=x;mobile_element_type=transposon:INE-1"),
        ("mobile_element", 30, "mobile_element=IS1"),
        ("LTR_retrotransposon", 50, "ID=Y1;Name=Ty1"),
        ("MITE", 70, "ID=m1"),
        ("MITE", 75, "ID=m2"),
        ("tRNA", 90, "Name=trnA"),
    ]
    features = [Feature(kind, Interval("c", start, start + 9), attributes=text) for kind, start, text in lines]
    _, others = annotation_of(Interval("c", 0, 100), genome, features)
    found = {name: [(part.start, part.end) for part in parts] for name, parts in others.items()}
    assert found == {"transposon:INE-1": [(10, 19)], "IS1": [(30, 39)], "Ty1": [(50, 59)], "MITE": [(70, 84)],
                     "tRNA": [(90, 99)]}  # fmt: skip


def test_typical_loci_have_the_median_length(genome: Genome) -> None:
    def lines(kind: str, *pairs: tuple[int, int]) -> list[Feature]:
        return [Feature(kind, Interval("c", start, end)) for start, end in pairs]

    features = lines("LTR", (0, 10), (20, 50), (60, 80)) + lines("other", (200, 300))
    repeats = [Region(Interval("c", 300, 310), "Alu", 1)]
    read = [Interval("c", 0, 100), Interval("c", 290, 500)]
    loci = typical(["Alu", "LTR", "other", "none"], features, repeats, genome, read)
    assert loci == {"Alu": Interval("c", 300, 310), "LTR": Interval("c", 60, 80), "other": Interval("c", 290, 300)}
    assert list(typical(["none", "LTR", "Alu", "other"], features, repeats, genome, read, most=2)) == ["LTR", "Alu"]
    assert around(Interval("c", 60, 80), genome) == whole(genome["c"])


def test_surroundings_stay_inside_the_contig(tmp_path: Path) -> None:
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"c": "ACGT" * 3000}))
    assert around(Interval("c", 6000, 6100), genome) == Interval("c", 4050, 8050)
    assert around(Interval("c", 10, 20), genome) == Interval("c", 0, SHOWN)
    assert around(Interval("c", 11_900, 11_990), genome) == Interval("c", 12_000 - SHOWN, 12_000)
    assert around(Interval("c", 100, 9000), genome) == Interval("c", 100, 100 + SHOWN)


@pytest.fixture
def command(tmp_path: Path, genome: Genome, model: HNetLM) -> list[object]:
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "genes.gff3").write_text(GFF)
    assert len(read_features(tmp_path / "genes.gff3", genome)) == 5
    arguments = ["--genome", tmp_path / "g.fa", "--model", tmp_path / "model", "--annotation", tmp_path / "genes.gff3"]
    return ["plot", *arguments, "--out"]


def test_picture(cli: Callable[..., Result], tmp_path: Path, command: list[object], genome: Genome) -> None:
    result = cli(*command, tmp_path / "near.svg", "c:1-100")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    text = (tmp_path / "near.svg").read_text()
    for words in ("ABC1 &gt;", "&lt; g2", "tRNA", "chunks, stage 0", "chunks, stage 1", "bits", "boundary"):
        assert words in text
    assert "position on c (bases, the first is 1)" in text
    letters = sum(text.count(f">{letter}</text>") for letter in "ACGT")
    assert letters == 100
    assert cli(*command, tmp_path / "near.svg", "c:1-100").exit_code == 0
    # Ids of clip paths hang on how the layout rounds.
    again = (tmp_path / "near.svg").read_text()
    assert re.sub("p[0-9a-f]{10}", "", again) == re.sub("p[0-9a-f]{10}", "", text)
    assert cli(*command, tmp_path / "far.png", "c:1-500").exit_code == 0
    assert (tmp_path / "far.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_but_n_is_not_drawn(cli: Callable[..., Result], tmp_path: Path, command: list[object]) -> None:
    result = cli(*command, tmp_path / "n.svg", "c:121-125")
    assert result.exit_code == 1, result.output
    assert not (tmp_path / "n.svg").exists()
    assert "c:121-125 has no A, C, G or T" in one_line_error(result)


def test_far_picture_gives_means(genome: Genome, tmp_path: Path, model: HNetLM) -> None:
    from hnet_dna.explanation.figures.drawing import svg
    from hnet_dna.explanation.figures.locus import draw_locus

    far = open_genome(write_fasta(tmp_path / "far.fa", {"c": random_dna(3000) + "N" * 40}))
    text = svg(draw_locus(read_locus(model, far, Interval("c", 0, 3040)), "title"))
    assert "mean of 6" in text
    assert "bases per chunk" in text


@pytest.mark.parametrize(
    ("name", "region", "code", "words"),
    [
        ("a.svg", "c:400-600", 1, "ends past the contig"),
        ("a.svg", "c400-600", 2, "expected contig:start-end"),
        ("a.jpg", "c:1-100", 2, "ends in .png, .svg, .pdf"),
    ],
)
def test_picture_that_cannot_be(
    name: str, region: str, code: int, words: str, cli: Callable[..., Result], tmp_path: Path, command: list[object]
) -> None:
    result = cli(*command, tmp_path / name, region)
    assert result.exit_code == code
    assert words in one_line_error(result)
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".tmp" or path.name == name]


def test_without_matplotlib(
    cli: Callable[..., Result], tmp_path: Path, command: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = cli(*command, tmp_path / "a.svg", "c:1-100")
    assert result.exit_code == 2
    assert "pip install 'hnet-dna[plot]'" in one_line_error(result)
    assert "needs --genome" in one_line_error(cli("plot", "c:1-100"))
    explain = ["explain", *command[1:-1], "--out", tmp_path / "report"]
    assert "--no-page" in one_line_error(cli(*explain))
