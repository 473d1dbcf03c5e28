"""Genomes from whatever holds them, with the real types of pyfaidx and Biopython."""

from __future__ import annotations

import gc
import io
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyfaidx
import pytest
from Bio import SeqIO
from Bio.Seq import MutableSeq, Seq
from Bio.SeqRecord import SeqRecord
from helpers import random_dna, write_fasta

import hnet_dna
from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.genome import fasta
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import open_genome
from hnet_dna.sequence.codes import from_text, to_text
from hnet_dna.sequence.coerce import as_codes, name_of

RECORDS = {"chr1": random_dna(2000) + "NNNnry" + random_dna(40, 1).lower(), "2": "ACGTUu"}
LETTERS = {name: text.replace("U", "T").replace("u", "t") for name, text in RECORDS.items()}


def letters(genome: Genome) -> dict[str, str]:
    return {name: genome.sequence(name) for name in genome}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_fasta(tmp_path / "g.fa", RECORDS)


def seq_records() -> list[SeqRecord]:
    return [SeqRecord(Seq(text), id=name, description="") for name, text in RECORDS.items()]


SOURCES: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "text": str,
    "genome": lambda path: open_genome(path),
    "pyfaidx": lambda path: pyfaidx.Fasta(str(path)),
    "pyfaidx, as text": lambda path: pyfaidx.Fasta(str(path), as_raw=True),
    "pyfaidx, mutable": lambda path: pyfaidx.Fasta(str(path), mutable=True),
    "records of pyfaidx": lambda path: list(pyfaidx.Fasta(str(path))),
    "mapping of pyfaidx's records": lambda path: dict(pyfaidx.Fasta(str(path)).items()),
    "mapping of text": lambda path: RECORDS,
    "mapping of bytes": lambda path: {name: text.encode() for name, text in RECORDS.items()},
    "mapping of Seq": lambda path: {name: Seq(text) for name, text in RECORDS.items()},
    "mapping of MutableSeq": lambda path: {name: MutableSeq(text) for name, text in RECORDS.items()},  # type: ignore[no-untyped-call]
    "mapping of SeqRecord": lambda path: {record.id: record for record in seq_records()},
    "mapping of codes": lambda path: {name: from_text(text) for name, text in RECORDS.items()},
    "list of SeqRecord": lambda path: seq_records(),
    "parsed by Biopython": lambda path: SeqIO.parse(io.StringIO(path.read_text()), "fasta"),  # type: ignore[no-untyped-call]
    "indexed by Biopython": lambda path: SeqIO.index(str(path), "fasta"),  # type: ignore[no-untyped-call]
}


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # by Biopython's index
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_the_same_genome(kind: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fasta, "PIECE", 700)
    monkeypatch.setattr("hnet_dna.genome.sequences.PIECE", 700)
    genome = hnet_dna.open_genome(SOURCES[kind](path))
    assert hnet_dna.open_genome(genome) is genome
    assert letters(genome) == LETTERS
    expected = open_genome(path).contigs
    if kind == "mapping of codes":  # which do not tell U from T
        assert [contig.uracils for contig in genome.contigs] == [0, 0]
        assert [contig.md5 for contig in genome.contigs] == [contig.md5 for contig in expected]
    else:
        assert genome.contigs == expected


def test_a_genome_behaves_as_a_collection_of_contigs(path: Path) -> None:
    genome = hnet_dna.open_genome(path)
    assert (len(genome), list(genome), "chr1" in genome, "chr9" in genome) == (2, ["chr1", "2"], True, False)
    assert genome["2"].length == 6
    assert repr(genome) == "<Genome g.fa: 2 contigs, 2,052 bases>"
    assert genome.sequence("chr1", 1990, 2010) == LETTERS["chr1"][1990:2010]
    assert genome.sequence("2", 4) == "Tt"
    assert genome.sequence("2", 6) == ""
    with pytest.raises(SequenceError, match="ends 3 bases past 2"):
        genome.sequence("2", 0, 9)
    with pytest.raises(SequenceError, match=r"g\.fa has no contig 9"):
        genome.sequence("9")
    with pytest.raises(ValueError, match="half-open"):
        genome.sequence("2", -3)


def test_pyfaidx_that_shows_its_file_as_it_is_shares_the_file_s_store(path: Path) -> None:
    genome = hnet_dna.open_genome(pyfaidx.Fasta(str(path)))
    assert (genome.source, genome.streamed) == (path, False)
    assert genome.store_path == open_genome(path).store_path


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"sequence_always_upper": True}, {name: text.upper() for name, text in LETTERS.items()}),
        ({"key_function": lambda name: f"x{name}"}, {f"x{name}": text for name, text in LETTERS.items()}),
        ({"filt_function": lambda name: name == "2"}, {"2": LETTERS["2"]}),
        ({"key_function": {"chr1": "2", "2": "chr1"}.get}, {"2": LETTERS["chr1"], "chr1": LETTERS["2"]}),
    ],
)
def test_pyfaidx_says_how_records_are_called_and_written(
    options: dict[str, Any], expected: dict[str, str], path: Path
) -> None:
    genome = hnet_dna.open_genome(pyfaidx.Fasta(str(path), **options))
    assert letters(genome) == expected
    assert (genome.source, genome.streamed) == (path, True)
    assert genome.store_path.parent != path.parent


def test_pyfaidx_may_choose_among_records_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "twice.fa"
    path.write_text(">a\nACGT\n>a\nTTTTTT\n")
    assert letters(hnet_dna.open_genome(pyfaidx.Fasta(str(path), duplicate_action="longest"))) == {"a": "TTTTTT"}


def test_a_single_record_is_a_genome_of_one_contig(path: Path) -> None:
    assert letters(hnet_dna.open_genome(seq_records()[0])) == {"chr1": LETTERS["chr1"]}
    assert letters(hnet_dna.open_genome(pyfaidx.Fasta(str(path))["2"])) == {"2": LETTERS["2"]}


def test_a_genome_in_memory_is_sent_to_other_processes_while_it_lives() -> None:
    genome = hnet_dna.open_genome(RECORDS)
    place = genome.store_path
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(Genome.sequence, genome, "2").result(timeout=240) == LETTERS["2"]
    sent = pickle.dumps(genome)
    assert letters(pickle.loads(sent)) == LETTERS
    assert place.exists()
    del genome
    gc.collect()
    assert not place.parent.exists()
    with pytest.raises(SequenceError, match=r"genome in memory has been removed.*as long as the process that read it"):
        pickle.loads(sent)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, SequenceError, "no record"),
        ([], SequenceError, "no record"),
        ({"a": ""}, SequenceError, "record a has no sequence"),
        ({"a": "ACGU", "b": "MKLV"}, SequenceError, r"record b: 'L' is not a nucleotide letter \(base 3\)"),
        ({"a b": "ACGT"}, SequenceError, "record 'a b': expected a name without blanks"),
        ({"": "ACGT"}, SequenceError, "record '': expected a name"),
        ({3: "ACGT"}, SequenceError, "record 3: expected a name"),
        ([SeqRecord(Seq("A"), id="a"), SeqRecord(Seq("C"), id="a")], SequenceError, "record a occurs twice"),
        (["ACGT"], UsageError, "`genome`: item 1 is a str without a name"),
        ({"a": ["A", "C"]}, UsageError, "record a: expected text, Bio.Seq, .* got list"),
        ({"a": None}, UsageError, "record a: expected text, Bio.Seq, .* got NoneType"),
        ({"a": np.array([65, 67], dtype=np.uint8)}, SequenceError, "record a: holds numbers that are not codes"),
        ({"a": np.array([0.0])}, UsageError, r"record a: expected codes \(L,\) of uint8"),
        ({"a": SeqRecord(Seq(None, 5), id="a")}, SequenceError, "record a: Sequence content is undefined"),
        (3, UsageError, "`genome`: expected a path, a known name, .* got int"),
        (b"ACGT", UsageError, "`genome`: .* got bytes"),
        (io.StringIO(">a\nACGT\n"), UsageError, "item 1 is a str without a name"),
        (Path("yeast"), SequenceError, "yeast: no such file"),  # only text may be a known name
    ],
)
def test_what_is_not_a_genome_is_refused(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        hnet_dna.open_genome(given)


def test_what_goes_wrong_while_sequences_are_read_leaves_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(SequenceError):
        hnet_dna.open_genome({"a": "ACGT", "b": "!"})
    assert list(tmp_path.iterdir()) == []


def test_codes_of_single_sequences(path: Path) -> None:
    fasta = pyfaidx.Fasta(str(path))
    record = SeqRecord(Seq("acGU"), id="r")
    for sequence in ("acGU", " acGU\n", b"acGU", Seq("acGU"), record, from_text("acGT")):
        assert to_text(as_codes(sequence)) == "acGT"
    assert to_text(as_codes(fasta["2"])) == LETTERS["2"]
    assert to_text(as_codes(fasta["2"][1:4])) == LETTERS["2"][1:4]
    assert (name_of(record), name_of(fasta["2"]), name_of("acgt"), name_of(Seq("A"))) == ("r", "2", None, None)
    codes = from_text("ACGT")
    assert as_codes(codes) is codes
    assert len(as_codes("")) == 0
