"""Tracks of windows, as files for a whole chromosome, and the picture of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from helpers import lively_model, random_dna, small_config, write_fasta

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.explanation.figures.karyotype import in_natural_order, plot_karyotype
from hnet_dna.genome.genome import Genome, whole
from hnet_dna.genome.open import open_genome
from hnet_dna.inference.base_scores import score
from hnet_dna.model.lm import HNetLM
from hnet_dna.tracks.merge import merge_tracks
from hnet_dna.tracks.segment import Segmenter, segment
from hnet_dna.tracks.windows import Windows, write_summary

RECORDS = {"chr2": random_dna(230) + "N" * 150 + random_dna(83, 1), "chr10": random_dna(100, 2), "n": "N" * 120}
WINDOW = 50


@pytest.fixture(scope="module")
def model() -> HNetLM:
    return lively_model(small_config()).float()


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    return open_genome(write_fasta(tmp_path / "g.fa", RECORDS))


def intervals_of(path: Path) -> dict[tuple[str, int, int], float]:
    pybigwig = pytest.importorskip("pyBigWig")
    file = pybigwig.open(str(path))
    assert file.chroms() == {name: len(sequence) for name, sequence in RECORDS.items()}
    return {(c, start, end): value for c in RECORDS for start, end, value in file.intervals(c) or ()}


def expected(of_base: dict[str, list[float]]) -> dict[tuple[str, int, int], Any]:
    """Return the mean of each window's bases other than N, one by one."""
    means = {}
    for name, sequence in RECORDS.items():
        for start in range(0, len(sequence), WINDOW):
            end = min(start + WINDOW, len(sequence))
            known = [of_base[name][i] for i in range(start, end) if sequence[i] != "N"]
            if known:
                means[name, start, end] = pytest.approx(sum(known) / len(known), rel=1e-6)
    return means


@pytest.mark.parametrize("strand", ["+", "-"])
def test_chunks_per_kilobase(genome: Genome, model: HNetLM, tmp_path: Path, strand: Any) -> None:
    """The same from a stream in small pieces as from whole chunks, and as counted one by one."""
    begins = {name: [0.0] * len(sequence) for name, sequence in RECORDS.items()}
    for chunks in segment(genome, model, strand=strand):
        for start in chunks.start.tolist():
            begins[chunks.contig][start] = 1000.0
    write_summary(segment(genome, model, strand=strand), genome, tmp_path / "whole.bw", window=WINDOW)
    assert intervals_of(tmp_path / "whole.bw") == expected(begins)
    windows = Windows(WINDOW)
    segmenter = Segmenter(model, io.StringIO(), piece=37, sinks={strand: [windows]})
    segmenter.run_strands(genome, [whole(contig) for contig in genome.contigs], strand)
    windows.write_bigwig(tmp_path / "stream.bw")
    assert (tmp_path / "stream.bw").read_bytes() == (tmp_path / "whole.bw").read_bytes()


def test_mean_bits(genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    bits = {name: [0.0] * len(sequence) for name, sequence in RECORDS.items()}
    for scores in score(genome, model):
        bits[scores.contig][scores.start : scores.end] = (-scores.log2p).tolist()
    write_summary(score(genome, model), genome, tmp_path / "bits.bw", window=WINDOW)
    assert intervals_of(tmp_path / "bits.bw") == expected(bits)
    with pytest.raises(UsageError, match="`window` 0"):
        write_summary(score(genome, model), genome, tmp_path / "bits.bw", window=0)
    with pytest.raises(UsageError, match="one strand"):
        write_summary(segment(genome, model, strand="both"), genome, tmp_path / "x.bw")


def test_merged_windows_stay_windows(model: HNetLM, tmp_path: Path) -> None:
    sequence = random_dna(2_000)
    for name in ("chr1", "chr2"):
        genome = {name: sequence}
        write_summary(segment(genome, model), genome, tmp_path / f"{name}.bw", window=300)
    merge_tracks([tmp_path / "chr1.bw", tmp_path / "chr2.bw"], tmp_path / "all.bw")
    pybigwig = pytest.importorskip("pyBigWig")
    for name in ("chr1", "chr2"):
        part, merged = (pybigwig.open(str(tmp_path / file)) for file in (f"{name}.bw", "all.bw"))
        assert merged.values(name, 0, 2_000) == part.values(name, 0, 2_000)
        assert len(merged.intervals(name)) <= len(part.intervals(name)) == 7  # neighbours of one value may be joined


def test_karyotype(genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_summary(segment(genome, model), genome, tmp_path / "x.bw", window=WINDOW)
    assert plot_karyotype(tmp_path / "x.bw", tmp_path / "x.svg", label="chunks per kb") == ["chr2", "chr10", "n"]
    picture = (tmp_path / "x.svg").read_text()
    assert all(f">{text}<" in picture for text in ("chr2", "chr10", "chunks per kb", "Mb"))
    (tmp_path / "text.bw").write_text("chr1\t0\t9\n")
    with pytest.raises(SequenceError, match="is not a bigWig file"):
        plot_karyotype(tmp_path / "text.bw", tmp_path / "y.svg")
    assert not (tmp_path / "y.svg").exists()


@pytest.mark.parametrize(
    "names",
    [["chr1", "chr2", "chr10", "chrM", "chrX"], ["chrI", "chrIV", "chrIX", "chrX", "chrXIV", "chrM"], ["2L", "X"]],
)
def test_chromosomes_are_in_the_order_of_people(names: list[str]) -> None:
    assert in_natural_order(sorted(names)) == names
