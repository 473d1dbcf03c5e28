"""Some two hundred odd inputs, and what each gives: a result, or one clear error that says where.

Every text is tried as it is, with CRLF line ends, and compressed, which may not change the outcome.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import lively_model, random_dna, small_config, write_fasta

from hnet_dna.annotation.reader import read_annotation
from hnet_dna.annotation.regions import read_regions
from hnet_dna.errors import HNetError
from hnet_dna.genome.genome import Genome, whole
from hnet_dna.genome.open import open_genome
from hnet_dna.model.lm import HNetLM
from hnet_dna.tracks.segment import Segmenter
from hnet_dna.tracks.vcf import VcfScorer

LENGTHS = {"chr1": 300, "chr2": 90, "HLA-A*01:01": 40, "chrM": 60}
SEQUENCES = {name: random_dna(length, seed) for seed, (name, length) in enumerate(LENGTHS.items())}

# name: (text, number of contigs, or what the error says)
FASTA: dict[str, tuple[str, int | str]] = {
    "plain": (">a\nACGT\n", 1),
    "no final newline": (">a\nACGT", 1),
    "one base": (">a\nA\n", 1),
    "three bases": (">a\nACG\n", 1),
    "two records": (">a\nAC\n>b\nGT\n", 2),
    "blank line between records": (">a\nAC\n\n>b\nGT\n", 2),
    "blank lines at the end": (">a\nAC\n\n\n", 1),
    "blank lines at the start": ("\n\n>a\nAC\n", 1),
    "ragged lines": (">a\nACGTA\nC\nGGT\n", 1),
    "lower case": (">a\nacgtn\n", 1),
    "uracil": (">a\nACUU\n", 1),
    "IUPAC codes": (">a\nACRYSWKMBDHV\n", 1),
    "N inside": (">a\nACNNNGT\n", 1),
    "N at both ends": (">a\nNNACGTNN\n", 1),
    "only N": (">a\nNNNN\n", 1),
    "blanks at line ends": (">a\nACGT \nAC\t\n", 1),
    "description": (">a some words here\nACGT\n", 1),
    "tab in header": (">a\tx\nACGT\n", 1),
    "colon in name": (">chr1:1-4\nACGT\n", 1),
    "pipes in name": (">gi|1|ref|NC_1.1|\nACGT\n", 1),
    "blank after the angle": ("> a\nACGT\n", 1),
    "path as name": (">C:\\data\\x.fa\nACGT\n", 1),
    "one long line": (">a\n" + "ACGT" * 500 + "\n", 1),
    "many short records": ("".join(f">s{i}\nAC\n" for i in range(50)), 50),
    "empty": ("", "is empty"),
    "only newlines": ("\n\n\n", "no record"),
    "no header": ("ACGT\n", "line 1: expected '>'"),
    "text before header": ("hello\n>a\nAC\n", "line 1: expected '>'"),
    "FASTQ": ("@r\nACGT\n+\nIIII\n", "FASTQ"),
    "GenBank": ("LOCUS       X 4 bp\nORIGIN\n", "line 1: expected '>'"),
    "blank line inside": (">a\nAC\n\nGT\n", "record a, line 3"),
    "protein": (">p\nMKVLE\n", "record p, line 2: 'L' is not a nucleotide letter (protein?)"),
    "protein later": (">a\nACGT\n>p\nACGT\nMKVLE\n", "record p, line 5"),
    "gap": (">a\nAC-GT\n", "record a, line 2: '-'"),
    "stop": (">a\nACGT*\n", "record a, line 2: '*'"),
    "digit": (">a\n1 ACGT\n", "record a, line 2: '1'"),
    "blank inside a line": (">a\nAC GT\n", "record a, line 2: ' '"),
    "dot": (">a\nAC.GT\n", "record a, line 2: '.'"),
    "letter X": (">a\nACXGT\n", "record a, line 2: 'X'"),
    "accent": (">a\nACÄGT\n", "record a, line 2"),
    "semicolon comment": (";comment\n>a\nAC\n", "line 1: expected '>'"),
    "header alone": (">a\n", "record a has no sequence"),
    "empty record first": (">a\n>b\nAC\n", "record a has no sequence"),
    "empty record last": (">a\nAC\n>b\n", "record b has no sequence"),
    "no name": (">\nAC\n", "line 1: a record has no name"),
    "same name twice": (">a\nAC\n>a\nGT\n", "line 3: record a occurs twice"),
    "same first word": (">a one\nAC\n>a two\nGT\n", "record a occurs twice"),
    "HTML": ("<html><body>404</body></html>\n", "line 1: expected '>'"),
}

# name: (text, regions found, or what the error says)
BED: dict[str, tuple[str, int | str]] = {
    "three columns": ("chr1\t0\t10\n", 1),
    "six columns": ("chr1\t0\t10\tx\t5\t+\n", 1),
    "blanks as separators": ("chr1 0 10 x\n", 1),
    "whole contig": ("chr2\t0\t90\n", 1),
    "name with stars and colons": ("HLA-A*01:01\t0\t40\n", 1),
    "comment": ("# x\nchr1\t0\t10\n", 1),
    "track line": ('track name="x y"\nchr1\t0\t10\n', 1),
    "browser line": ("browser position chr1:1-10\nchr1\t0\t10\n", 1),
    "blank lines": ("\nchr1\t0\t10\n\n", 1),
    "unsorted and overlapping": ("chr2\t5\t9\nchr1\t4\t90\nchr1\t0\t10\n", 3),
    "start is end": ("chr1\t5\t5\nchr1\t0\t1\n", 1),
    "different numbers of columns": ("chr1\t0\t10\nchr1\t20\t30\tx\n", 2),
    "no final newline": ("chr1\t0\t10", 1),
    "nothing": ("", "no region"),
    "only comments": ("# x\n# y\n", "no region"),
    "start after end": ("chr1\t10\t5\n", "line 1: expected 0 <= start <= end"),
    "negative": ("chr1\t-5\t5\n", "line 1: expected 0 <= start <= end"),
    "fraction": ("chr1\t1.5\t5\n", "line 1: start and end must be integers, got '1.5'"),
    "thousands separator": ("chr1\t1,000\t2,000\n", "line 1: start and end must be integers"),
    "underscore": ("chr1\t1_0\t20\n", "line 1: start and end must be integers, got '1_0'"),
    "words": ("chr1\tstart\tend\n", "line 1: start and end must be integers"),
    "header line": ("chrom\tchromStart\tchromEnd\nchr1\t0\t5\n", "line 1: start and end must be integers"),
    "one column": ("chr1\n", "line 1: expected contig, start and end"),
    "two columns": ("chr1\t5\n", "line 1: expected contig, start and end"),
    "region text": ("chr1:1-10\n", "line 1: expected contig, start and end"),
    "commas": ("chr1,0,10\n", "line 1: expected contig, start and end"),
    "past the end": ("chr2\t80\t91\n", "line 1: chr2:81-91 ends past the contig (90 bases"),
    "far past the end": ("chr1\t0\t99999999999\n", "ends past the contig"),
    "other naming": ("1\t0\t10\n", "It is called chr1 there"),
    "other naming of the mitochondrion": ("MT\t0\t10\n", "It is called chrM there"),
    "unknown contig": ("scaffold_7\t0\t10\n", "has no contig scaffold_7"),
    "typo": ("chr11\t0\t10\n", "has no contig chr11"),
    "second line bad": ("chr1\t0\t10\nchr1\t9\t2\n", "line 2"),
    "GFF by mistake": ("chr1\tx\tgene\t1\t9\t.\t+\t.\tID=a\n", "line 1: start and end must be integers"),
}

GFF: dict[str, tuple[str, int | str]] = {
    "GFF3": ("##gff-version 3\nchr1\tx\tgene\t1\t9\t.\t+\t.\tID=a\n", 2),
    "GTF": ('chr1\tx\texon\t1\t9\t.\t+\t.\tgene_id "a";\n', 1),
    "eight columns": ("chr1\tx\tCDS\t1\t9\t.\t+\t0\n", 1),
    "whole contig": ("chr2\tx\trepeat\t1\t90\t.\t+\t.\tx\n", 1),
    "one base": ("chr2\tx\tSNP\t90\t90\t.\t+\t.\tx\n", 1),
    "comments and blank lines": ("# x\n\nchr1\tx\tCDS\t1\t9\t.\t+\t0\tx\n", 1),
    "FASTA section": ("chr1\tx\tCDS\t1\t9\t.\t+\t0\tx\n##FASTA\n>chr1\nACGT\n", 1),
    "region of a contig we lack": ("chr9\tx\tregion\t1\t9\t.\t+\t.\tx\nchr1\tx\tCDS\t1\t9\t.\t+\t0\tx\n", 1),
    "FASTA without a directive": ("chr1\tx\tCDS\t1\t9\t.\t+\t0\tx\n>chr1\nACGT\n", 1),
    "track line": ("track name=x\nchr1\tx\tCDS\t1\t9\t.\t+\t0\tx\n", 1),
    "over the origin": ("chr2\tx\tregion\t1\t90\t.\t+\t.\tIs_circular=true\nchr2\tx\tCDS\t85\t93\t.\t+\t0\tx\n", 1),
    "longer by its header": ("##sequence-region chr2 1 91\n", "line 1: chr2 has 91 bases by this line, 90 in g.fa"),
    "nothing": ("", 0),
    "start of zero": ("chr1\tx\tgene\t0\t9\t.\t+\t.\tx\n", "line 1: expected 1 <= start <= end, got 0 and 9"),
    "start after end": ("chr1\tx\tgene\t9\t1\t.\t+\t.\tx\n", "line 1: expected 1 <= start <= end"),
    "negative": ("chr1\tx\tgene\t-1\t9\t.\t+\t.\tx\n", "line 1: expected 1 <= start <= end"),
    "words": ("chr1\tx\tgene\ta\tb\t.\t+\t.\tx\n", "line 1: start and end must be integers"),
    "blanks as separators": ("chr1 x gene 1 9 . + . x\n", "line 1: expected the 9 columns"),
    "few columns": ("chr1\tx\tgene\t1\t9\n", "line 1: expected the 9 columns"),
    "past the end": ("chr2\tx\tgene\t80\t91\t.\t+\t.\tx\n", "line 1: chr2:80-91 ends past the contig"),
    "other naming": ("2\tx\tgene\t1\t9\t.\t+\t.\tx\n", "It is called chr2 there"),
    "BED by mistake": ("chr1\t0\t10\tx\t0\t+\n", "line 1: expected the 9 columns"),
}

HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
BASE = SEQUENCES["chr1"][9]
OTHER = "ACGT"[("ACGT".index(BASE) + 1) % 4]


def record(ref: str = BASE, alt: str = OTHER, contig: str = "chr1", position: str = "10") -> str:
    return f"{HEADER}{contig}\t{position}\t.\t{ref}\t{alt}\t.\t.\t.\n"


R = record().split("\n", 1)[1]

# name: (text, reason to skip or None for a score, or what the error says)
VCF: dict[str, tuple[str, str | None]] = {
    "SNV": (record(), None),
    "lower case": (record(BASE.lower(), OTHER.lower()), None),
    "insertion": (record(alt=BASE + "GATTACA"), None),
    "deletion": (record(SEQUENCES["chr1"][9:14], BASE), None),
    "MNV": (record(SEQUENCES["chr1"][9:12], "AAA" if SEQUENCES["chr1"][9:12] != "AAA" else "CCC"), None),
    "first base": (record(SEQUENCES["chr1"][0], "A" if SEQUENCES["chr1"][0] != "A" else "C", position="1"), None),
    "last base": (record(SEQUENCES["chr2"][89], "A" if SEQUENCES["chr2"][89] != "A" else "C", "chr2", "90"), None),
    "no record": (HEADER, None),
    "REF differs": (record(OTHER, BASE), "REF_MISMATCH"),
    "REF of N": (record("N", "A"), "NOT_ACGT"),
    "ALT of N": (record(alt="N"), "NOT_ACGT"),
    "IUPAC ALT": (record(alt="R"), "NOT_ACGT"),
    "symbolic": (record(alt="<DEL>"), "SYMBOLIC"),
    "breakend": (record(alt=f"{BASE}[chr2:5["), "BREAKEND"),
    "single breakend": (record(alt=f"{BASE}."), "BREAKEND"),
    "star": (record(alt="*"), "SPANNING_DELETION"),
    "missing ALT": (record(alt="."), "MISSING_ALT"),
    "past the end": (record("A", "C", position="301"), "PAST_THE_END"),
    "REF reaches past the end": (record(SEQUENCES["chr2"][88:] + "A", "A", "chr2", "89"), "PAST_THE_END"),
    "other naming": (record(contig="1"), "error: It is called chr1 there"),
    "unknown contig": (record(contig="scaffold_7"), "error: has no contig scaffold_7"),
    "contig of an assembly file": (record(contig="<ctg7>"), "SYMBOLIC"),
    "REF is ALT": (record(alt=BASE), None),
    "ALT twice": (record(alt=f"{OTHER},{OTHER}"), None),
    "any other allele": (record(alt="<*>"), "SYMBOLIC"),
    "long insertion of a contig": (record(alt=f"{BASE}<ctg7>"), "SYMBOLIC"),
    "breakend to a contig of an assembly": (record(alt=f"{BASE}[<ctg7>:1["), "BREAKEND"),
    "X of old samtools": (record(alt="X"), "NOT_ACGT"),
    "missing REF": (record("."), "NOT_ACGT"),
    "before the first base": (record(position="0"), "PAST_THE_END"),
    "breakend at the telomere": (record("N", ".[chr2:5[", position="0"), "BREAKEND"),
    "breakend at the other telomere": (record("N", "].", "chr2", "91"), "BREAKEND"),
    "position of twenty digits": (record(position="1" * 20), "error: line 3: POS should be a whole number"),
    "blank lines": (record() + "\n\n", None),
    "no final newline": (record().rstrip("\n"), None),
    "version 4.5": (record().replace("4.2", "4.5"), None),
    "IDX in the header": (
        '##fileformat=VCFv4.2\n##INFO=<ID=D,Number=1,Type=Integer,Description="x",IDX=7>\n' + R,
        None,
    ),
    "empty": ("", "error: is empty"),
    "header is missing": ("chr1\t10\t.\tA\tC\t.\t.\t.\n", "error: its first line should be ##fileformat=VCFv4.2"),
    "version is missing": (R, "error: its first line should be ##fileformat=VCFv4.2"),
    "columns are missing": ("##fileformat=VCFv4.2\n", "error: ends before the names of the columns"),
    "records without columns": ("##fileformat=VCFv4.2\nchr1\t10\n", "error: line 2: expected the names of the columns"),
    "blanks for tabs": (HEADER.replace("\t", " "), "error: line 2: expected the names of the columns"),
    "blanks for tabs in records": (record().replace("\t10\t", "\t10 "), "error: line 3: expected 8 columns"),
    "too many columns": (
        record()[:-1] + "\tGT\n",
        "error: line 3: expected 8 columns with tabs between them, as in the",
    ),
    "a second header": (record() + HEADER, "error: line 4: a line of a header after it"),
    "position is a word": (
        record(position="x"),
        "error: line 3: POS should be a whole number, counted from 1, got 'x'",
    ),
    "negative position": (record(position="-5"), "error: line 3: POS should be a whole number"),
    "no contig": (record(contig=""), "error: line 3: CHROM is empty"),
    "no REF": (record(ref=""), "error: line 3: REF should be letters of bases, got ''"),
    "two REFs": (record(ref="A,C"), "error: line 3: REF should be letters of bases, got 'A,C'"),
    "dash for no bases": (record(alt="-"), "error: line 3: ALT should be letters of bases"),
    "comma too many": (record(alt=f"{OTHER},"), "error: line 3: ALT should be letters of bases"),
    "angle left open": (record(alt="<DEL"), "error: line 3: ALT should be letters of bases"),
    "BED by mistake": ("chr1\t0\t10\n", "error: not a VCF file"),
    "another genome's contigs": (
        record().replace("\n", "\n##contig=<ID=chr1,length=249250621>\n", 1),
        "error: line 2: the header gives chr1 249,250,621 bases; in g.fa it has 300",
    ),
}

ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "plain": lambda text: text.encode("utf-8"),
    "crlf": lambda text: text.replace("\n", "\r\n").encode("utf-8"),
    "gzip": lambda text: gzip.compress(text.encode("utf-8")),
}
MORE_ENCODINGS: dict[str, Callable[[str], bytes]] = {
    **ENCODINGS,
    "cr": lambda text: text.replace("\n", "\r").encode("utf-8"),
    "byte order mark": lambda text: text.encode("utf-8-sig"),
}


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    return open_genome(write_fasta(tmp_path_factory.mktemp("odd") / "g.fa", SEQUENCES))


@pytest.fixture(scope="module")
def model() -> HNetLM:
    return lively_model(small_config()).float()


def write(folder: Path, name: str, text: str, encoding: str) -> Path:
    path = folder / (name + (".gz" if encoding == "gzip" else ""))
    path.write_bytes(MORE_ENCODINGS[encoding](text))
    return path


def error_of(call: Callable[[], object], path: Path) -> str:
    """Return the message of the one error that a user would see; anything but an HNetError is a bug."""
    with pytest.raises(HNetError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message or "record" in message
    return message


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("case", FASTA)
def test_fasta(case: str, encoding: str, tmp_path: Path) -> None:
    text, outcome = FASTA[case]
    path = write(tmp_path, "x.fa", text, encoding)
    if isinstance(outcome, str):
        if encoding == "gzip" and not text:
            return  # an empty gzip file holds an empty FASTA: the same error, from another place
        assert outcome in error_of(lambda: open_genome(path), path)
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
    else:
        assert len(open_genome(path).contigs) == outcome


@pytest.mark.parametrize("case", [name for name, (_, outcome) in FASTA.items() if isinstance(outcome, int)])
def test_fasta_is_segmented(case: str, model: HNetLM, tmp_path: Path) -> None:
    genome = open_genome(write(tmp_path, "x.fa", FASTA[case][0], "plain"))
    stream = io.StringIO()
    Segmenter(model, stream).run_strands(genome, [whole(contig) for contig in genome.contigs], "+")
    covered = sum(int(line.split("\t")[2]) - int(line.split("\t")[1]) for line in stream.getvalue().splitlines())
    assert covered == sum(contig.length - contig.n_bases for contig in genome.contigs)


@pytest.mark.parametrize("encoding", MORE_ENCODINGS)
@pytest.mark.parametrize("case", BED)
def test_bed(case: str, encoding: str, genome: Genome, tmp_path: Path) -> None:
    text, outcome = BED[case]
    path = write(tmp_path, "x.bed", text, encoding)
    if isinstance(outcome, str):
        assert outcome in error_of(lambda: read_regions(path, genome), path)
    else:
        assert len(read_regions(path, genome)) == outcome


@pytest.mark.parametrize("encoding", MORE_ENCODINGS)
@pytest.mark.parametrize("case", GFF)
def test_gff(case: str, encoding: str, genome: Genome, tmp_path: Path) -> None:
    text, outcome = GFF[case]
    path = write(tmp_path, "x.gff3", text, encoding)
    if isinstance(outcome, str):
        assert outcome in error_of(lambda: read_annotation(path, genome), path)
    else:
        assert len(read_annotation(path, genome)) == outcome


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("case", VCF)
def test_vcf(case: str, encoding: str, genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    text, outcome = VCF[case]
    path = write(tmp_path, "x.vcf", text, encoding)
    out = io.BytesIO()
    scorer = VcfScorer(genome, model, "m", window=32)
    if outcome is not None and outcome.startswith("error: "):
        assert outcome.removeprefix("error: ") in error_of(lambda: scorer.run(str(path), out), path)
        return
    report = scorer.run(str(path), out)
    if outcome is not None:
        assert report.skipped == {outcome: 1}
    else:
        assert report.scored >= report.records
        assert not report.skipped
        assert (b"HNET_LLR=" in out.getvalue()) == (report.records > 0)
