"""Chunks as bigBed: what independent readers find in it, and what is refused."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import random_dna

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.tracks.bed import bed6
from hnet_dna.tracks.bigbed import ChunkFile, write_bigbed, write_records
from hnet_dna.tracks.bigbed_process import RECORD
from hnet_dna.tracks.chunks import Chunks
from hnet_dna.tracks.merge import merge_tracks

pytest.importorskip("pybigtools")
SIZES = {"chr2": 400_000, "chr10": 50_000, "chr1": 70, "n": 10}


def chunks_of(contig: str, strand: str = "+", seed: int = 0, stage: int = 0, mean: int = 4) -> list[Chunks]:
    """Cut a contig into chunks that arrive in parts."""
    random = np.random.default_rng(seed)
    edges = np.unique(np.append(random.integers(1, SIZES[contig], SIZES[contig] // mean), (0, SIZES[contig])))
    probability = random.random(len(edges) - 1, dtype=np.float32)
    parts = []
    for first in range(0, len(probability), 10_007):
        part = slice(first, min(first + 10_007, len(probability)))
        index = first if strand == "+" else len(probability) - 1 - first
        parts.append(Chunks(contig, edges[:-1][part], edges[1:][part], probability[part], index, strand, stage))
    return parts


def rows_of(chunks: list[Chunks]) -> list[tuple[str, int, int, str]]:
    rows = []
    for one in chunks:
        for line, p in zip(bed6(one).splitlines(), one.probability.tolist(), strict=True):
            contig, start, end, rest = line.split("\t", 3)
            rows.append((contig, int(start), int(end), f"{rest}\t{one.stage}\t{p:.6g}"))
    return sorted(rows, key=lambda row: (row[:3], row[3].split("\t")[2]))


def read_by_pybigtools(path: Path) -> list[tuple[str, int, int, str]]:
    import pybigtools

    with pybigtools.open(str(path)) as file:
        return [(c, row[0], row[1], "\t".join(row[2:])) for c in sorted(file.chroms()) for row in file.records(c)]


@pytest.fixture
def held() -> Iterator[ChunkFile]:
    with ChunkFile() as file:
        for name, size in SIZES.items():
            file.contig(name, size)
        yield file


def test_readers_find_every_chunk_of_both_strands(held: ChunkFile, tmp_path: Path) -> None:
    """Over several blocks, in UCSC's order of contigs, with the columns that the schema names."""
    bbi, pybigwig = pytest.importorskip("bbi"), pytest.importorskip("pyBigWig")
    written = []
    for contig in ("chr2", "chr10", "chr1"):
        plus, minus = chunks_of(contig), chunks_of(contig, "-", seed=1)
        for turn in range(max(len(plus), len(minus))):  # as they come from a genome that is read in pieces
            for one in (*plus[turn : turn + 1], *minus[turn : turn + 1]):
                held.add(one)
                written.append(one)
    path = tmp_path / "x.bb"
    held.write_bigbed(path)
    expected = rows_of(written)
    assert read_by_pybigtools(path) == expected
    file = pybigwig.open(str(path))
    assert file.chroms() == {name: SIZES[name] for name in ("chr1", "chr10", "chr2")}
    entries = [("chr2", *row) for row in file.entries("chr2", 0, SIZES["chr2"])]
    assert entries == [row for row in expected if row[0] == "chr2"]
    names = [line.split('"')[0].split()[1].rstrip(";") for line in file.SQL().decode().splitlines() if ";" in line]
    assert names == ["chrom", "chromStart", "chromEnd", "name", "score", "strand", "stage", "probability"]
    assert bbi.info(str(path))["zoomLevels"] >= 2
    depth = bbi.fetch(str(path), "chr2", 0, 380_000, bins=4)
    np.testing.assert_allclose(depth, 2, atol=0.01)  # by the levels of zoom too, both strands tile
    columns, of_bed = struct.unpack("<HH", path.read_bytes()[32:36])
    assert (columns, of_bed) == (8, 6)  # stage and probability are not BED fields


def test_parts_merge_into_the_file_of_the_whole(held: ChunkFile, tmp_path: Path) -> None:
    for contig in ("chr2", "chr10"):
        with ChunkFile() as part:
            part.contig(contig, SIZES[contig])
            for strand in "+-":
                for one in chunks_of(contig, strand, mean=30):
                    part.add(one)
                    held.add(one)
            part.write_bigbed(tmp_path / f"{contig}.bb")
    held.write_bigbed(tmp_path / "whole.bb")
    assert merge_tracks([tmp_path / "chr2.bb", tmp_path / "chr10.bb"], tmp_path / "merged.bb") == 2
    assert (tmp_path / "merged.bb").read_bytes() == (tmp_path / "whole.bb").read_bytes()
    with pytest.raises(SequenceError, match=r"chr2 is in .*chr2\.bb too"):
        merge_tracks([tmp_path / "chr2.bb"] * 2, tmp_path / "twice.bb")
    write_bigbed(chunks_of("chr1", stage=1), {"chr1": random_dna(70)}, tmp_path / "inner.bb")
    with pytest.raises(SequenceError, match=r"stages \[0, 1\]"):
        merge_tracks([tmp_path / "chr10.bb", tmp_path / "inner.bb"], tmp_path / "stages.bb")
    assert {path.name for path in tmp_path.glob("*.bb")} == {
        "chr2.bb", "chr10.bb", "whole.bb", "merged.bb", "inner.bb",
    }  # fmt: skip


def test_what_is_no_bigbed_of_chunks_is_not_merged(tmp_path: Path) -> None:
    import pybigtools

    pybigtools.open(str(tmp_path / "other.bb"), "w").write({"a": 9}, iter([("a", 0, 3, "x")]))
    with pytest.raises(SequenceError, match="the columns of this bigBed are not those of chunks"):
        merge_tracks([tmp_path / "other.bb"], tmp_path / "x.bb")
    (tmp_path / "text.bb").write_text("a\t0\t3\n")
    with pytest.raises(SequenceError, match="is not a bigBed file"):
        merge_tracks([tmp_path / "text.bb"], tmp_path / "x.bb")


def test_refusals(held: ChunkFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SequenceError, match="cannot be empty"):
        held.write_bigbed(tmp_path / "x.bb")
    with pytest.raises(SequenceError, match="cannot count"):
        held.contig("lily", 1 << 32)
    held.add(chunks_of("chr1")[0])
    with pytest.raises(UsageError, match="one stage"):
        held.add(chunks_of("chr10", stage=1)[0])
    monkeypatch.setattr("hnet_dna.tracks.bigbed.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'hnet-dna\[bigbed\]'"):
        held.write_bigbed(tmp_path / "x.bb")
    assert not list(tmp_path.glob("*.bb"))


def test_a_writer_that_fails_in_silence_is_found_out(tmp_path: Path) -> None:
    """Chunks out of order make pybigtools print a line, leave a broken file, and raise nothing."""
    records = np.zeros(2, dtype=RECORD)
    records["start"], records["end"] = (5, 0), (9, 5)
    with pytest.raises(RuntimeError, match="the process that writes it ended"):
        write_records(tmp_path / "x.bb", {"chr1": 70}, lambda name: [records])
    assert not [path for path in tmp_path.iterdir() if "x.bb" in path.name]
