from __future__ import annotations

import gzip
import hashlib
import os
import re
import struct
import sys
from collections.abc import Iterator
from multiprocessing import Queue, get_context
from pathlib import Path

import pyfaidx
import pytest
from helpers import PATIENCE, random_dna, write_fasta

from hnet_dna.errors import SequenceError
from hnet_dna.genome import fasta, store, twobit
from hnet_dna.genome.bundled import bundled_genome
from hnet_dna.genome.fasta import Piece, read_fasta
from hnet_dna.genome.genome import whole
from hnet_dna.genome.open import open_genome
from hnet_dna.genome.store import STORE_SUFFIX
from hnet_dna.sequence.codes import to_text
from hnet_dna.sequence.interval import Interval


def test_bases_equal_pyfaidx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fasta, "PIECE", 700)
    records = {"a": random_dna(3000), "b": random_dna(1234, 1).lower(), "c": "ACG"}
    path = write_fasta(tmp_path / "g.fa", records)
    genome = open_genome(path)
    judge = pyfaidx.Fasta(str(path))
    for contig, start, end in [("a", 0, 3000), ("a", 699, 1402), ("b", 5, 6), ("c", 0, 3), ("a", 7, 7)]:
        expected = str(judge[contig][start:end]) if end > start else ""
        assert to_text(genome.codes(Interval(contig, start, end))) == expected
    judge.close()


def test_contig_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fasta, "PIECE", 8)  # runs of N across pieces
    path = write_fasta(tmp_path / "g.fa", {"a": "NNNACgtNNNNNNNNNNNNNRYacN", "b": "uuAA"}, width=7)
    a, b = open_genome(path).contigs
    assert a.n_runs == ((0, 3), (7, 20), (24, 25))
    assert (a.length, a.soft_masked, a.ambiguous, a.gc, a.n_bases) == (25, 4, 2, 3, 17)
    assert a.md5 == hashlib.md5(b"NNNACGTNNNNNNNNNNNNNRYACN").hexdigest()
    assert b.uracils == 2
    assert open_genome(path).segments(Interval("a", 1, 22)) == [Interval("a", 3, 7), Interval("a", 20, 22)]


def test_past_the_end_and_unknown_contig(tmp_path: Path) -> None:
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"chr7": "ACGT"}))
    with pytest.raises(SequenceError, match=r"chr7:3-9 ends 5 bases past chr7 \(4 bases in g.fa\)"):
        genome.codes(Interval("chr7", 2, 9))
    with pytest.raises(SequenceError, match=r"g.fa has no contig chr8\. Its contigs: chr7\. Did you mean chr7"):
        genome.codes(Interval("chr8", 0, 1))


def test_changed_fasta_never_meets_its_old_store(tmp_path: Path) -> None:
    path = write_fasta(tmp_path / "g.fa", {"a": "AAAA"})
    assert to_text(open_genome(path).codes(Interval("a", 0, 4))) == "AAAA"
    write_fasta(path, {"a": "CCCC"})
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert to_text(open_genome(path).codes(Interval("a", 0, 4))) == "CCCC"


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 100])
def test_damaged_store_is_rebuilt(tmp_path: Path, damage: bytes) -> None:
    path = write_fasta(tmp_path / "g.fa", {"a": "ACGT"})
    open_genome(path)
    path.with_name("g.fa" + STORE_SUFFIX).write_bytes(damage)
    assert to_text(open_genome(path).codes(Interval("a", 0, 4))) == "ACGT"


def test_store_is_written_once_and_bad_input_leaves_none(tmp_path: Path) -> None:
    path = write_fasta(tmp_path / "g.fa", {"a": "ACGT"})
    open_genome(path)
    store = path.with_name("g.fa" + STORE_SUFFIX)
    written = store.stat().st_mtime_ns
    open_genome(path)
    assert store.stat().st_mtime_ns == written
    bad = tmp_path / "bad.fa"
    bad.write_text(">a\nACGT\nMKLE\n")
    with pytest.raises(SequenceError):
        open_genome(bad)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.fa", "g.fa", "g.fa" + STORE_SUFFIX]


def test_processes_that_start_together_build_one_store(tmp_path: Path) -> None:
    sequence = random_dna(200_000)
    path = write_fasta(tmp_path / "g.fa", {"a": sequence})
    context = get_context("fork")
    queue: Queue[str] = context.Queue()
    barrier, builds = context.Barrier(4), context.Value("i", 0)

    def read(source: Path) -> Iterator[Piece]:
        with builds.get_lock():
            builds.value += 1
        return read_fasta(source)

    def open_and_tell() -> None:
        barrier.wait()
        queue.put(to_text(store.open_store(path, read).codes[:50]))

    processes = [context.Process(target=open_and_tell) for _ in range(4)]
    for process in processes:
        process.start()
    assert {queue.get(timeout=PATIENCE) for _ in processes} == {sequence[:50]}
    for process in processes:
        process.join()
    assert builds.value == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g.fa", "g.fa" + STORE_SUFFIX]


def test_replaced_by_a_file_of_the_same_size_and_age(tmp_path: Path) -> None:
    """As `cp -p` and `rsync -t` do."""
    path = write_fasta(tmp_path / "g.fa", {"a": "AAAA"})
    open_genome(path)
    other = write_fasta(tmp_path / "other.fa", {"a": "CCCC"})
    times = path.stat()
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(path)
    assert to_text(open_genome(path).codes(Interval("a", 0, 4))) == "CCCC"


def test_changed_while_read(tmp_path: Path) -> None:
    path = write_fasta(tmp_path / "g.fa", {"a": "AAAA"})

    def read_then_change(source: Path) -> Iterator[Piece]:
        yield from read_fasta(source)
        write_fasta(path, {"a": "CCCCCC"})

    with pytest.raises(SequenceError, match="changed while it was read"):
        store.open_store(path, read_then_change)
    assert open_genome(path).length == 6


def test_a_store_is_built_when_a_later_change_would_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is written twice between two ticks of the clock has one time, and may have one size."""
    path = write_fasta(tmp_path / "g.fa", {"a": "AAAA"})
    slept: list[float] = []
    monkeypatch.setattr("hnet_dna.genome.store.time.sleep", slept.append)
    for after, fraction, expected in (
        (0, 500_000_000, 0.02),
        (5_000_000, 500_000_000, 0.015),
        (25_000_000, 500_000_000, None),
        (500_000_000, 0, 1.5),  # a file system without fractions of a second
        (2_500_000_000, 0, None),
        (-90_000_000_000, 500_000_000, None),  # a clock that is behind that of the file's server
    ):
        slept.clear()
        changed = 1_700_000_000_000_000_000 + fraction
        key = {"size": 9, "modified_ns": changed, "changed_ns": changed}
        monkeypatch.setattr("hnet_dna.genome.store.time.time_ns", lambda now=changed + after: now)
        monkeypatch.setattr(store, "_key", lambda source, key=key: key)
        path.with_name("g.fa" + STORE_SUFFIX).unlink(missing_ok=True)
        open_genome(path)
        assert slept == ([] if expected is None else [pytest.approx(expected)])


def test_without_locks_a_store_is_built_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_lock(path: Path) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(store, "FileLock", no_lock)
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"a": "ACGT"}))
    assert genome.store_path == tmp_path / f"g.fa{STORE_SUFFIX}"


@pytest.mark.skipif(os.name != "posix", reason="needs a folder that cannot be written")
def test_read_only_folder_uses_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_fasta(tmp_path / "g.fa", {"a": "ACGT"})
    monkeypatch.setenv("HNET_DNA_HOME", str(tmp_path / "home"))
    beside = path.with_name("g.fa" + STORE_SUFFIX)
    beside.mkdir()  # stands in the way of a file, also for root
    genome = open_genome(path)
    assert genome.store_path.parent == tmp_path / "home" / "stores"
    assert to_text(genome.codes(Interval("a", 0, 4))) == "ACGT"


def write_2bit(path: Path, records: dict[str, str]) -> None:
    """Write the .2bit format as UCSC specifies it, independently of the reader under test."""
    offset = 16 + sum(5 + len(name) for name in records)
    index, body = b"", b""
    for name, sequence in records.items():
        index += bytes([len(name)]) + name.encode() + struct.pack("<I", offset + len(body))
        blocks = b""
        for pattern in ("N+", "[a-z]+"):
            spans = [match.span() for match in re.finditer(pattern, sequence)]
            blocks += struct.pack("<I", len(spans))
            blocks += b"".join(struct.pack("<I", start) for start, _ in spans)
            blocks += b"".join(struct.pack("<I", end - start) for start, end in spans)
        digits = ["TCAG".index(c) if c in "TCAG" else 0 for c in sequence.upper()]
        digits += [0] * (-len(digits) % 4)
        packed = bytes(sum(d << (6 - 2 * k) for k, d in enumerate(digits[i : i + 4])) for i in range(0, len(digits), 4))
        body += struct.pack("<I", len(sequence)) + blocks + struct.pack("<I", 0) + packed
    path.write_bytes(struct.pack("<IIII", 0x1A412743, 0, len(records), 0) + index + body)


def test_2bit_equals_fasta(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("py2bit")
    monkeypatch.setattr(twobit, "PIECE", 16)
    records = {
        "chr1": random_dna(45) + "NNNNN" + random_dna(30, 1).lower() + "ACG",
        "chr2": "acgtnACGT".replace("n", "N"),
    }
    write_2bit(tmp_path / "g.2bit", records)
    genome, same = open_genome(tmp_path / "g.2bit"), open_genome(write_fasta(tmp_path / "g.fa", records))
    assert genome.contigs == same.contigs
    for contig in genome.contigs:
        assert to_text(genome.codes(whole(contig))) == records[contig.name]


@pytest.mark.parametrize("name", ["g", "g.fa", "G.2BIT", "odd name.2bit.bak"])
def test_2bit_by_any_name(tmp_path: Path, name: str) -> None:
    pytest.importorskip("py2bit")
    write_2bit(tmp_path / name, {"a": "ACGTNN"})
    assert to_text(open_genome(tmp_path / name).codes(Interval("a", 0, 6))) == "ACGTNN"


def test_2bit_through_gzip_is_named(tmp_path: Path) -> None:
    write_2bit(tmp_path / "g.2bit", {"a": "ACGT"})
    (tmp_path / "g.gz").write_bytes(gzip.compress((tmp_path / "g.2bit").read_bytes()))
    with pytest.raises(SequenceError, match=r"this looks like \.2bit; twoBitToFa makes FASTA of it"):
        open_genome(tmp_path / "g.gz")


def test_broken_2bit(tmp_path: Path) -> None:
    pytest.importorskip("py2bit")
    (tmp_path / "g.2bit").write_bytes(b"not a 2bit file, not at all")
    with pytest.raises(SequenceError, match=r"g\.2bit is not a \.2bit file"):
        open_genome(tmp_path / "g.2bit")


def test_2bit_without_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_2bit(tmp_path / "g.2bit", {"a": "ACGT"})
    monkeypatch.setitem(sys.modules, "py2bit", None)
    with pytest.raises(SequenceError, match=r"pip install 'hnet-dna\[twobit\]'"):
        open_genome(tmp_path / "g.2bit")


def test_bundled_genome_is_what_its_manifest_says() -> None:
    bundled = bundled_genome()
    for path, key in ((bundled.fasta, "fasta_sha256"), (bundled.annotation, "annotation_sha256")):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == bundled.manifest[key]


def test_an_index_of_another_file_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`samtools faidx` and pyfaidx would cut wrong bases by it."""
    fasta = write_fasta(tmp_path / "x.fa", {"a": "ACGT", "b": "GGCCA"})
    (tmp_path / "x.fa.fai").write_text("a\t4\t15\t4\t5\nb\t5\t35\t5\t6\n")
    open_genome(fasta)
    assert "not the index" not in caplog.text
    write_fasta(fasta, {"a": "ACGT", "b": "GGCCAT"})
    open_genome(fasta)
    assert f"{fasta}.fai is not the index of x.fa" in caplog.text
