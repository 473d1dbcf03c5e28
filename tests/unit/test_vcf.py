"""What `score` does to a VCF: nothing but two fields in INFO and their lines in the header."""

from __future__ import annotations

import gzip
import io
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pysam
import pytest
from helpers import lively_model, one_line_error, random_dna, small_config, write_fasta
from typer.testing import Result

from hnet_dna.errors import SequenceError
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import open_genome
from hnet_dna.inference.effects import How
from hnet_dna.inference.variants import Variant, VariantReader, controls
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval
from hnet_dna.tracks.vcf import VcfReport, VcfScorer

Cli = Callable[..., Result]
CHR1, CHR2 = random_dna(300), random_dna(90, 1)
OTHER = str.maketrans("ACGT", "CGTA")
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    return open_genome(write_fasta(tmp_path_factory.mktemp("g") / "g.fa", {"chr1": CHR1, "chr2": CHR2}))


@pytest.fixture(scope="module")
def model() -> HNetLM:
    return lively_model(small_config()).float()


def scored(
    text: str | bytes, genome: Genome, model: HNetLM, folder: Path, *, strict: bool = False
) -> tuple[bytes, VcfReport]:
    (folder / "in.vcf").write_bytes(text.encode() if isinstance(text, str) else text)
    out = io.BytesIO()
    report = VcfScorer(genome, model, "m", window=32, strict=strict).run(str(folder / "in.vcf"), out)
    return out.getvalue(), report


def snv(position: int, info: str = ".", rest: str = "", contig: str = "chr1") -> str:
    ref = {"chr1": CHR1, "chr2": CHR2}[contig][position - 1]
    return f"{contig}\t{position}\t.\t{ref}\t{ref.translate(OTHER)}\t.\t.\t{info}{rest}\n"


FAITHFUL = (
    '##fileformat=VCFv4.2\n##INFO=<ID=PV,Number=1,Type=Float,Description="x, \\"y\\"",Source=z>\n##strange\n'
    '##INFO=<ID=PL64,Number=1,Type=Integer,Description="",IDX=3>\n##FILTER=<ID=PASS,Description="All">\n##contig=<ID=chr1>\n'
    f"{COLUMNS}\tFORMAT\tS1\tS 2\n"
    + snv(10, "PV=2.03e-78;PL64=4294967295;MQ=59.7", "\tGT:DP:GQ\t0|1\t./.:.:")
    + snv(11, "DB;undeclared=1;UTF=grüß;END=9", "\tGT\t0\t1/1/1").replace("\t.\t.\tDB", "\t1234567.89\tq10;s50\tDB")
    + snv(12, "X=1;;Y", "\tGT\t\t0/1")
    + "chr1\t13\trs1;rs2\tN\t<DEL>,<NON_REF>\t00.50\t.\tSVLEN=-1,.;END=13\t.\t.\t.\n"
)


def without_ours(out: bytes) -> bytes:
    """Take away what was added."""
    kept = []
    for line in out.splitlines(keepends=True):
        if line.startswith((b"##INFO=<ID=HNET_", b"##hnet_dna_command=", b"##contig=<ID=chr1,", b"##contig=<ID=chr2,")):
            continue
        columns = line.rstrip(b"\r\n").split(b"\t")
        if not line.startswith(b"#"):
            fields = [field for field in columns[7].split(b";") if not re.match(rb"HNET_(LLR|SKIPPED)=", field)]
            columns[7] = b";".join(fields) or b"."
        kept.append(b"\t".join(columns) + line[len(line.rstrip(b"\r\n")) :])
    return b"".join(kept)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize("final", [True, False])
def test_lines_are_written_as_they_were_read(
    ends: str, encoding: str, final: bool, genome: Genome, model: HNetLM, tmp_path: Path
) -> None:
    given = (FAITHFUL if final else FAITHFUL.removesuffix("\n")).replace("\n", ends).encode(encoding)
    out, report = scored(given, genome, model, tmp_path)
    assert (report.records, report.scored) == (4, 3)
    assert out.count(b"HNET_LLR=") == 3
    assert out.count(b"HNET_SKIPPED=SYMBOLIC,SYMBOLIC") == 1
    assert without_ours(out) == given
    assert all(line.endswith(ends.encode()) for line in out.splitlines(keepends=True)[:-1])
    header = out[: out.index(b"#CHROM")].splitlines()
    assert [line[:16] for line in header[-3:]] == [b"##INFO=<ID=HNET_", b"##INFO=<ID=HNET_", b"##hnet_dna_comma"]


@pytest.mark.skipif(shutil.which("bcftools") is None, reason="bcftools is not installed")
def test_bcftools_reads_what_it_read_before(genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    text = FAITHFUL.replace("##strange\n", "").replace("S 2", "S2").replace("\t\t0/1", "\t.\t0/1")
    (tmp_path / "out.vcf").write_bytes(scored(text, genome, model, tmp_path)[0])
    query = ["bcftools", "query", "-f", "%POS %INFO/HNET_LLR %INFO/HNET_SKIPPED\n", str(tmp_path / "out.vcf")]
    lines = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["10", "11", "12", "13"]
    assert lines[3] == "13 . SYMBOLIC,SYMBOLIC"


def test_scores_are_replaced_when_a_file_is_scored_again(genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    once, _ = scored(FAITHFUL, genome, model, tmp_path)
    assert scored(once, genome, model, tmp_path)[0] == once
    old = f'##fileformat=VCFv4.2\n##INFO=<Number=A,ID=HNET_LLR,Type=Float,Description="old">\n{COLUMNS}\n'
    old += (
        snv(8, "")
        + snv(9, "HNET_SKIPPED=REF_MISMATCH")
        + snv(9, "Z=1;")
        + snv(10, "A=1;HNET_LLR=7;HNET_LLR_OF=2")
        + snv(11, "HNET_LLR=1;B")
    )
    lines = scored(old, genome, model, tmp_path)[0].decode().splitlines()
    assert sum("ID=HNET_LLR," in line for line in lines) == 1
    infos = [re.sub(r"HNET_LLR=-?[\d.]+", "X", line.split("\t")[7]) for line in lines[-5:]]
    assert infos == ["X", "X", "Z=1;X", "A=1;HNET_LLR_OF=2;X", "B;X"]


def test_bytes_before_the_text(genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    text = f"##fileformat=VCFv4.2\n{COLUMNS}\n{snv(10)}"
    marked, _ = scored(b"\xef\xbb\xbf" + text.encode(), genome, model, tmp_path)
    assert marked == scored(text, genome, model, tmp_path)[0]
    for encoding in ("utf-16", "utf-16-le"):
        with pytest.raises(SequenceError, match=r"in\.vcf is UTF-16"):
            scored(text.encode(encoding), genome, model, tmp_path)


@pytest.mark.parametrize("compressed", [True, False])
def test_bcf_is_named(compressed: bool, genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    with pysam.VariantFile(str(tmp_path / "x.bcf"), "wb" if compressed else "wb0") as file:
        file.header.contigs.add("chr1")
    with pytest.raises(SequenceError, match=r"is BCF; convert it with: bcftools view\. Expected a VCF file"):
        scored((tmp_path / "x.bcf").read_bytes(), genome, model, tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["##contig=<ID=chr1,length=249250621,md5=x>"], "line 2: the header gives chr1 249,250,621 bases; .* has 300"),
        (['##contig=<ID=chr1,assembly="a,length=300",length=301>', "##contig=<ID=chr9,length=5>"], "chr1 301 bases"),
        (["##contig=<ID=chr1,length=300>", "##contig=<ID=chr2,length=91>"], None),
        (["##contig=<ID=chr1,length=300,md5=" + "0" * 32 + ">"], None),
        (["##reference=file:///data/hg19.fa.gz"], None),
        (["##reference=GRCh38.p13", "##contig=<ID=chr1>"], None),
    ],
)
def test_contigs_that_the_header_declares(
    lines: list[str],
    message: str | None,
    genome: Genome,
    model: HNetLM,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = "\n".join(["##fileformat=VCFv4.2", *lines, COLUMNS, snv(10) + snv(10, contig="chr2")])
    if message is not None:
        with pytest.raises(SequenceError, match=message):
            scored(text, genome, model, tmp_path)
        return
    with caplog.at_level(logging.INFO, logger="hnet_dna"):
        _, report = scored(text, genome, model, tmp_path)
    (note,) = caplog.messages
    if "length=91" in text:
        assert "gives chr2 91 bases; in g.fa it has 90" in note
        assert report.skipped == {"CONTIG_DIFFERS": 1}
        with pytest.raises(SequenceError, match="chr2 91 bases"):
            scored(text, genome, model, tmp_path, strict=True)
        return
    assert report.scored == 2
    assert "other checksums than g.fa has, so their bases differ somewhere: chr1" in note or "##reference is" in note


def test_contigs_that_agree_are_not_spoken_of(
    genome: Genome, model: HNetLM, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    md5 = genome["chr1"].md5.upper()
    text = f"##fileformat=VCFv4.3\n##reference=hg38\n##contig=<ID=chr1,length=300,md5={md5}>\n##contig=<ID=X,length=1>"
    with caplog.at_level(logging.INFO, logger="hnet_dna"):
        scored(f"{text}\n{COLUMNS}\n{snv(10)}", genome, model, tmp_path)
        text = "##fileformat=VCFv4.2\n##contig=<ID=chr1,length=2147483647>\n##contig=<ID=chr2,length=0>"  # not known
        scored(f"{text}\n{COLUMNS}\n{snv(10)}", genome, model, tmp_path)
    assert not caplog.messages


def test_ambiguity_codes_of_the_reference(model: HNetLM, tmp_path: Path) -> None:
    """VCF writes the first base that a code stands for; N is N."""
    codes = {"R": "A", "Y": "C", "S": "C", "W": "A", "K": "G", "M": "A", "B": "C", "D": "A", "H": "A", "V": "A"}
    genome = open_genome(write_fasta(tmp_path / "r.fa", {"a": "GATTACA" + "".join(codes) + "GATTACAN"}))
    for offset, (code, first) in enumerate(codes.items()):
        for ref in "ACGT":
            text = f"##fileformat=VCFv4.2\n{COLUMNS}\na\t{8 + offset}\t.\t{ref}\t{ref.translate(OTHER)}\t.\t.\t.\n"
            _, report = scored(text, genome, model, tmp_path)
            assert report.skipped == ({} if ref == first else {"REF_MISMATCH": 1}), (code, ref)
    _, report = scored(f"##fileformat=VCFv4.2\n{COLUMNS}\na\t25\t.\tA\tC\t.\t.\t.\n", genome, model, tmp_path)
    assert report.skipped == {"REF_MISMATCH": 1}


def test_names_that_a_header_cannot_hold(model: HNetLM, tmp_path: Path) -> None:
    names = ["a,b", "c<d>", 'e"f', "*g", "HLA-A*01:01", "gi|1|"]
    genome = open_genome(write_fasta(tmp_path / "n.fa", dict.fromkeys(names, CHR1)))
    lines = [snv(10).replace("chr1", name) for name in names]
    out, report = scored(f"##fileformat=VCFv4.2\n{COLUMNS}\n{''.join(lines)}", genome, model, tmp_path)
    assert report.scored == len(names)
    assert re.findall(rb"##contig=<ID=(.*),length", out) == [b"HLA-A*01:01", b"gi|1|"]
    (tmp_path / "head.vcf").write_bytes(out[: out.index(b"a,b\t")])
    pysam.VariantFile(str(tmp_path / "head.vcf")).close()


def test_a_model_name_of_odd_letters(genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    (tmp_path / "in.vcf").write_text(f"##fileformat=VCFv4.2\n{COLUMNS}\n{snv(10)}")
    out = io.BytesIO()
    VcfScorer(genome, model, 'my "best"\nmodel\\1').run(str(tmp_path / "in.vcf"), out)
    (tmp_path / "out.vcf").write_bytes(out.getvalue())
    with pysam.VariantFile(str(tmp_path / "out.vcf")) as judge:
        assert 'my \\"best\\" model' in str(judge.header.info["HNET_LLR"].record)
        assert len(list(judge)) == 1


def test_a_group_ends_at_its_bytes_too(
    genome: Genome, model: HNetLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"##fileformat=VCFv4.2\n{COLUMNS}\n" + "".join(snv(p, "X=" + "y" * 500) for p in range(10, 40))
    whole, _ = scored(text, genome, model, tmp_path)
    monkeypatch.setattr("hnet_dna.tracks.vcf._HELD_BYTES", 1000)
    done: list[int] = []
    out = io.BytesIO()
    VcfScorer(genome, model, "m", window=32, on_records=done.append).run(str(tmp_path / "in.vcf"), out)
    assert done == list(range(2, 31, 2))
    assert without_ours(out.getvalue()) == without_ours(whole) == text.encode()


def test_an_error_in_the_middle_leaves_no_file(cli: Cli, genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "m")
    text = f"##fileformat=VCFv4.2\n{COLUMNS}\n{snv(10) * 5000}{snv(10).replace('chr1', 'chr1 ')}"
    (tmp_path / "in.vcf").write_text(text)
    before = set(tmp_path.iterdir())
    command = ["score", "--vcf", tmp_path / "in.vcf", "--genome", genome.source, "--model", tmp_path / "m"]
    for name in ("out.vcf", "out.vcf.gz"):
        result = cli(*command, "--window", 2, "--strand", "+", "-o", tmp_path / name)
        assert result.exit_code == 1
        assert "in.vcf: line 5003, record chr1 :10" in one_line_error(result)
        assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("compressed", [False, True])
def test_pipes(cli: Cli, compressed: bool, genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "m")
    text = f"##fileformat=VCFv4.2\n{COLUMNS}\n{snv(10, 'A=1')}".encode()
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(
        target=(tmp_path / "pipe").write_bytes, args=(gzip.compress(text) if compressed else text,)
    )
    writer.start()
    result = cli("score", "--vcf", tmp_path / "pipe", "--genome", genome.source, "--model", tmp_path / "m")
    writer.join()
    assert result.exit_code == 0, result.output
    assert "A=1;HNET_LLR=" in result.stdout


@pytest.mark.parametrize("source", ["-", "/dev/stdin"])
def test_stdin_and_stdout_of_a_process(source: str, genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    """Bytes that are not UTF-8 pass, whatever encoding Python would choose for text."""
    model.save_pretrained(tmp_path / "m")
    given = FAITHFUL.encode("latin-1")
    command = [sys.executable, "-c", "from hnet_dna_cli.main import app; app()", "score", "--vcf", source]
    command += ["--genome", str(genome.source), "--model", str(tmp_path / "m")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ran = subprocess.run(command, input=given, capture_output=True, check=False, env=environment)
    assert ran.returncode == 0, ran.stderr
    assert without_ours(ran.stdout) == given
    ran = subprocess.run(command, input=b"chr1\t1\n", capture_output=True, check=False, env=environment)
    assert ran.returncode == 1
    assert re.search(rb"Error: (stdin|/dev/stdin) is not a VCF file: its first line should be", ran.stderr)


def test_latin_1_and_telomeres_are_compressed_and_indexed(
    cli: Cli, genome: Genome, model: HNetLM, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path / "m")
    text = f"##fileformat=VCFv4.2\n{COLUMNS}\nchr1\t0\t.\tN\t.[chr1:5[\t.\t.\t.\n{snv(10, 'X=grüß')}"
    (tmp_path / "in.vcf").write_bytes(text.encode("latin-1"))
    command = ["score", "--vcf", tmp_path / "in.vcf", "--genome", genome.source, "--model", tmp_path / "m"]
    result = cli(*command, "-o", tmp_path / "out.vcf.gz")
    assert result.exit_code == 0, result.output
    assert "2 records, 1 allele scored; skipped: 1 BREAKEND" in result.stderr
    assert without_ours(gzip.decompress((tmp_path / "out.vcf.gz").read_bytes())) == text.encode("latin-1")
    assert (tmp_path / "out.vcf.gz.tbi").exists()


def test_boundaries_and_controls_in_info(cli: Cli, genome: Genome, model: HNetLM, tmp_path: Path) -> None:
    """HNET_DBOUND has a value for each allele, on each strand; the share is that of like changes nearby."""
    model.save_pretrained(tmp_path / "m")
    ref, alts = CHR1[99], [base for base in "ACGT" if base != CHR1[99]]
    text = f"##fileformat=VCFv4.2\n{COLUMNS}\n{snv(10)}"
    text += f"chr1\t100\t.\t{ref}\t{alts[0]},<DEL>,{alts[1]}\t.\t.\tHNET_DBOUND=1\n"
    (tmp_path / "in.vcf").write_text(text)
    common = ["score", "--vcf", tmp_path / "in.vcf", "--genome", genome.source, "--model", tmp_path / "m"]
    options = ["--window", 32, "--context", 300, "--boundaries", 7]
    result = cli(*common, *options, "--controls", 4, "-o", tmp_path / "out.vcf")
    assert result.exit_code == 0, result.output
    with pysam.VariantFile(str(tmp_path / "out.vcf")) as file:
        header = str(file.header.info["HNET_LLR"].record)
        assert "16 bases after the variant and at least 300 before it, mean of both strands" in header
        first, second = list(file)
    how = How(32, "both", 300, 7)
    interval = Interval("chr1", 99, 100)
    (effects,) = VariantReader(genome, model, how).read([Variant(interval, ref, (alts[0], alts[1]))])
    assert second.info["HNET_LLR"] == pytest.approx([effects.llr[0], None, effects.llr[1]], abs=1e-4)
    for text, strands in zip(second.info["HNET_DBOUND"][::2], effects.shifts, strict=True):
        fields = text.split("|")
        for written, shift in zip((fields[:4], fields[4:]), strands, strict=True):
            assert [int(written[0]), int(written[1]), int(written[3])] == [shift.lost, shift.gained, shift.distance]
            assert float(written[2]) == pytest.approx(shift.change, rel=1e-2)
    assert second.info["HNET_DBOUND"][1] in (".", None)
    nearby = controls(genome, Variant(interval, ref, (alts[0],)), alts[0], 4)
    others = [one.largest_changes[0] for one in VariantReader(genome, model, how).read(nearby)]
    share = (1 + sum(other >= effects.largest_changes[0] for other in others)) / 5
    assert second.info["HNET_DBOUND_SHARE"][0] == pytest.approx(share, abs=1e-3)
    assert len(first.info["HNET_DBOUND_SHARE"]) == 1
    forward = cli(*common, "--boundaries", 7, "--strand", "+")
    assert re.search(r"HNET_DBOUND=[^|;]+(\|[^|;]+){3}\|\.\|\.\|\.\|\.\n", forward.stdout)
    assert "HNET_DBOUND_SHARE" not in forward.stdout
    for extra, message in (
        (["--controls", 3], "--controls belong to --boundaries"),
        (["--boundaries", 300], "--boundaries: expected fewer bases than half a window has (256), got 300"),
    ):
        assert message in one_line_error(cli(*common, *extra))
