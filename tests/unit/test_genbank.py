"""GenBank against the GFF3 that says the same, and genes for annotations that have no lines for them."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import random_dna, write_fasta

from hnet_dna.annotation.feature import Feature
from hnet_dna.annotation.genes import coding_sequences, derived_genes, directed_genes, sites
from hnet_dna.annotation.reader import classes_of, read_features
from hnet_dna.errors import SequenceError
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import open_genome
from hnet_dna.sequence.interval import Interval

# f: two exons, the intron inside a codon. r: the same on the other strand. p: begins before the record, /codon_start=3.
# n: a pseudogene. o: an RNA without a gene. b: a gene of one CDS without mRNA, as bacteria have them. w: over the
# origin.
FEATURES = """\
     source          1..900
                     /organism="x"
     gene            101..250
                     /gene="f"
     mRNA            join(101..140,201..250)
                     /gene="f"
     CDS             join(101..140,201..250)
                     /codon_start=1
     gene            complement(421..540)
     mRNA            complement(join(421..470,501..540))
     CDS             complement(join(421..470,501..540))
     gene            <601..629
     CDS             join(<601..610,615..629)
                     /codon_start=3
     gene            641..670
                     /pseudo
     CDS             641..670
                     /pseudo
     gene            681..700
     tRNA            join(681..688,693..700)
     gene            711..740
     CDS             711..740
     repeat_region   750..760
     5'UTR           770..780
"""
GFF = """\
c\tx\tregion\t1\t900\t.\t+\t.\tID=c
c\tx\tgene\t101\t250\t.\t+\t.\tID=f
c\tx\tmRNA\t101\t250\t.\t+\t.\tID=ft;Parent=f
c\tx\texon\t101\t140\t.\t+\t.\tParent=ft
c\tx\texon\t201\t250\t.\t+\t.\tParent=ft
c\tx\tCDS\t101\t140\t.\t+\t0\tID=fc;Parent=ft
c\tx\tCDS\t201\t250\t.\t+\t2\tID=fc;Parent=ft
c\tx\tgene\t421\t540\t.\t-\t.\tID=r
c\tx\tmRNA\t421\t540\t.\t-\t.\tID=rt;Parent=r
c\tx\texon\t501\t540\t.\t-\t.\tParent=rt
c\tx\texon\t421\t470\t.\t-\t.\tParent=rt
c\tx\tCDS\t501\t540\t.\t-\t0\tID=rc;Parent=rt
c\tx\tCDS\t421\t470\t.\t-\t2\tID=rc;Parent=rt
c\tx\tgene\t601\t629\t.\t+\t.\tID=p;partial=true
c\tx\tCDS\t601\t610\t.\t+\t2\tID=pc;Parent=p;partial=true
c\tx\tCDS\t615\t629\t.\t+\t1\tID=pc;Parent=p;partial=true
c\tx\tpseudogene\t641\t670\t.\t+\t.\tID=n;pseudo=true
c\tx\tCDS\t641\t670\t.\t+\t0\tID=nc;Parent=n;pseudo=true
c\tx\tgene\t681\t700\t.\t+\t.\tID=o
c\tx\ttRNA\t681\t700\t.\t+\t.\tID=ot;Parent=o
c\tx\texon\t681\t688\t.\t+\t.\tParent=ot
c\tx\texon\t693\t700\t.\t+\t.\tParent=ot
c\tx\tgene\t711\t740\t.\t+\t.\tID=b
c\tx\tCDS\t711\t740\t.\t+\t0\tID=bc;Parent=b
c\tx\trepeat_region\t750\t760\t.\t+\t.\tID=e
c\tx\tfive_prime_UTR\t770\t780\t.\t+\t.\tID=u
"""


def record(name: str = "c", features: str = FEATURES, length: int = 900) -> str:
    return (
        f"LOCUS       {name:<16} {length:>11} bp    DNA     linear   PLN 01-JAN-2020\n"
        f"DEFINITION  made by hand.\nACCESSION   {name}\nVERSION     {name}.1\n"
        f"FEATURES             Location/Qualifiers\n{features}ORIGIN\n//\n"
    )


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    return open_genome(write_fasta(tmp_path / "g.fa", {"c": random_dna(900), "d.1": random_dna(80, 1)}))


def read(text: str | bytes, genome: Genome, path: Path) -> list[Feature]:
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return read_features(path, genome)


def placed(features: list[Feature]) -> list[tuple[str, Interval, str, int | None]]:
    return [(f.kind, f.interval, f.strand, f.phase) for f in features]


@pytest.mark.parametrize("name", ["a.gb", "a.gbk", "a.v2.gbff.gz"])
def test_same_as_gff3(name: str, genome: Genome, tmp_path: Path) -> None:
    actual = read(record(), genome, tmp_path / name)
    wanted = read(GFF, genome, tmp_path / "a.gff3")
    assert placed(actual) == placed(wanted)
    assert coding_sequences(actual) == coding_sequences(wanted)
    codings, left_out = coding_sequences(actual)
    assert [len(coding.parts) for coding in codings] == [2, 2, 1]
    assert left_out == {"marked partial": 1, "marked as a pseudogene": 1}
    assert sites(actual, codings) == sites(wanted, codings)
    assert [site.position for site in sites(actual, codings)["donor"]] == [140, 499, 610, 688]
    classes = classes_of(actual, genome)
    assert classes == classes_of(wanted, genome)
    # The gene that has only CDS has no intron, although the annotation has exons.
    assert classes["intron"] == [Interval("c", s, e) for s, e in ((140, 200), (470, 500), (610, 614), (688, 692))]


def test_records_by_all_their_names(genome: Genome, tmp_path: Path) -> None:
    text = record() + record("d", "     gene            11..20\n", 80) + record("z", "     source          1..9\n", 9)
    assert [f.interval for f in read(text, genome, tmp_path / "a.gb")][-1] == Interval("d.1", 10, 20)


@pytest.mark.parametrize(
    "changed",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("made by hand", "a\u2028b\u0085c caf\u00e9"),
    ],
    ids=["byte order mark", "crlf", "cr", "line separators"],
)
def test_text_as_it_comes(changed: Callable[[str], str], genome: Genome, tmp_path: Path) -> None:
    assert placed(read(changed(record()), genome, tmp_path / "a.gb")) == placed(
        read(record(), genome, tmp_path / "b.gb")
    )


def test_span_over_the_origin(genome: Genome, tmp_path: Path) -> None:
    text = record(features="     gene            889..6\n     gene            complement(889..6)\n")
    features = read(text.replace("linear  ", "circular"), genome, tmp_path / "a.gb")
    wanted = [Interval("c", 888, 900), Interval("c", 0, 6)]
    assert [feature.interval for feature in features] == [*wanted, *wanted[::-1]]
    assert [site.position for site in sites(features, [])["TSS"]] == [5, 888]
    with pytest.raises(
        SequenceError,
        match=r"record c.1: gene: the location cannot be read.*889..6.*a circular record must say circular",
    ):
        read(text, genome, tmp_path / "a.gb")


def test_over_the_origin_of_a_circle(genome: Genome, tmp_path: Path) -> None:
    lines = "     gene            join(889..900,1..6)\n     CDS             join(889..900,1..6)\n"
    features = read(record(features=lines), genome, tmp_path / "a.gb")
    codings, left_out = coding_sequences(features)
    assert (codings, left_out) == ([], {"parts out of order": 1})
    actual = sites(features, codings)
    assert [site.position for site in actual["TSS"]] == [888]
    assert actual["donor"] == []
    assert classes_of(features, genome)["intergenic"][0] == Interval("c", 6, 888)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (record("chrZ"), "record chrZ.1: g.fa has no contig chrZ.1"),
        (record(length=901), "record c.1 has 901 bases, c in g.fa has 900; is it the same assembly"),
        (record(features="     gene            1..1000\n"), "c:1-1,000 ends past the contig"),
        (record(features="     gene            1..x\n"), "record c.1: gene: the location cannot be read.*1..x"),
        (record(features="     gene            ?..9\n"), "record c.1: gene"),
        (
            record(features="     CDS             1..9\n                     /codon_start=4\n"),
            "CDS .*codon_start must be 1, 2 or 3, got 4",
        ),
        (
            record(features="     CDS             1..9\n" + " " * 21 + '/product "a\n' + " " * 21 + "b\n"),
            "line [0-9]+: not in GenBank format: Problem with 'CDS' feature: 1..9 /product",
        ),
        (
            record().replace("ORIGIN\n", "ORIGIN\n        1 acgtacgtac\n"),
            "record c.1: the lengths of LOCUS line and sequence differ",
        ),
        (record().replace("by hand", "\u00e9").encode("latin-1"), "line 2: byte 0xe9 is not UTF-8"),
        (record().encode("utf-16"), "is UTF-16 text"),
        (record() + record("d.1").partition("     CDS")[0], "line 4[0-9] after record c.1: not in GenBank format"),
        ("nothing\n", "no record in this file"),
    ],
    ids=[
        "contig",
        "length",
        "past the end",
        "location",
        "unknown end",
        "codon_start",
        "five lines",
        "LOCUS",
        "Latin-1",
        "UTF-16",
        "cut short",
        "empty",
    ],
)
def test_refused(text: str | bytes, message: str, genome: Genome, tmp_path: Path) -> None:
    with pytest.raises(SequenceError, match=message):
        read(text, genome, tmp_path / "a.gb")
    with pytest.raises(SequenceError) as caught:
        read(text, genome, tmp_path / "a.gb")
    assert "\n" not in str(caught.value)


def test_without_biopython(genome: Genome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "Bio", None)
    with pytest.raises(SequenceError, match=r"pip install 'hnet-dna\[genbank\]'"):
        read(record(), genome, tmp_path / "a.gb")


def without(kinds: set[str]) -> str:
    return "".join(line for line in GFF.splitlines(keepends=True) if line.split("\t")[2] not in kinds)


@pytest.mark.parametrize("kinds", [{"gene", "pseudogene"}, {"gene", "pseudogene", "mRNA", "tRNA"}])
def test_genes_derived_from_their_lines(kinds: set[str], genome: Genome, tmp_path: Path) -> None:
    features = read(without(kinds), genome, tmp_path / "a.gff3")
    genes = derived_genes(features)
    actual = sorted((g.interval.start, g.interval.end, g.strand) for g in genes)
    wanted = [(100, 250, "+"), (420, 540, "-"), (600, 629, "+"), (640, 670, "+"), (680, 700, "+"), (710, 740, "+")]
    assert actual == wanted
    assert directed_genes(genes) == genes
    assert derived_genes([*features, *genes]) == []


def test_derived_genes_join_transcripts_that_name_the_same_gene() -> None:
    def exon(start: int, end: int, gene: str, transcript: str) -> Feature:
        return Feature("exon", Interval("c", start, end), "+", None, f'gene_id "{gene}"; transcript_id "{transcript}";')

    lines = [exon(0, 10, "a", "1"), exon(50, 60, "a", "1"), exon(20, 80, "a", "2"), exon(30, 40, "b", "3")]
    lines += [exon(500, 510, "a", "4"), Feature("exon", Interval("c", 900, 910), "+")]
    actual = sorted(gene.interval for gene in derived_genes(lines))
    assert actual == [Interval("c", 0, 80), Interval("c", 30, 40), Interval("c", 500, 510)]
    of_parent = [
        Feature("mRNA", Interval("c", 0, 50), "+", None, "ID=t;Parent=g"),
        Feature("mRNA", Interval("c", 40, 90), "+", None, "ID=u;Parent=g"),
        Feature("CDS", Interval("c", 0, 9), "+", 0, "ID=x;Parent=t,u"),
    ]
    assert [gene.interval for gene in derived_genes(of_parent)] == [Interval("c", 0, 90)]
    nested = [Feature("miRNA", Interval("c", 60, 70), "+", None, "ID=m;Parent=p")]
    nested += [Feature("primary_transcript", Interval("c", 50, 90), "+", None, "ID=p;Parent=g")]
    assert [gene.interval for gene in derived_genes(nested)] == [Interval("c", 50, 90)]
