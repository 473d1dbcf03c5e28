"""Genes and coding sequences of an annotation whose truth is planted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import random_dna, write_fasta
from planted import CODINGS, GFF, SITES

from hnet_dna.annotation.genes import Site, coding_sequences, sites
from hnet_dna.annotation.reader import Feature, read_features
from hnet_dna.explanation.statistics.analysis import promoters
from hnet_dna.genome.open import open_genome
from hnet_dna.sequence.interval import Interval

GTF = (
    'c\tx\tgene\t101\t250\t.\t+\t.\tgene_id "f";\n'
    'c\tx\texon\t101\t140\t.\t+\t.\tgene_id "f"; transcript_id "ft";\n'
    'c\tx\texon\t201\t250\t.\t+\t.\tgene_id "f"; transcript_id "ft";\n'
    'c\tx\tCDS\t101\t140\t.\t+\t0\tgene_id "f"; transcript_id "ft";\n'
    'c\tx\tCDS\t201\t247\t.\t+\t2\tgene_id "f"; transcript_id "ft";\n'
    'c\tx\tstop_codon\t248\t250\t.\t+\t0\tgene_id "f"; transcript_id "ft";\n'
    'c\tx\tgene\t421\t540\t.\t-\t.\tgene_id "r";\n'
    'c\tx\texon\t421\t470\t.\t-\t.\tgene_id "r"; transcript_id "rt";\n'
    'c\tx\texon\t501\t540\t.\t-\t.\tgene_id "r"; transcript_id "rt";\n'
    'c\tx\tCDS\t424\t470\t.\t-\t2\tgene_id "r"; transcript_id "rt";\n'
    'c\tx\tCDS\t501\t540\t.\t-\t0\tgene_id "r"; transcript_id "rt";\n'
    'c\tx\tstop_codon\t421\t423\t.\t-\t0\tgene_id "r"; transcript_id "rt";\n'
)


def features_of(text: str, path: Path, tmp_path: Path) -> list[Feature]:
    genome = open_genome(write_fasta(tmp_path / "c.fa", {"c": random_dna(900)}))
    path.write_text(text)
    return read_features(path, genome)


@pytest.mark.parametrize(("name", "text"), [("a.gff3", GFF), ("a.gtf", GTF)])
def test_genes_of_both_formats(name: str, text: str, tmp_path: Path) -> None:
    features = features_of(text, tmp_path / name, tmp_path)
    codings, left_out = coding_sequences(features)
    assert codings == CODINGS
    assert left_out == {}
    assert sites(features, codings) == SITES


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("t\t2\tID=fc", "t\t2\tID=fc", ""),
        (
            "250\t.\t+\t2\tID=fc",
            "250\t.\t+\t1\tID=fc",
            "phases do not follow from one another, or begin inside a codon",
        ),
        (
            "140\t.\t+\t0\tID=fc",
            "140\t.\t+\t1\tID=fc",
            "phases do not follow from one another, or begin inside a codon",
        ),
        ("250\t.\t+\t2\tID=fc", "250\t.\t+\t2\tpartial=true;ID=fc", "marked partial"),
        ("CDS\t201\t250", "CDS\t201\t249", "not a whole number of codons"),
        ("CDS\t201\t250", "CDS\t140\t250", "parts overlap"),
        ("CDS\t201\t250\t.\t+", "CDS\t201\t250\t.\t-", "strand unknown or mixed"),
    ],
)
def test_only_complete_coding_sequences(old: str, new: str, reason: str, tmp_path: Path) -> None:
    codings, left_out = coding_sequences(features_of(GFF.replace(old, new), tmp_path / "a.gff3", tmp_path))
    assert codings == (CODINGS[1:] if reason else CODINGS)
    assert left_out == ({reason: 1} if reason else {})


def test_stop_codon_that_an_intron_cuts() -> None:
    parts = (Interval("c", 10, 15), Interval("c", 20, 21))
    lines = [Feature("CDS", part, "+", None, "Parent=t") for part in parts]
    codings, _ = coding_sequences(lines)
    assert sites(lines, codings)["stop codon"] == [Site("c", 13, "+")]


def test_coding_sequences_of_one_transcript_are_told_apart_by_id() -> None:
    lines = [
        Feature("CDS", Interval("c", 0, 9), "+", 0, "ID=a;Parent=t,u"),
        Feature("CDS", Interval("c", 20, 29), "+", 0, "ID=a;Parent=t,u"),
        Feature("CDS", Interval("c", 3, 9), "+", 0, "ID=b;Parent=t"),
        Feature("CDS", Interval("c", 20, 29), "+", 0, "ID=b;Parent=t"),
    ]
    codings, _ = coding_sequences(lines)
    assert sorted(coding.parts[0].start for coding in codings) == [0, 3]
    own_ids = [Feature("CDS", f.interval, "+", 0, f"ID=x{i};Parent=t") for i, f in enumerate(lines[:2])]
    assert len(coding_sequences(own_ids)[0]) == 1


def test_promoters_lie_before_genes(tmp_path: Path) -> None:
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"c": random_dna(600)}))
    genes = [Feature("gene", Interval("c", 40, 200), "+"), Feature("gene", Interval("c", 300, 450), "-")]
    assert promoters(genes, genome) == [Interval("c", 0, 40), Interval("c", 450, 550)]
