"""What `explain` reads, and the command on a small genome."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import lively_model, one_line_error, random_dna, small_config, write_fasta
from planted import GFF
from typer.testing import Result

from hnet_dna.explanation.statistics import robustness
from hnet_dna.explanation.statistics.axis import Axis
from hnet_dna.explanation.statistics.reading import read, reverse_boundaries, select
from hnet_dna.genome.open import open_genome
from hnet_dna.genome.pieces import forward_pieces
from hnet_dna.inference.stream import annotate
from hnet_dna.sequence.codes import from_text, reverse_complement, to_text
from hnet_dna.sequence.interval import Interval


def test_boundaries_of_both_strands_are_those_of_the_engine(tmp_path: Path) -> None:
    text = random_dna(700, 1) + "NNN" + random_dna(400, 2)
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"c": text}))
    model = lively_model(small_config())
    interval = Interval("c", 0, len(text))
    axis = Axis(genome.segments(interval))
    for stage, places in enumerate(read(model, forward_pieces(genome, [interval]), axis).boundaries):
        wanted = [
            int(p)
            for bases in annotate(forward_pieces(genome, [interval]), model)
            for p in bases.stages[stage].position[bases.stages[stage].mask]
            if p not in (0, 703)
        ]
        assert places.tolist() == axis.place("c", np.array(wanted)).tolist()
    # The other strand, read as a genome of its own: a chunk that begins at j there borders on len - j here.
    turned = to_text(reverse_complement(from_text(text)))
    other = open_genome(write_fasta(tmp_path / "r.fa", {"c": turned}))
    other_axis = Axis(other.segments(interval))
    theirs = read(model, forward_pieces(other, [interval]), other_axis).boundaries
    for stage, places in enumerate(reverse_boundaries(model, genome, [interval], axis)):
        bases = np.arange(len(text))
        begins = np.isin(other_axis.place("c", bases), theirs[stage])
        wanted_places = axis.place("c", np.sort(len(text) - bases[begins]))
        assert places.tolist() == wanted_places[wanted_places >= 0].tolist()


def test_what_is_read(tmp_path: Path) -> None:
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"b": random_dna(9000), "a": random_dna(1000, 1) + "NN"}))
    everything = select(genome, tmp_path, 20_000, 0)
    assert everything.intervals == (Interval("b", 0, 9000), Interval("a", 0, 1002))
    some = select(genome, tmp_path, 1000, 0)
    assert sum(map(len, some.intervals)) == 1000
    assert "1 of the 10 tiles of 1,000 bases in the whole genome" in some.rule
    contigs = {c.name: {"length": c.length, "md5": c.md5} for c in genome.contigs}
    split = {"train": [], "valid": [], "test": [{"contig": "b", "start": 100, "end": 900}]}
    run = {"data": {"contigs": contigs, "split": split, "split_rule": "as asked"}}
    (tmp_path / "run.json").write_text(json.dumps(run))
    assert select(genome, tmp_path, 5000, 0).intervals == (Interval("b", 100, 900),)
    for part in ("best", "checkpoints/step-00000001"):
        assert select(genome, tmp_path / part, 5000, 0).intervals == (Interval("b", 100, 900),)
    assert select(genome, tmp_path / "other", 20_000, 0).intervals == everything.intervals
    contigs["b"]["md5"] = "other"
    (tmp_path / "run.json").write_text(json.dumps(run))
    assert select(genome, tmp_path, 20_000, 0).intervals == everything.intervals


def test_command(cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in (("WINDOWS", 2), ("WINDOW", 300), ("SINGLES", 3), ("SINGLE_WINDOW", 100)):
        monkeypatch.setattr(robustness, name, content)
    monkeypatch.setattr(robustness, "LEAST_WINDOWS", 1)
    monkeypatch.setattr(robustness, "LEAST_SINGLES", 1)
    fasta = write_fasta(tmp_path / "g.fa", {"c": random_dna(9000), "d": random_dna(700, 1).lower()})
    (tmp_path / "genes.gff3").write_text(GFF)
    (tmp_path / "repeats.bed").write_text("c\t600\t700\tLINE\nc\t650\t720\tLINE\nd\t0\t50\tSINE\n")
    lively_model(small_config()).float().save_pretrained(tmp_path / "model")
    command = ["explain", "--genome", fasta, "--model", tmp_path / "model", "--annotation", tmp_path / "genes.gff3"]
    command += ["--repeats", tmp_path / "repeats.bed", "--shifts", 5, "--no-page", "--out", tmp_path / "report"]
    result = cli(*command)
    assert result.exit_code == 0, result.output
    assert "2 complete coding sequences in the annotation\n" in result.stdout
    assert re.search(r"intron +│ too few data +│ +90 │", result.stdout)
    for edit, kept in (("one substitution", "100.00"), ("one insertion", "0.00"), ("one deletion", "0.00")):
        line = next(line for line in result.stdout.splitlines() if edit in line)
        assert line.split("│")[4].strip() == kept  # of k-mers, behind the model and the untrained one
    tables = {}
    for path in (tmp_path / "report").glob("*.tsv"):
        header, *lines = path.read_text().splitlines()
        name = path.stem
        tables[name] = [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]
        assert {row.get("stage", "0") for row in tables[name]} <= {"0", "1"}
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    bases = {row["class"]: int(row["bases"]) for row in tables["classes"] if row["stage"] == "0"}
    assert bases["all"] == summary["read"]["bases_that_count"] == 9698
    assert (bases["CDS"], bases["intron"], bases["LINE"], bases["SINE"]) == (180, 90, 120, 49)
    assert (bases["promoter window"], bases["soft-masked"]) == (199, 699)  # without the first base of each contig
    judged = {(r["stage"], r["class"], r["verdict"]) for r in tables["classes"] if r["verdict"] != "not judged"}
    said = {(str(row["stage"]), row["class"], row["verdict"]) for row in summary["verdicts"]}
    assert {row for row in said if not row[1].startswith("codon")} == judged
    for stage in ("0", "1"):
        all_bases = next(r for r in tables["classes"] if r["stage"] == stage and r["class"] == "all")
        assert int(all_bases["boundaries"]) == summary["stages"][int(stage)]["boundaries"]
        assert float(all_bases["enrichment"]) == float(all_bases["over_shifted"]) == 1.0
    assert len(tables["codons"]) == 2 * 6
    assert len(tables["profiles"]) == 2 * 5 * 3 * 101
    rows = {(r["stage"], r["segmentation"], r["edit"], r["rate"], r["within"]): r for r in tables["robustness"]}
    assert len(rows) == len(tables["robustness"]) == 2 * 3 * 3 * (3 + 3)
    for stage in ("0", "1"):
        assert rows[stage, "k-mers", "substitution", "0.1", "NA"]["kept"] == "1"
        assert rows[stage, "k-mers", "substitution", "0.1", "NA"]["bits_added"] == "NA"
    assert (summary["robustness"]["window_bases"], summary["robustness"]["single_bases"]) == (600, 300)
    whole = {row["class"]: row for row in tables["bits"]}["all"]
    assert float(whole["bits_per_base"]) == pytest.approx(summary["bits_per_base"]["model"], rel=1e-5)
    assert summary["genes"] == {"lines": 2, "derived": 0}
    assert summary["coding_sequences"] == {"complete": 2, "left_out": {}}
    assert not (tmp_path / "report" / "index.html").exists()
    again = cli(*command)
    assert again.exit_code == 2
    assert "exists already" in one_line_error(again)
    assert not list(tmp_path.glob(".report*"))


def test_command_that_fails_leaves_nothing(cli: Callable[..., Result], tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "g.fa", {"c": random_dna(600)})
    (tmp_path / "genes.gff3").write_text(GFF)
    heads = {"num_heads": [3], "rotary_emb_dim": [4], "window_size": [9]}
    flat = small_config(arch_layout=["m1"], d_model=[24], d_intermediate=[32], attn_cfg=heads)
    lively_model(flat).float().save_pretrained(tmp_path / "model")
    command = ["explain", "--genome", fasta, "--model", tmp_path / "model"]
    result = cli(*command, "--annotation", tmp_path / "genes.gff3", "--out", tmp_path / "report")
    assert "no chunking stage" in one_line_error(result)
    assert not [path for path in tmp_path.iterdir() if "report" in path.name]
    assert "explain needs" in one_line_error(cli(*command))


def test_bits_are_those_of_the_engine(tmp_path: Path) -> None:
    text = random_dna(300, 1) + "RNN" + random_dna(100, 2)
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"c": text}))
    model = lively_model(small_config())
    interval = Interval("c", 0, len(text))
    axis = Axis(genome.segments(interval))
    actual = read(model, forward_pieces(genome, [interval]), axis).bits
    wanted = {
        b.start + i: bit for b in annotate(forward_pieces(genome, [interval]), model) for i, bit in enumerate(b.bits)
    }
    for position in (0, 300, 303):  # first bases, and R
        del wanted[position]
    places = axis.place("c", np.array(list(wanted)))
    assert actual[places].tolist() == list(wanted.values())
    assert np.isnan(actual).sum() == axis.size - len(wanted)
