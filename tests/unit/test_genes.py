"""Which lines make one coding sequence, in every dialect, and which coding sequences are complete."""

from __future__ import annotations

import pytest

from hnet_dna.annotation.feature import Feature
from hnet_dna.annotation.genes import coding_sequences, derived_genes, sites
from hnet_dna.annotation.reader import read_features
from hnet_dna.genome.bundled import bundled_genome
from hnet_dna.genome.open import open_genome
from hnet_dna.sequence.interval import Interval

# Two exons of 10 and 11 bases, twice: codons run on over the introns.
PLACES = [((100, 110), 0), ((150, 161), 2), ((300, 310), 0), ((350, 361), 2)]


def lines(*texts: str, kind: str = "CDS") -> list[Feature]:
    return [
        Feature(kind, Interval("c", *place), "+", phase, text)
        for (place, phase), text in zip(PLACES, texts, strict=False)
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Parent={}", "Parent={}"),
        ("ID=cds{};Parent={}", "ID=cds{};Parent={}"),
        ("ID=cds{}a;Parent={}", "ID=cds{}b;Parent={}"),  # every line has an ID of its own
        ("ID={}", "ID={}"),
        ("locus_tag={}", "locus_tag={}"),
        ("ID=x{};transcript_id={}", "ID=x{};transcript_id={}"),
        ('gene_id "g{}"; transcript_id "{}";', 'gene_id "g{}"; transcript_id "{}";'),
        ("gene_id g{}; transcript_id {};", "gene_id g{}; transcript_id {};"),
        ("gene_id g{}; transcript_id {}", "gene_id g{}; transcript_id {}"),
        ("transcript_id {} ; gene_id g{}", "transcript_id {} ; gene_id g{}"),
        ('gene_id "{}" protein_id 335805 exonNumber 1', 'gene_id "{}" protein_id m335805 exonNumber 2'),
        ('name "x"; proteinId {}; exonNumber 1', 'name "x"; proteinId {}; exonNumber 2'),
        ('gene_id "{}"', 'gene_id "{}"'),
        ("{}", "{}"),
    ],
)
def test_lines_of_a_coding_sequence_in_each_dialect(first: str, second: str) -> None:
    features = lines(*(text.replace("{}", name) for name in ("a", "b") for text in (first, second)))
    codings, left_out = coding_sequences(features)
    assert left_out == {}
    wanted = [((100, 110), (150, 161)), ((300, 310), (350, 361))]
    assert [tuple((p.start, p.end) for p in coding.parts) for coding in codings] == wanted
    actual = sites(features, codings)
    assert [site.position for site in actual["donor"]] == [110, 310]
    assert [site.position for site in actual["acceptor"]] == [150, 350]
    assert [gene.interval for gene in derived_genes(features)] == [Interval("c", 100, 161), Interval("c", 300, 361)]


@pytest.mark.parametrize("text", ["", "Note=x", "insertions 0 ; deletions 0", "gene=tufA", 'Name "cox1"'])
def test_lines_that_nothing_ties_are_left_out(text: str) -> None:
    features = lines(*[text] * 4)
    codings, left_out = coding_sequences(features)
    assert codings == []
    assert left_out == {"without ID, Parent, transcript_id or gene_id": 4}
    assert sites(features, codings)["donor"] == []


def test_a_symbol_that_one_line_has_names_it() -> None:
    features = [Feature("CDS", Interval("c", 9 * i, 9 * i + 9), "+", 0, f"gene=g{i}") for i in range(3)]
    assert len(coding_sequences(features)[0]) == 3


def test_isoforms_of_a_gene_are_told_apart_by_protein_where_they_overlap() -> None:
    places = [(0, 9, "p"), (20, 29, "p"), (0, 6, "q"), (20, 29, "q")]
    features = [Feature("CDS", Interval("c", s, e), "+", 0, f'gene_id "g"; protein_id "{p}"') for s, e, p in places]
    assert [len(coding.parts) for coding in coding_sequences(features)[0]] == [2, 2]
    unnamed = [Feature("CDS", f.interval, "+", 0, 'gene_id "g"') for f in features]
    assert coding_sequences(unnamed) == ([], {"parts overlap": 1})
    exons = [Feature("exon", f.interval, "+", None, 'gene_id "g"') for f in features]
    assert sites(exons, [])["donor"] == []  # of which transcript?


def test_whole_coding_sequence_beside_its_parts() -> None:
    whole = Feature("CDS", Interval("c", 100, 160), "+", None, 'CDS "a"')
    features = [whole, *lines('CDS "a"', 'CDS "a"', kind="coding_exon")]
    (coding,), _ = coding_sequences(features)
    assert len(coding.parts) == 2
    assert [site.position for site in sites(features, [coding])["donor"]] == [110]


@pytest.mark.parametrize(
    "mark",
    [
        "partial=true",
        "partial=10",
        "partial=01",
        "partial=11",
        "start_range=.,101",
        "end_range=161,.",
        "tag=basic,cds_end_NF",
        "5_prime_partial=true",
        "missing_stop_codon=True",
        "Lack 3'-end",
    ],
)
def test_marked_partial(mark: str) -> None:
    assert coding_sequences(lines("ID=a", f"ID=a;{mark}")) == ([], {"marked partial": 1})


@pytest.mark.parametrize("mark", ["partial=00", "partial=false", "Complete", "Note=partial=true", "pseudo=false"])
def test_not_marked(mark: str) -> None:
    assert len(coding_sequences(lines(f"ID=a;{mark}", "ID=a"))[0]) == 1


@pytest.mark.parametrize("mark", ['partial "true"', "partial 10", 'tag "x"; tag "cds_start_NF"', 'pseudo "true"'])
def test_marked_in_gtf(mark: str) -> None:
    codings, left_out = coding_sequences(lines('transcript_id "a"', f'transcript_id "a"; {mark};'))
    assert codings == []
    assert sum(left_out.values()) == 1


def test_codons_that_others_have_are_missed() -> None:
    first, second = 'gene_id "a"; transcript_id "at"', 'gene_id "b"; transcript_id "bt"'
    features = lines(first, first, second, second)
    stop = Feature("stop_codon", Interval("c", 161, 164), "+", 0, first)
    start = Feature("start_codon", Interval("c", 100, 103), "+", 0, 'gene_id "a"')  # JGI's name the gene only
    codings, left_out = coding_sequences([*features, stop, start])
    assert [coding.parts[-1].end for coding in codings] == [164]
    assert left_out == {"no start_codon line, which others have": 1}
    again = Feature("stop_codon", Interval("c", 171, 174), "+", 0, first)
    assert coding_sequences([*features[:2], stop, again]) == ([], {"several start or stop codons": 1})


def test_trans_spliced_parts_have_no_intron() -> None:
    features = lines("ID=a;exception=trans-splicing", "ID=a;exception=trans-splicing;part=2")
    assert coding_sequences(features) == ([], {"parts out of order": 1})
    assert sites(features, [])["donor"] == []


def test_lines_that_a_file_has_twice() -> None:
    for texts in (("ID=a;Parent=t", "ID=a;Parent=t"), ("ID=a;Parent=t", "ID=b;Parent=t"), ("Parent=t", "Parent=t")):
        for kind in ("exon", "CDS"):
            features = lines(*texts, kind=kind)
            codings, left_out = coding_sequences([*features, *features])
            assert (len(codings), left_out) == (kind == "CDS", {})
            assert [site.position for site in sites([*features, *features], codings)["donor"]] == [110]


def test_exons_of_a_gene_are_not_those_of_one_transcript() -> None:
    gene = Feature("gene", Interval("c", 0, 90), "+", None, "ID=g")
    places = [(0, 10), (20, 40), (30, 40), (80, 90)]
    exons = [Feature("exon", Interval("c", *p), "+", None, f"ID=e{i};Parent=g") for i, p in enumerate(places)]
    assert sites([gene, *exons], [])["donor"] == []
    assert len(sites([gene, *exons[::2], exons[3]], [])["donor"]) == 2
    assert len(sites(exons, [])["donor"]) == 2  # of a transcript


def test_genes_of_yeast() -> None:
    bundled = bundled_genome()
    features = read_features(bundled.annotation, open_genome(bundled.fasta))
    codings, left_out = coding_sequences(features)
    assert (len(features), len(codings), left_out) == (13984, 5989, {})
    counts = {name: len(places) for name, places in sites(features, codings).items()}
    assert counts == {"start codon": 5947, "stop codon": 5989, "TSS": 6354, "donor": 280, "acceptor": 280}
