"""Annotation files: both ways of counting, derived classes, and what is refused."""

from __future__ import annotations

import gzip
import os
import threading
from pathlib import Path

import pytest
from helpers import random_dna, write_fasta

from hnet_dna.annotation.feature import Feature
from hnet_dna.annotation.genes import coding_sequences, sites
from hnet_dna.annotation.reader import classes_of, read_annotation, read_features
from hnet_dna.annotation.regions import Region, is_bed, read_regions
from hnet_dna.errors import SequenceError
from hnet_dna.genome.bundled import bundled_genome
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import open_genome
from hnet_dna.sequence.interval import Interval

GFF = (
    "##gff-version 3\n"
    "chr1\tx\tregion\t1\t500\t.\t.\t.\tID=r\n"
    "chr1\tx\tgene\t11\t100\t.\t+\t.\tID=g\r\n"
    "chr1\tx\tCDS\t11\t20\t.\t+\t0\tID=c\n"
    "chr1\tx\tCDS\t15\t40\t.\t+\t0\tID=c\n"
    "chr1\tx\tCDS\t61\t100\t.\t+\t0\tID=c\n"
    "\n# comment\n"
    "chr2\tx\tgene\t1\t200\t.\t-\t.\tID=h\n"
    "##FASTA\n>chr9\nACGT\n"
)


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    return open_genome(write_fasta(tmp_path / "g.fa", {"chr1": random_dna(500), "chr2": random_dna(200, 1)}))


@pytest.mark.parametrize("name", ["a.gff3", "a.gff3.gz", "a.gtf"])
def test_gff_counts_from_one(genome: Genome, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(GFF.encode()) if name.endswith("gz") else GFF.encode())
    classes = read_annotation(path, genome)
    assert classes == {
        "gene": [Interval("chr1", 10, 100), Interval("chr2", 0, 200)],
        "CDS": [Interval("chr1", 10, 40), Interval("chr1", 60, 100)],
        "intron": [Interval("chr1", 40, 60)],  # the gene on chr2 has no parts that would tell
        "intergenic": [Interval("chr1", 0, 10), Interval("chr1", 100, 500)],
    }


def test_a_contig_without_a_line_is_not_intergenic(genome: Genome, tmp_path: Path) -> None:
    (tmp_path / "a.gff3").write_text("chr1\tx\tgene\t11\t100\t.\t+\t.\tID=g\n")
    assert read_annotation(tmp_path / "a.gff3", genome)["intergenic"] == [
        Interval("chr1", 0, 10),
        Interval("chr1", 100, 500),
    ]


def test_bed_counts_from_zero(genome: Genome, tmp_path: Path) -> None:
    path = tmp_path / "a.bed"
    path.write_text("chr1\t0\t5\tLINE\nchr1\t3\t9\tLINE\nchr2\t1\t2\n")
    assert read_annotation(path, genome) == {"LINE": [Interval("chr1", 0, 9)], "annotated": [Interval("chr2", 1, 2)]}


def test_lines_of_the_rest_of_an_assembly_are_left_out(
    genome: Genome, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.gff3"
    rest = "".join(f"chr1{i}\tx\tgene\t1\t9999\t.\t+\t.\tI\n" * i for i in range(5))
    path.write_text(rest + "chr2\tx\tgene\t1\t50\t.\t+\t.\tI\n" + rest)
    with caplog.at_level("INFO", "hnet_dna"):
        assert read_annotation(path, genome)["gene"] == [Interval("chr2", 0, 50)]
    assert "a.gff3: 20 lines left out, on contigs that g.fa lacks: chr11, chr12, chr13 ..." in caplog.text
    # Of another assembly altogether, and one whose contigs have other names here.
    path.write_text(rest)
    with pytest.raises(SequenceError, match=r"a.gff3: line 1: g.fa has no contig chr11.*given: chr11, chr12"):
        read_annotation(path, genome)
    path.write_text("chr2\tx\tgene\t1\t50\t.\t+\t.\tI\n1\tx\tgene\t1\t50\t.\t+\t.\tI\n")
    with pytest.raises(SequenceError, match=r"line 2: g.fa has no contig 1.*It is called chr1 there"):
        read_annotation(path, genome)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr1\tx\tgene\t0\t5\t.\t+\t.\tI", "line 1: expected 1 <= start <= end, got 0 and 5"),
        ("chr1\tx\tgene\t7\t5\t.\t+\t.\tI", "line 1: expected 1 <= start <= end"),
        ("chr1\tx\tgene\ta\t5\t.\t+\t.\tI", "line 1: start and end must be integers"),
        ("chr1\tx\tgene\t1\t501\t.\t+\t.\tI", "ends past the contig \\(500 bases\\)"),
        ("1\tx\tgene\t1\t5\t.\t+\t.\tI", "g.fa has no contig 1.*It is called chr1 there"),
        ("chr1 x gene 1 5", "line 1: expected the 9 columns of GFF3 or GTF"),
    ],
)
def test_refused(genome: Genome, tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "a.gff3"
    path.write_text(line + "\n")
    with pytest.raises(SequenceError, match=message):
        read_annotation(path, genome)


def read(text: str | bytes, genome: Genome, path: Path) -> list[Feature]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_features(path, genome)


GENE = "chr1\tx\tgene\t11\t100\t.\t+\t.\tID=g;Name=caf\u00e9\n"


@pytest.mark.parametrize(
    "text",
    [
        GENE + "chr2\tx\tgene\t1\t200\t.\t-\t.\tID=h\n>chr1\nACGT\n",  # no ##FASTA
        GENE.replace("ID=g", "ID=g;Note=a\u2028b\u0085c\x0bd") + "chr2\tx\tgene\t1\t200\t.\t-\t.\tID=h\n",
        "\ufeff" + GENE + "chr2\tx\tgene\t1\t200\t.\t-\t.\tID=h\n",
        (GENE + "chr2\tx\tgene\t1\t200\t.\t-\t.\tID=h").replace("\n", "\r"),
        "browser position chr1:1-100\ntrack name=genes\n" + GENE + "chr2\tx\tgene\t1\t200\t.\t-\t.\tID=h\n",
        "##sequence-region chr1 1 500\n##sequence-region chr2 1 200\n"
        + GENE
        + "chr2\tx\tgene\t1\t200\t.\t-\t.\tID=h\n",
        GENE.replace("chr1", "chr%31") + "chr2\tx\tgene\t1\t200\t.\t-\t.\tID=h\n",
    ],
    ids=["fasta", "line separators", "byte order mark", "cr", "track lines", "lengths", "encoded name"],
)
def test_gff_as_it_comes(text: str, genome: Genome, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    features = read(text, genome, tmp_path / "a.gff3")
    assert [f.interval for f in features] == [Interval("chr1", 10, 100), Interval("chr2", 0, 200)]
    assert features[0].name == "caf\u00e9"
    assert caplog.text == ""


def test_attributes_are_shown_decoded(genome: Genome, tmp_path: Path) -> None:
    (gene,) = read("chr1\tx\tgene\t1\t9\t.\t+\t.\tID=g;Name=HLA%2CA%3B%20x\n", genome, tmp_path / "a.gff3")
    assert gene.name == "HLA,A; x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GENE.encode("utf-16"), "is UTF-16 text; convert it with"),
        (GENE.encode("utf-16-le"), "UTF-16"),
        (GENE.encode("latin-1"), "line 1: byte 0xe9 is not UTF-8.*If it is Latin-1, convert it with"),
        (
            b"##sequence-region chr1 1 248956422\n" + GENE.encode(),
            "line 1: chr1 has 248,956,422 bases by this line, 500",
        ),
        (b'# Sequence Data: seqnum=1;seqlen=501;seqhdr="chr1 x"\n', "line 1: chr1 has 501 bases by this line, 500"),
        (b"chr1\tx\tchromosome\t1\t501\t.\t.\t.\tID=chr1\n", "line 1: chr1:1-501 ends past the contig"),
        (b'chr1\tx\texon\t1\t9\t.\t.\t.\tgene_id "a; transcript_id "b";\n', "line 1: a quotation mark in column 9"),
        (b"chr1\tx\tgene\t1_0\t9\t.\t+\t.\tI\n", "line 1: start and end must be integers, got '1_0'"),
    ],
)
def test_gff_of_another_kind_or_assembly(text: bytes, message: str, genome: Genome, tmp_path: Path) -> None:
    with pytest.raises(SequenceError, match=message):
        read(text, genome, tmp_path / "a.gff3")


def test_a_contig_that_the_file_has_shorter_is_told_once(
    genome: Genome, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "##sequence-region chr1 1 400\n##sequence-region chr2 1 199\n##sequence-region chr2 5 199\n" + GENE
    assert len(read(text, genome, tmp_path / "a.gff3")) == 1
    (note,) = caplog.messages
    assert note == (
        "a.gff3: contigs that are longer in g.fa: 2, such as chr1 (400 bases here, 500 there). Is it the same assembly?"
    )


def test_builds_are_compared(tmp_path: Path) -> None:
    yeast = open_genome(bundled_genome().fasta)
    gene = "chrI\tx\tgene\t1\t9\t.\t+\t.\tI\n"
    for line in ("#!genome-build R64-1-1", "##genome-build SGD R64", "#!genome-build Release 6 plus ISO1 MT"):
        assert len(read(f"{line}\n{gene}", yeast, tmp_path / "a.gtf")) == 1
    for line in (
        "#!genome-build GRCh38.p14",
        "##genome-build NCBI GRCh38",
        "##description: evidence-based annotation of the human genome (GRCh38), version 44 (Ensembl 110)",
    ):
        with pytest.raises(
            SequenceError, match=r"a.gtf: line 1: the genome build is .*GRCh38.*, but .* is R64 \(sacCer3\)"
        ):
            read(f"{line}\n{gene}", yeast, tmp_path / "a.gtf")


CIRCLE = "chr2\tx\tregion\t1\t200\t.\t+\t.\tID=chr2;Is_circular=true\n"


@pytest.mark.parametrize("first", [True, False])
def test_over_the_origin_of_a_circle(first: bool, genome: Genome, tmp_path: Path) -> None:
    lines = (
        "chr2\tx\tgene\t191\t206\t.\t+\t.\tID=g\n"
        "chr2\tx\tCDS\t191\t206\t.\t+\t0\tID=c;Parent=g\n"
        "chr2\tx\tgene\t195\t203\t.\t-\t.\tID=h\n"
        "chr2\tx\tCDS\t195\t203\t.\t-\t1\tID=d;Parent=h\n"
        "chr2\tx\tgene\t211\t213\t.\t+\t.\tID=i\n"
    )
    features = read(CIRCLE + lines if first else lines + CIRCLE, genome, tmp_path / "a.gff3")
    assert [(f.kind, f.interval.start, f.interval.end, f.strand, f.phase) for f in features] == [
        ("gene", 190, 200, "+", None),
        ("gene", 0, 6, "+", None),
        ("CDS", 190, 200, "+", 0),
        ("CDS", 0, 6, "+", 2),
        ("gene", 0, 3, "-", None),
        ("gene", 194, 200, "-", None),
        ("CDS", 0, 3, "-", 1),
        ("CDS", 194, 200, "-", 1),
        ("gene", 10, 13, "+", None),
    ]
    codings, left_out = coding_sequences(features)
    assert (codings, left_out) == ([], {"parts out of order": 2})
    actual = sites(features, codings)
    assert [(site.position, site.strand) for site in actual["TSS"]] == [(2, "-"), (10, "+"), (190, "+")]
    assert actual["donor"] == []
    assert classes_of(features, genome)["intergenic"] == [Interval("chr2", 6, 10), Interval("chr2", 13, 190)]


def test_lines_on_both_sides_of_the_origin(genome: Genome, tmp_path: Path) -> None:
    lines = "chr2\tx\tCDS\t192\t200\t.\t+\t0\tID=c\nchr2\tx\tCDS\t1\t6\t.\t+\t0\tID=c\n"
    features = read(CIRCLE + lines, genome, tmp_path / "a.gff3")
    assert coding_sequences(features) == ([], {"parts out of order": 1})
    assert sites(features, [])["donor"] == []
    lines = lines.replace("6\t.\t+\t0\tID=c", "6\t.\t+\t0\tID=d")
    assert len(coding_sequences(read(CIRCLE + lines, genome, tmp_path / "a.gff3"))[0]) == 2


def test_over_the_end_of_a_line(genome: Genome, tmp_path: Path) -> None:
    gene = "chr2\tx\tgene\t191\t206\t.\t+\t.\tID=g\n"
    message = r"line 1: chr2:191-206 ends past the contig \(200 bases\).*Is_circular=true"
    with pytest.raises(SequenceError, match=message):
        read(gene + CIRCLE.replace("true", "false"), genome, tmp_path / "a.gff3")
    with pytest.raises(SequenceError, match=r"line 2: chr2:1-201 ends past the contig"):
        read(CIRCLE + gene.replace("191\t206", "1\t201"), genome, tmp_path / "a.gff3")


FORMATS = {
    "gff": (GENE + "chr2\tx\texon\t5\t9\t.\t.\t.\tID=e\n", ["gene", "exon"]),
    "gtf": ('chr1\tx\texon\t5\t9\t.\t.\t.\tgene_id "g"; note "chr1 1 5";\n', ["exon"]),
    "bed": ("# x\ntrack name=x\nchr1\t0\t5\tLINE\nchr2 3 9\n", ["LINE", "annotated"]),
    "gb": (
        "LOCUS       chr1                     500 bp    DNA     linear   PLN 01-JAN-2020\nACCESSION   chr1\n"
        "FEATURES             Location/Qualifiers\n     gene            1..9\nORIGIN\n//\n",
        ["gene"],
    ),
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_pipes_are_read_once_and_tell_their_format(name: str, compressed: bool, genome: Genome, tmp_path: Path) -> None:
    text, kinds = FORMATS[name]
    pipe = tmp_path / "63"
    os.mkfifo(pipe)
    data = gzip.compress(text.encode()) if compressed else text.encode()
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    assert [feature.kind for feature in read_features(pipe, genome)] == kinds
    writer.join()


@pytest.mark.parametrize("suffix", ["", ".BED", ".bed.gz", ".Bed.BGZ", ".bed.bgz"])
def test_bed_by_its_name(suffix: str, genome: Genome, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix or '.bed'}"
    text = "\ufeffchr1\t0\t5\tLINE\n"
    data = gzip.compress(text.encode()) if suffix.lower().endswith("gz") else text.encode()
    assert is_bed(path)
    assert [f.kind for f in read(data, genome, path)] == ["LINE"]
    assert not is_bed(tmp_path / "a.bed.csv")


def test_columns_of_bed(genome: Genome, tmp_path: Path) -> None:
    path = tmp_path / "a.bed"
    path.write_text("browser position chr1\n\ttrack x\nchr1\t0\t5\n" + "chr1\t1\t2\t.\t7.5\t-\tx\nchr1 3 4 n 9\n")
    assert read_regions(path, genome) == [
        Region(Interval("chr1", 0, 5), "", 3),
        Region(Interval("chr1", 1, 2), "", 4, "-", "7.5"),
        Region(Interval("chr1", 3, 4), "n", 5, ".", "9"),
    ]
