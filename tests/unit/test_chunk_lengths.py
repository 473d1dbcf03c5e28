"""Chunks as long as a BED file says: where, in the loss, on both strands, and what training makes of it."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import lively_model, random_dna, small_config, write_fasta

from hnet_dna import plan, pretrain, resume, segment
from hnet_dna.data.batches import read_batch
from hnet_dna.data.chunk_lengths import read_chunk_lengths
from hnet_dna.data.windows import Position, Window
from hnet_dna.errors import ConfigError, SequenceError, UsageError
from hnet_dna.genome.open import open_genome
from hnet_dna.sequence.interval import Interval
from hnet_dna.training.loss import ratio_loss, ratio_loss_by_aim

GENOME = {"a": random_dna(40), "b": random_dna(30, 1)}
BED = "a\t5\t10\t2\na\t10\t12\t2.0\na\t20\t40\t8\tx\nb\t0\t1\t4\n"


def test_every_base_has_the_number_of_its_line(tmp_path: Path) -> None:
    (tmp_path / "n.bed").write_text(BED)
    genome = open_genome(GENOME)
    lengths = read_chunk_lengths([str(tmp_path / "n.bed")], [genome], 4.0)
    assert lengths is not None
    assert lengths.aims == (4.0, 2.0, 8.0)
    assert lengths.along(0, Interval("a", 3, 23)).tolist() == [0] * 2 + [1] * 7 + [0] * 8 + [2] * 3
    assert lengths.along(0, Interval("a", 6, 9)).tolist() == [1] * 3
    assert lengths.along(0, Interval("b", 0, 3)).tolist() == [0] * 3
    windows = [Window(Interval("a", 3, 13), True), Window(Interval("a", 18, 23), False)]
    batch = read_batch([genome], windows, Position(), lengths)
    assert batch.aims is not None
    assert batch.aims.tolist() == [[0] + [1] * 7 + [0] * 2, [0] * 2 + [2] * 3 + [0] * 5]
    # 10 bases of which 2 are apart, so that the others make 7 / 2 + 1 / 4 chunks
    assert lengths.mean(0, [Interval("a", 4, 9), Interval("a", 9, 12), Interval("b", 0, 2)]) == pytest.approx(10 / 4.25)
    assert read_chunk_lengths([""], [genome], 4.0) is None


@pytest.mark.parametrize(
    ("bed", "message"),
    [
        ("a\t5\t10\tgene\n", "n.bed: line 1: column 4 must be the bases per chunk to aim at, .* above 1, got 'gene'"),
        ("a\t5\t10\t1\n", "line 1: column 4 must be"),
        ("a\t5\t10\tinf\n", "line 1: column 4 must be"),
        ("a\t5\t10\n", "line 1: column 4 must be .* got ''"),
        ("a\t5\t10\t2\na\t0\t6\t3\n", r"a:6-6 is both 3.0 \(line 2\) and 2.0 \(line 1\); a base may have one"),
        ("a\t5\t10\t2.0000001\na\t0\t6\t2\n", r"a:6-6 is both 2.0 \(line 2\) and 2.0000001 \(line 1\)"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_refused_by_line(bed: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "n.bed").write_text(bed)
    with pytest.raises(SequenceError, match=message):
        read_chunk_lengths([str(tmp_path / "n.bed")], [open_genome(GENOME)], 4.0)


def test_the_number_of_an_aim_fits_a_byte(tmp_path: Path) -> None:
    genome, bed = open_genome({"a": random_dna(300)}), tmp_path / "n.bed"
    lines = [f"a\t{place}\t{place + 1}\t{5 + place}\n" for place in range(256)]
    bed.write_text("".join(lines[:255]))
    lengths = read_chunk_lengths([str(bed)], [genome], 4.0)
    assert lengths is not None
    assert lengths.along(0, Interval("a", 250, 257)).tolist() == [251, 252, 253, 254, 255, 0, 0]
    bed.write_text("".join(lines))
    with pytest.raises(ConfigError, match=r"n\.bed: 256 different numbers of bases per chunk; 255 is the most"):
        read_chunk_lengths([str(bed)], [genome], 4.0)


def test_the_loss_of_several_aims_is_the_mean_of_those_of_their_positions() -> None:
    """Positions of one aim are taken as a batch of their own; padding, which has an aim, too, counts nowhere."""
    torch.manual_seed(0)
    output = lively_model(small_config())(torch.randint(0, 4, (2, 50)), lengths=torch.tensor([50, 33]))
    stage = output.stages[0]
    aims = torch.randint(0, 2, (2, 50))
    inside = torch.arange(50) < stage.length[:, None]
    one = ratio_loss_by_aim(stage, torch.zeros_like(aims), (3.0,))
    assert float(one.detach()) == pytest.approx(float(ratio_loss(stage, 3.0).detach()))
    expected = 0.0
    for number, target in enumerate((3.0, 7.0)):
        here = inside & (aims == number)
        alone = replace(
            stage,
            boundary_prob=stage.boundary_prob[here][None],
            boundary_mask=stage.boundary_mask[here][None],
            length=here.sum()[None],
        )
        expected += float(ratio_loss(alone, target).detach()) * int(here.sum()) / 83
    assert float(ratio_loss_by_aim(stage, aims, (3.0, 7.0)).detach()) == pytest.approx(expected)


def test_training_follows_the_file_and_goes_on_only_with_the_same(tmp_path: Path) -> None:
    dice = random.Random(0)
    halves = ["".join(dice.choices(letters, k=3000)) for letters in ("AT", "CG")]  # the same letters on both strands
    fasta = write_fasta(tmp_path / "g.fa", {"a": "".join(halves), "t": halves[0][:300] + halves[1][:300]})
    bed = tmp_path / "n.bed"
    bed.write_text("a\t0\t3000\t1.3\n")
    settings = [f"train.chunk_lengths={bed}", "train.ratio_targets=[9.0]", "train.ratio_weights=[2.0]"]
    asked = {"preset": "tiny", "settings": settings, "held_out": ["t"], "window": 64, "batch": 8, "evaluation": False}
    planned = plan(fasta, preset="tiny", settings=settings, held_out=["t"])
    assert planned.cost.stages[1].positions == pytest.approx((1 / 1.3 + 1 / 9) / 2, rel=0.01)
    run = pretrain(fasta, tmp_path / "run", steps=60, **asked)  # type: ignore[arg-type]
    (chunks,) = segment({"t": halves[0][:300] + halves[1][:300]}, run.path)
    dense = int((chunks.start < 300).sum())
    assert dense > 2 * (len(chunks.start) - dense)
    bed.write_text("a\t0\t3000\t1.4\n")
    with pytest.raises(UsageError, match="`chunk_lengths` is no longer the file that this run began with"):
        resume(run, steps=61)
    with pytest.raises(ConfigError, match="chunk_lengths: no chunks are learned"):
        pretrain(fasta, tmp_path / "no", steps=1, **{**asked, "preset": "tiny-mamba2"})  # type: ignore[arg-type]
    assert not (tmp_path / "no").exists()


def test_a_run_goes_on_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were named from where it began are found, and may be named again."""
    there = tmp_path / "there"
    there.mkdir()
    monkeypatch.chdir(there)
    write_fasta(Path("g.fa"), {"a": random_dna(3000), "t": random_dna(600, 1)})
    Path("r.bed").write_text("a\t0\t2000\t2\nt\t0\t600\t2\n")
    Path("s.bed").write_text("a\t0\t3000\ttrain\nt\t0\t600\ttest\n")
    files: dict[str, Any] = {"split": "s.bed", "regions": "r.bed", "settings": ["train.chunk_lengths=r.bed"]}
    run = pretrain("g.fa", "run", preset="tiny", steps=1, window=64, batch=2, evaluation=False, **files)
    pretrain(None, "run", steps=2, evaluation=False, resume=True, **files)
    monkeypatch.chdir(tmp_path)
    assert resume("there/run", steps=3, evaluation=False).path == Path("there/run")
    assert json.loads((there / run.path / "run.json").read_text())["recipe"]["regions"] == str(there / "r.bed")
