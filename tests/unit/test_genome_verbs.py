"""What one asks of a genome: `describe_genome`, `extract`, `known_genomes`, `fetch_genome`."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pyfaidx
import pytest
from Bio import SeqIO
from helpers import random_dna, write_fasta

import hnet_dna
from hnet_dna.errors import DownloadError, SequenceError, UsageError
from hnet_dna.genome import known
from hnet_dna.genome.assemblies import Assembly, KnownContig
from hnet_dna.genome.fasta import write_fasta as write_records
from hnet_dna.genome.fetch import place_of
from hnet_dna.progress import Progress
from hnet_dna.sequence.interval import Interval

TEXT = random_dna(90) + "nnN" + random_dna(70_000, 1).lower()


def test_describe_genome(tmp_path: Path) -> None:
    path = write_fasta(tmp_path / "g.fa", {"a": "NNACGTacgRNN", "b": "NNu", "n": "N"})
    described = hnet_dna.describe_genome(path)
    assert (described.source, described.assembly, described.bases) == (str(path), None, 16)
    assert described.store == tmp_path / "g.fa.hnetdna"
    a, b, _ = described.contigs
    assert (a.length, a.n, a.n_runs, a.soft_masked, a.ambiguous, a.uracils) == (12, 4, 2, 3, 1, 0)
    assert [one.gc for one in described.contigs] == [pytest.approx(4 / 7), 0.0, None]
    assert (b.uracils, a.md5) == (1, hashlib.md5(b"NNACGTACGRNN").hexdigest())
    table = described.to_pandas()
    assert list(table.columns) == ["chrom", *list(asdict(a))[1:]]
    assert table.set_index("chrom").loc["a", "length"] == 12
    in_memory = hnet_dna.describe_genome({"a": "ACGT"})
    assert (in_memory.source, in_memory.store) == ("genome in memory", None)


def test_describe_genome_recognises_the_assembly() -> None:
    assert "(16 of 17 chromosomes by M5)" in str(hnet_dna.describe_genome("yeast").assembly)


def test_extracts_are_those_of_pyfaidx(tmp_path: Path) -> None:
    path = write_fasta(tmp_path / "g.fa", {"c:1-2": "ACGT", "c": TEXT})
    judge = pyfaidx.Fasta(str(path))["c"]
    region, whole, odd, given = hnet_dna.extract(path, ["c:80-1,160", "c", "c:1-2", Interval("c", 5, 9)])
    assert (region.name, str(region)) == ("c:80-1160", str(judge[79:1160]))
    assert (region.interval, len(region)) == (Interval("c", 79, 1160), 1081)
    assert (whole.name, str(whole)) == ("c", TEXT)
    assert (odd.name, str(odd)) == ("c:1-2", "ACGT")
    assert (given.name, str(given)) == ("c:6-9", str(judge[5:9]))
    assert [part.name for part in hnet_dna.extract(path, "c:1-9")] == ["c:1-9"]
    assert [part.name for part in hnet_dna.extract(path, Interval("c", 0, 9))] == ["c:1-9"]
    for regions, error in (("c:1-90000", SequenceError), ("d", SequenceError), ("c:9-1", UsageError)):
        with pytest.raises(error):
            hnet_dna.extract(path, regions)
    with pytest.raises(SequenceError, match="past c"):
        hnet_dna.extract(path, Interval("c", 0, 90_000))


def test_fasta_is_written_as_biopython_reads_it() -> None:
    stream = io.StringIO()
    records = hnet_dna.extract({"a": TEXT, "b": "ACG"}, ["a", "b"])
    write_records([(record.name, record.codes) for record in records], stream)
    stream.seek(0)
    parse: Callable[..., object] = SeqIO.parse
    assert {r.id: str(r.seq) for r in parse(stream, "fasta")} == {"a": TEXT, "b": "ACG"}  # type: ignore[attr-defined]
    assert max(map(len, stream.getvalue().splitlines())) == 60


@pytest.fixture
def known_assembly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Assembly:
    """One that lies where a download would have put it."""
    monkeypatch.setenv("HNET_DNA_HOME", str(tmp_path))
    contigs = {"a": KnownContig(len(TEXT), hashlib.md5(TEXT.upper().encode()).hexdigest(), ("a",))}
    assembly = Assembly("test1", "Test", "Test 1", "http://127.0.0.1:9/g.fa", "g.fa", contigs)
    place_of(assembly).parent.mkdir(parents=True)
    write_fasta(place_of(assembly), {"a": TEXT})
    monkeypatch.setattr(known, "assemblies", lambda: (assembly,))
    monkeypatch.setattr(known, "find_assembly", lambda name: assembly)
    return assembly


def test_known_genomes(known_assembly: Assembly) -> None:
    ours, yeast = hnet_dna.known_genomes()
    assert (ours.name, ours.bases, ours.path, ours.bundled) == ("test1", len(TEXT), place_of(known_assembly), False)
    assert (yeast.name, yeast.bases, yeast.bundled) == ("yeast", 12_071_326, True)
    place_of(known_assembly).unlink()
    assert hnet_dna.known_genomes()[0].path is None


def test_fetch_genome_opens_what_is_there_and_checks_it(known_assembly: Assembly) -> None:
    seen: list[Progress] = []
    genome = hnet_dna.fetch_genome("test1", on_progress=seen.append)
    assert genome.sequence("a") == TEXT
    place = place_of(known_assembly)
    size = place.stat().st_size
    assert seen[-1] == Progress(f"reading {place}", size, size, "bytes", finished=True)
    write_fasta(place_of(known_assembly), {"a": TEXT[1:]})
    with pytest.raises(DownloadError, match="the manifest says"):
        hnet_dna.fetch_genome("test1")
    with pytest.raises(UsageError, match="yeast is part of the package"):
        hnet_dna.fetch_genome("yeast")
