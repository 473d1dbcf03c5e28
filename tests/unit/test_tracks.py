"""Chunks and values on their way into files, read back by independent readers."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest
from helpers import lively_model, random_dna, small_config, write_fasta

from hnet_dna.errors import HNetError, UsageError
from hnet_dna.genome.fasta import read_fasta
from hnet_dna.genome.genome import Genome, whole
from hnet_dna.genome.open import open_genome
from hnet_dna.inference.strands import read_strands
from hnet_dna.inference.stream import annotate
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval
from hnet_dna.tracks.bgzip import indexed
from hnet_dna.tracks.segment import Segmenter, segment
from hnet_dna.tracks.values import Values

RECORDS = {
    "chr2": random_dna(300) + "N" * 20 + random_dna(81, 1).lower(),
    "chr10": random_dna(150, 2),
    "n": "NNNN",
    "chr1": "ACG",
}
Row = list[str]


@pytest.fixture(scope="module")
def model() -> HNetLM:
    return lively_model(small_config()).float()


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    return open_genome(write_fasta(tmp_path / "g.fa", RECORDS))


def rows(genome: Genome, model: HNetLM, strand: str = "+", piece: int = 50, **options: object) -> list[Row]:
    stream = io.StringIO()
    segmenter = Segmenter(model, stream, piece=piece, **options)  # type: ignore[arg-type]
    count = segmenter.run_strands(genome, [whole(c) for c in genome.contigs], strand)  # type: ignore[arg-type]
    lines = stream.getvalue().splitlines()
    assert count == len(lines)
    return [line.split("\t") for line in lines]


def covered(lines: list[Row]) -> dict[str, list[int]]:
    depth = {name: [0] * len(sequence) for name, sequence in RECORDS.items()}
    for contig, start, end, *_ in lines:
        for base in range(int(start), int(end)):
            depth[contig][base] += 1
    return depth


@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize("piece", [1, 37, 1000])
def test_chunks_tile(genome: Genome, model: HNetLM, strand: str, stage: int, piece: int) -> None:
    lines = rows(genome, model, strand, piece, stage=stage)
    assert covered(lines) == {n: [int(base != "N") for base in s.upper()] for n, s in RECORDS.items()}
    assert {line[5] for line in lines} == {strand}
    assert [line[0] for line in lines] == sorted((line[0] for line in lines), key=list(RECORDS).index)
    names = [line[3] for line in lines if line[0] == "chr2"]
    expected = [f"stage{stage}_{index}" for index in range(len(names))]
    assert names == (expected if strand == "+" else expected[::-1])
    assert lines == rows(genome, model, strand, 64, stage=stage)


def test_reverse_strand_is_the_forward_of_the_reverse_complement(model: HNetLM, tmp_path: Path) -> None:
    text = random_dna(201, 5)
    flipped = text.translate(str.maketrans("ACGT", "TGCA"))[::-1]
    there = open_genome(write_fasta(tmp_path / "f.fa", {"c": flipped}))
    here = open_genome(write_fasta(tmp_path / "g.fa", {"c": text}))
    forward, reverse = rows(there, model), rows(here, model, "-")
    assert [(201 - int(e), 201 - int(s), n, p) for _, s, e, n, p, _ in forward[::-1]] == [
        (int(s), int(e), n, p) for _, s, e, n, p, _ in reverse
    ]


@pytest.mark.parametrize("style", ["chunks", "points"])
def test_both_strands_are_merged_in_order(genome: Genome, model: HNetLM, style: str) -> None:
    both = rows(genome, model, "both", 11, style=style)
    keys = [(list(RECORDS).index(line[0]), int(line[1]), int(line[2])) for line in both]
    assert keys == sorted(keys)
    for strand in "+-":
        alone = rows(genome, model, strand, style=style)
        assert sorted(line for line in both if line[5] == strand) == sorted(alone)


def test_points_are_first_bases_as_read(genome: Genome, model: HNetLM) -> None:
    for strand in "+-":
        chunks, points = rows(genome, model, strand), rows(genome, model, strand, style="points")
        first = [int(c[1]) if strand == "+" else int(c[2]) - 1 for c in chunks]
        assert [int(p[1]) for p in points] == first
        assert all(int(p[2]) - int(p[1]) == 1 for p in points)


@pytest.mark.parametrize("strand", ["+", "-"])
def test_nested_blocks_are_the_chunks_outside(genome: Genome, model: HNetLM, strand: str) -> None:
    nested = rows(genome, model, strand, 23, stage=1, style="nested")
    plain = rows(genome, model, strand, stage=1)
    assert [line[:6] for line in nested] == plain
    blocks = []
    for line in nested:
        start, sizes, offsets = int(line[1]), line[10].split(","), line[11].split(",")
        assert len(sizes) == len(offsets) == int(line[9])
        assert line[6:9] == [line[1], line[2], "0"]
        assert offsets[0] == "0"
        assert int(offsets[-1]) + int(sizes[-1]) == int(line[2]) - start
        blocks += [(line[0], start + int(o), start + int(o) + int(s)) for o, s in zip(offsets, sizes, strict=True)]
    assert blocks == [(c, int(s), int(e)) for c, s, e, *_ in rows(genome, model, strand, stage=0)]
    with pytest.raises(UsageError, match="nested chunks need an inner stage"):
        Segmenter(model, io.StringIO(), style="nested")


def test_regions_are_read_on_their_own(genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    stream = io.StringIO()
    Segmenter(model, stream).run_strands(genome, [Interval("chr2", 100, 200), Interval("chr10", 0, 9)], "+")
    alone = open_genome(write_fasta(tmp_path / "r.fa", {"chr2": RECORDS["chr2"][100:200]}))
    expected = [(int(s) + 100, int(e) + 100) for _, s, e, *_ in rows(alone, model)]
    written = [line.split("\t") for line in stream.getvalue().splitlines()]
    assert [(int(s), int(e)) for c, s, e, *_ in written if c == "chr2"] == expected


@pytest.mark.parametrize("stage", [0, 1])
def test_bigwig_by_two_other_readers(genome: Genome, model: HNetLM, tmp_path: Path, stage: int) -> None:
    bbi = pytest.importorskip("bbi")
    pybigtools = pytest.importorskip("pybigtools")
    path = tmp_path / "p.bw"
    with Values() as plus, Values() as minus:
        rows(genome, model, "both", 33, stage=stage, plus=plus, minus=minus)
        plus.write_bigwig(path)
        minus.write_bigwig(tmp_path / "m.bw")
    expected = {name: np.full(len(sequence), np.nan) for name, sequence in RECORDS.items()}
    for bases in annotate(read_fasta(genome.source), model):
        expected[bases.contig][bases.stages[stage].position] = bases.stages[stage].prob
    with pybigtools.open(str(path)) as second:
        sizes = second.chroms()
        for name, values in expected.items():
            assert sizes[name] == len(values)
            ours = bbi.fetch(str(path), name, 0, len(values), missing=np.nan, oob=np.nan)
            np.testing.assert_allclose(ours, values, atol=1e-6)
            np.testing.assert_array_equal(second.values(name, fillna=np.nan), ours)
    (reverse,) = read_strands(genome, [whole(genome["chr10"])], model, "-", stages=stage + 1)
    assert reverse.minus is not None
    position = reverse.minus.stages[stage]
    read = bbi.fetch(str(tmp_path / "m.bw"), "chr10", 0, 150, missing=np.nan)
    np.testing.assert_allclose(read[position.position], position.prob, atol=1e-6)
    assert np.count_nonzero(~np.isnan(read)) == len(position.position)


def test_large_bigwig_has_exact_values_and_zoom_levels(tmp_path: Path) -> None:
    """Over several blocks, with gaps, contigs given in an order that is not the file's."""
    bbi = pytest.importorskip("bbi")
    random = np.random.default_rng(0)
    values = random.random(700_000).astype(np.float32)
    values[300_000:300_100] = np.nan
    with Values() as track:
        track.contig("chr2", 700_050)
        track.contig("chr10", 5)
        for start in range(0, 700_000, 99_999):
            track.add("chr2", start, values[start : start + 99_999])
        track.add("chr10", 3, np.array([0.5], dtype=np.float32))
        track.write_bigwig(tmp_path / "x.bw")
        track.write_bedgraph(tmp_path / "x.bedgraph")
    info = bbi.info(str(tmp_path / "x.bw"))
    assert bbi.chromsizes(str(tmp_path / "x.bw")) == {"chr10": 5, "chr2": 700_050}
    assert info["summary"]["basesCovered"] == 699_901
    assert info["zoomLevels"] > 0
    read = bbi.fetch(str(tmp_path / "x.bw"), "chr2", 0, 700_050, missing=np.nan)
    np.testing.assert_array_equal(read[:700_000].astype(np.float32), values)
    assert np.isnan(read[700_000:]).all()
    lines = (tmp_path / "x.bedgraph").read_text().splitlines()
    assert lines[0].startswith("chr2\t0\t1\t")
    assert lines[-1] == "chr10\t3\t4\t0.5"
    assert sum(int(e) - int(s) for _, s, e, _ in (line.split("\t") for line in lines)) == 699_901


def test_values_refuse_what_would_break_a_file(tmp_path: Path) -> None:
    with Values() as track:
        track.add("a", 10, np.ones(5, dtype=np.float32))
        with pytest.raises(ValueError, match="overlap"):
            track.add("a", 14, np.ones(1, dtype=np.float32))
        with pytest.raises(ValueError, match="not finite"):
            track.add("a", 15, np.array([np.inf]))
    with Values() as nothing, pytest.raises(HNetError, match="nothing to write"):
        nothing.write_bigwig(tmp_path / "x.bw")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("tabix") is None, reason="tabix is not installed")
@pytest.mark.parametrize("end", [500, (1 << 29) + 10])
def test_bgzip_is_indexed(tmp_path: Path, end: int) -> None:
    path = tmp_path / "x.bed.gz"
    with indexed(path, "bed") as stream:
        stream.write(f"chr1\t0\t10\tx\t0\t+\nchr1\t400\t{end}\ty\t0\t+\n")
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {"x.bed.gz", "x.bed.gz.tbi" if end == 500 else "x.bed.gz.csi"}
    done = subprocess.run(["tabix", str(path), "chr1:451-460"], capture_output=True, text=True, check=True)
    assert done.stdout.split("\t")[3] == "y"
    assert gzip.decompress(path.read_bytes()).startswith(b"chr1\t0\t10")
    (index,) = tmp_path.glob("x.bed.gz.*")
    assert pysam.TabixFile(str(path), index=str(index)).contigs == ["chr1"]


def test_bgzip_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), indexed(tmp_path / "x.bed.gz", "bed") as stream:
        stream.write(f"chr1\t0\t{1 / 0}\n")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match=r"should end in \.gz"), indexed(tmp_path / "x.bed", "bed"):
        pass


def test_chunks_are_features_and_tables(model: HNetLM) -> None:
    """Each feature cuts the bases of its chunk out of the record, as its strand reads."""
    pytest.importorskip("Bio")
    from Bio.Seq import Seq
    from Bio.SeqRecord import SeqRecord

    text = random_dna(120)
    record: Any = SeqRecord(Seq(text), id="c")
    flipped = text.translate(str.maketrans("ACGT", "TGCA"))[::-1]
    plus, minus = segment({"c": text}, model, strand="both")
    for chunks in (plus, minus):
        record.features = chunks.to_features()
        parts = [str(feature.extract(record).seq) for feature in record.features]
        whole_strand = text if chunks.strand == "+" else flipped
        assert "".join(parts if chunks.strand == "+" else parts[::-1]) == whole_strand
        assert [f.qualifiers["note"][0] for f in record.features] == chunks.to_pandas()["name"].tolist()


def test_the_example_with_bioframe_runs(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("bioframe")
    page = (Path(__file__).parent.parent.parent / "docs" / "api.md").read_text()
    blocks = [block.split("```")[0] for block in page.split("```python\n")[1:]]
    (code,) = [block for block in blocks if "import bioframe" in block]
    exec(code, {})
    assert capsys.readouterr().out.split()[:4] == ["size", "mean", "start_gene", "1806"]
