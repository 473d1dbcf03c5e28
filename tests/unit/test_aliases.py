"""Other names of contigs: offered by the error, and understood where they are allowed, in every kind of file."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import lively_model, one_line_error, random_dna, small_config, write_fasta
from typer.testing import Result

from hnet_dna.annotation.reader import read_features
from hnet_dna.annotation.regions import parse_region, read_regions
from hnet_dna.data.genome_mix import GenomeMix
from hnet_dna.embedding.table import read_table
from hnet_dna.errors import SequenceError
from hnet_dna.genome.open import open_genome
from hnet_dna.sequence.interval import Interval
from hnet_dna.training.plan import plan

Cli = Callable[..., Result]
RECORDS = {"chr1": random_dna(300), "chrM": random_dna(120, 1)}


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    return write_fasta(tmp_path / "g.fa", RECORDS)


def test_every_reader_takes_other_names(fasta: Path, tmp_path: Path) -> None:
    plain, genome = open_genome(fasta), open_genome(str(fasta), aliases=True)
    (tmp_path / "r.bed").write_text("1\t10\t20\nMT\t0\t5\nchr1\t30\t40\n")
    (tmp_path / "g.gff3").write_text("##sequence-region 1 1 300\n1\tx\tgene\t11\t20\t.\t+\t.\tID=a\n")
    wanted = [Interval("chr1", 10, 20), Interval("chrM", 0, 5), Interval("chr1", 30, 40)]
    assert [region.interval for region in read_regions(tmp_path / "r.bed", genome)] == wanted
    assert [feature.interval for feature in read_features(tmp_path / "g.gff3", genome)] == wanted[:1]
    assert parse_region("1:11-20", genome) == wanted[0]
    assert [
        region.interval for region in read_regions(tmp_path / "r.bed", pickle.loads(pickle.dumps(genome)))
    ] == wanted
    for read in (lambda: read_regions(tmp_path / "r.bed", plain), lambda: read_features(tmp_path / "g.gff3", plain)):
        with pytest.raises(SequenceError, match="It is called chr1 there: use that name, or give `aliases`"):
            read()
    with pytest.raises(SequenceError, match="has no contig 2"):
        parse_region("2:1-5", genome)


def test_names_of_a_known_assembly_need_its_length(fasta: Path, tmp_path: Path) -> None:
    """NC_001133.9 is chromosome I of yeast, and no other contig of that name."""
    yeast = open_genome("yeast", aliases=True)
    assert yeast.find("NC_001133.9") == yeast.find("1") == "chrI"
    short = open_genome({"chrI": "ACGT" * 9}, aliases=True)
    assert short.find("NC_001133.9") == "NC_001133.9"


def test_commands(cli: Cli, fasta: Path, tmp_path: Path) -> None:
    lively_model(small_config()).float().save_pretrained(tmp_path / "m")
    model = ["--model", tmp_path / "m"]
    (tmp_path / "r.bed").write_text("1\t10\t200\n")
    ref = RECORDS["chr1"][20]
    (tmp_path / "v.vcf").write_text(
        "##fileformat=VCFv4.2\n##contig=<ID=1,length=300>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        f"1\t21\t.\t{ref}\t{'ACGT'[('ACGT'.index(ref) + 1) % 4]}\t.\t.\t.\n"
    )
    segment = ["segment", fasta, *model, "--regions", tmp_path / "r.bed"]
    variants = ["score", "--vcf", tmp_path / "v.vcf", "--genome", fasta, *model]
    for command in (segment, variants):
        refused = cli(*command)
        assert refused.exit_code == 1
        assert "use that name, or give --aliases" in one_line_error(refused)
    result = cli(*segment, "--aliases")
    assert result.exit_code == 0, result.output
    assert {line.split("\t")[0] for line in result.stdout.splitlines()} == {"chr1"}
    assert "names of contigs are read by aliases: 1 is chr1 in g.fa" in result.stderr
    scored = cli(*variants, "--aliases")
    assert scored.exit_code == 0, scored.output
    assert scored.stdout.splitlines()[-1].startswith("1\t21\t")
    assert "HNET_LLR=" in scored.stdout.splitlines()[-1]
    table = ["--out", tmp_path / "v.parquet", "--aliases"]
    embedded = cli("embed", fasta, *model, "--regions", tmp_path / "r.bed", *table)
    assert embedded.exit_code == 0, embedded.output
    assert read_table(tmp_path / "v.parquet").contig == ["chr1"]
    part = cli("genome", "extract", fasta, "1:1-9", "MT:1-5", "--aliases")
    assert part.exit_code == 0, part.output
    assert [line for line in part.stdout.splitlines() if line[0] != ">"] == [RECORDS["chr1"][:9], RECORDS["chrM"][:5]]


def test_a_split_by_other_names_and_the_run_that_goes_on(cli: Cli, tmp_path: Path) -> None:
    """What a run read by aliases it reads so again, without being told."""
    records = {"chr1": random_dna(3_000), "chr2": random_dna(1_000, 1)}
    fasta = write_fasta(tmp_path / "g.fa", records)
    (tmp_path / "s.bed").write_text("1\t0\t3000\ttrain\n2\t0\t1000\ttest\n")
    size = ["--steps", "1", "--set", "train.window=64", "--set", "train.batch=2", "--no-evaluation"]
    begin = ["pretrain", "--genome", fasta, "--split", tmp_path / "s.bed", "--out", tmp_path / "run", *size]
    refused = cli(*begin)
    assert refused.exit_code == 1
    assert "It is called chr1 there: use that name, or give --aliases" in one_line_error(refused)
    begun = cli(*begin, "--aliases")
    assert begun.exit_code == 0, begun.output
    on = cli("pretrain", "--out", tmp_path / "run", "--resume", "--steps", "2", "--no-evaluation")
    assert on.exit_code == 0, on.output
    assert "--aliases belongs to --genome" in one_line_error(cli("pretrain", "--dry-run", "--aliases"))
    mix = tmp_path / "mix.toml"
    mix.write_text('[[genome]]\ngenome = "g.fa"\nheld_out = ["2"]\naliases = true\n')
    planned = plan(GenomeMix.read(mix))
    assert planned.split is not None
    assert planned.split.test == (Interval("chr2", 0, 1_000),)
    assert plan(GenomeMix.of(str(fasta)).with_aliases(), split=str(tmp_path / "s.bed")).split is not None


def test_vectors_labelled_by_other_names(cli: Cli, fasta: Path, tmp_path: Path) -> None:
    """The table has the names of its genome, the BED of labels those of an annotation, and --genome a third kind."""
    lively_model(small_config()).float().save_pretrained(tmp_path / "m")
    table = tmp_path / "v.parquet"
    embedded = cli("embed", fasta, "--model", tmp_path / "m", "--per-chunk", "--out", table)
    assert embedded.exit_code == 0, embedded.output
    named = write_fasta(tmp_path / "n.fa", {name.removeprefix("chr"): bases for name, bases in RECORDS.items()})
    (tmp_path / "l.bed").write_text("chr1\t100\t200\n1\t20\t60\nMT\t10\t60\n")
    command = ["probe", tmp_path / "l.bed", "--embeddings", table, "--folds", "2", "--genome", named]
    refused = cli(*command, "--out", tmp_path / "p")
    assert "or give --aliases" in one_line_error(refused)
    found = cli(*command, "--out", tmp_path / "p", "--aliases")
    assert found.exit_code == 0, found.output
    assert "--aliases belongs to --genome" in one_line_error(cli(*command[:-2], "--out", tmp_path / "q", "--aliases"))


def test_mutations_and_measured_effects(cli: Cli, fasta: Path, tmp_path: Path) -> None:
    lively_model(small_config()).float().save_pretrained(tmp_path / "m")
    options = ["--genome", fasta, "--model", tmp_path / "m", "--context", "16", "--window", "32"]
    mutate = ["mutate", "1:21-23", *options, "--out", tmp_path / "t.tsv"]
    assert "or give --aliases" in one_line_error(cli(*mutate))
    assert cli(*mutate, "--aliases").exit_code == 0
    assert (tmp_path / "t.tsv").read_text().splitlines()[1].startswith("chr1\t")
    bases = RECORDS["chr1"]
    rows = [f"1\t{at}\t{bases[at]}\t{'ACGT'[('ACGT'.index(bases[at]) + 1) % 4]}\t{at}\n" for at in range(40, 46)]
    (tmp_path / "e.tsv").write_text("chrom\tstart\tref\talt\tscore\n" + "".join(rows))
    effects = ["benchmark", "variants", tmp_path / "e.tsv", *options]
    assert "or give --aliases" in one_line_error(cli(*effects))
    measured = cli(*effects, "--aliases")
    assert measured.exit_code == 0, measured.output
