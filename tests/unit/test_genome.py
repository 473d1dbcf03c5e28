from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pyfaidx
import pytest
from helpers import random_dna, write_fasta

from hnet_dna.data import fasta
from hnet_dna.data.bundled import bundled_genome
from hnet_dna.data.genome import STORE_SUFFIX, Genome
from hnet_dna.data.split import split_genome
from hnet_dna.errors import SequenceError
from hnet_dna.sequence.codes import to_text
from hnet_dna.sequence.interval import Interval


def test_bases_equal_pyfaidx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fasta, "PIECE", 700)
    records = {"a": random_dna(3000), "b": random_dna(1234, 1).lower(), "c": "ACG"}
    path = write_fasta(tmp_path / "g.fa", records)
    genome = Genome.open(path)
    judge = pyfaidx.Fasta(str(path))
    for contig, start, end in [("a", 0, 3000), ("a", 699, 1402), ("b", 5, 6), ("c", 0, 3), ("a", 7, 7)]:
        expected = str(judge[contig][start:end]) if end > start else ""
        assert to_text(genome.codes(Interval(contig, start, end))) == expected
    judge.close()


def test_contig_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fasta, "PIECE", 8)  # runs of N across pieces
    path = write_fasta(tmp_path / "g.fa", {"a": "NNNACgtNNNNNNNNNNNNNRYacN", "b": "uuAA"}, width=7)
    a, b = Genome.open(path).contigs
    assert a.n_runs == ((0, 3), (7, 20), (24, 25))
    assert (a.length, a.soft_masked, a.ambiguous, a.gc, a.n_bases) == (25, 4, 2, 3, 17)
    assert a.md5 == hashlib.md5(b"NNNACGTNNNNNNNNNNNNNRYACN").hexdigest()
    assert b.uracils == 2
    assert Genome.open(path).segments(Interval("a", 1, 22)) == [Interval("a", 3, 7), Interval("a", 20, 22)]


def test_past_the_end_and_unknown_contig(tmp_path: Path) -> None:
    genome = Genome.open(write_fasta(tmp_path / "g.fa", {"chr7": "ACGT"}))
    with pytest.raises(SequenceError, match=r"chr7:3-9 ends 5 bases past chr7 \(4 bases in g.fa\)"):
        genome.codes(Interval("chr7", 2, 9))
    with pytest.raises(SequenceError, match=r"no contig chr8\. Did you mean chr7"):
        genome.codes(Interval("chr8", 0, 1))


def test_changed_fasta_never_meets_its_old_store(tmp_path: Path) -> None:
    path = write_fasta(tmp_path / "g.fa", {"a": "AAAA"})
    assert to_text(Genome.open(path).codes(Interval("a", 0, 4))) == "AAAA"
    write_fasta(path, {"a": "CCCC"})
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert to_text(Genome.open(path).codes(Interval("a", 0, 4))) == "CCCC"


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 100])
def test_damaged_store_is_rebuilt(tmp_path: Path, damage: bytes) -> None:
    path = write_fasta(tmp_path / "g.fa", {"a": "ACGT"})
    Genome.open(path)
    path.with_name("g.fa" + STORE_SUFFIX).write_bytes(damage)
    assert to_text(Genome.open(path).codes(Interval("a", 0, 4))) == "ACGT"


def test_store_is_written_once_and_bad_input_leaves_none(tmp_path: Path) -> None:
    path = write_fasta(tmp_path / "g.fa", {"a": "ACGT"})
    Genome.open(path)
    store = path.with_name("g.fa" + STORE_SUFFIX)
    written = store.stat().st_mtime_ns
    Genome.open(path)
    assert store.stat().st_mtime_ns == written
    bad = tmp_path / "bad.fa"
    bad.write_text(">a\nACGT\nMKLE\n")
    with pytest.raises(SequenceError):
        Genome.open(bad)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.fa", "g.fa", "g.fa" + STORE_SUFFIX]


@pytest.mark.parametrize(
    ("lengths", "held_out"),
    [
        ({"a": 900, "b": 100}, [Interval("b", 0, 100)]),  # a contig near a tenth
        ({"a": 1000}, [Interval("a", 900, 1000)]),  # one contig: its tail
        ({"a": 500, "b": 500}, [Interval("a", 450, 500), Interval("b", 450, 500)]),
        ({f"s{i:02}": 100 for i in range(40)}, [Interval(f"s{i:02}", 0, 100) for i in range(4)]),
        ({"a": 3}, []),
    ],
)
def test_default_split(tmp_path: Path, lengths: dict[str, int], held_out: list[Interval]) -> None:
    genome = Genome.open(write_fasta(tmp_path / "g.fa", {name: random_dna(n) for name, n in lengths.items()}))
    split = split_genome(genome)
    assert list(split.held_out) == held_out
    covered = {(i.contig, base) for i in split.train for base in range(i.start, i.end)}
    kept = {(i.contig, base) for i in split.held_out for base in range(i.start, i.end)}
    assert not covered & kept
    assert len(covered) + len(kept) == genome.length


def test_named_split(tmp_path: Path) -> None:
    genome = Genome.open(write_fasta(tmp_path / "g.fa", {"a": "ACGT", "b": "ACGT"}))
    assert split_genome(genome, ["a"]).held_out == (Interval("a", 0, 4),)
    with pytest.raises(SequenceError, match="no contig c"):
        split_genome(genome, ["c"])
    with pytest.raises(SequenceError, match="every contig is held out"):
        split_genome(genome, ["a", "b"])


def test_bundled_genome_is_what_its_manifest_says() -> None:
    bundled = bundled_genome()
    for path, key in ((bundled.fasta, "fasta_sha256"), (bundled.annotation, "annotation_sha256")):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == bundled.manifest[key]
