"""Several genomes in one run: what is asked, which window comes when, and what is told of each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from helpers import one_line_error, random_dna, write_fasta
from typer.testing import Result

import hnet_dna
from hnet_dna.config.recipe import Recipe
from hnet_dna.data.batches import stream
from hnet_dna.data.genome_mix import GenomeMix, MixEntry
from hnet_dna.data.mix_sampler import MixPosition
from hnet_dna.data.mixture import Mixture, open_mixture
from hnet_dna.data.windows import Position, Window, WindowSampler
from hnet_dna.errors import ConfigError, HNetError, SequenceError, UsageError
from hnet_dna.evaluation.compare import HeldOut, compare
from hnet_dna.evaluation.score import Score
from hnet_dna.sequence.codes import to_text
from hnet_dna.training.validation import mean_of
from hnet_dna.training.words import count_words

Cli = Callable[..., Result]
TINY = ["model.d_model=[16,32]", "model.attn_cfg.rotary_emb_dim=4", "train.window=64"]
TINY += ["train.validate_every=5", "train.checkpoint_every=0"]
SET = [part for text in TINY for part in ("--set", text)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three genomes whose contigs have the same names, and a file that mixes them."""
    for index, (name, length) in enumerate((("x", 6000), ("y", 3000), ("z", 1500))):
        contigs = {"chr1": random_dna(length, index), "chr2": random_dna(500, 10 + index)}
        write_fasta(tmp_path / f"{name}.fa", contigs)
    (tmp_path / "y.bed").write_text("chr1\t0\t2000\ttrain\nchr1\t2000\t3000\tvalid\nchr2\t0\t500\ttest\n")
    (tmp_path / "mix.toml").write_text(
        '[[genome]]\ngenome = "x.fa"\nweight = 5\nheld_out = ["chr2"]\n'
        '[[genome]]\ngenome = "y.fa"\nname = "why"\nweight = 3\nsplit = "y.bed"\nrepeat_weight = 0.5\n'
        '[[genome]]\ngenome = "z.fa"\nweight = 2\nsplit = 0.2\n'
    )
    return tmp_path


def opened(mix: GenomeMix, recipe: Recipe | None = None) -> Mixture:
    return open_mixture(mix, recipe or Recipe())


def test_windows_follow_shares_seed_and_position_only(folder: Path) -> None:
    mixture = opened(GenomeMix.read(folder / "mix.toml"))
    sampler = mixture.sampler(32, 7)
    windows, end = sampler.take(MixPosition(), 1000)
    for count in (10, 100, 1000):
        drawn = Counter(window.genome for window in windows[:count])
        assert all(abs(drawn[g] - share * count) <= 3 for g, share in enumerate((0.5, 0.3, 0.2))), drawn
    parts: list[Window] = []
    position = MixPosition()
    for count in (1, 4, 395, 600):
        taken, position = mixture.sampler(32, 7).take(position, count)
        parts += taken
    assert (parts, position) == (windows, end)
    assert mixture.sampler(32, 8).take(MixPosition(), 1000)[0] != windows
    # Each genome has epochs of its own: its windows are those of a sampler of this genome only.
    for number, part in enumerate(mixture.parts):
        own = [window for window in windows if window.genome == number]
        alone = WindowSampler(part.segments, 32, 7, number)
        assert own == alone.take(Position(), len(own))[0]
        assert end.epochs[number] == alone.take(Position(), len(own))[1].epoch


def test_one_genome_has_the_windows_that_it_always_had(folder: Path) -> None:
    mixture = opened(GenomeMix.of(folder / "x.fa"))
    assert mixture.plain
    windows, after = mixture.sampler(32, 3).take(MixPosition(), 500)
    before, position = WindowSampler(mixture.parts[0].segments, 32, 3).take(Position(), 500)
    assert windows == before
    assert (after.epochs, after.indices) == ((position.epoch,), (position.index,))


def test_batches_are_of_their_genome_whoever_reads_them(folder: Path) -> None:
    mixture = opened(GenomeMix.read(folder / "mix.toml"))

    def rows(ranks: int, workers: int) -> list[list[tuple[Window, str]]]:
        shares = [
            islice(
                stream(
                    mixture.genomes, mixture.sampler(40, 1), MixPosition(), 6, rank=rank, ranks=ranks, workers=workers
                ),
                20,
            )
            for rank in range(ranks)
        ]
        return [
            [
                (window, to_text(codes[: length + 1]))
                for batch in batches
                for window, codes, length in zip(
                    batch.windows, batch.codes.numpy(), batch.lengths.tolist(), strict=True
                )
            ]
            for batches in zip(*shares, strict=True)
        ]

    expected = rows(1, 0)
    assert rows(1, 2) == expected
    assert [sorted(map(str, step)) for step in rows(2, 0)] == [sorted(map(str, step)) for step in expected]
    for window, text in expected[3]:
        genome = mixture.genomes[window.genome]
        bases = genome.sequence(window.interval.contig, window.interval.start, window.interval.end)
        assert text == (bases.translate(str.maketrans("ACGT", "TGCA"))[::-1] if window.reverse else bases)


def test_shares_by_size(folder: Path) -> None:
    paths = [folder / "x.fa", folder / "z.fa"]
    sizes = [sum(len(s) - 1 for s in part.segments) for part in opened(GenomeMix.of(paths)).parts]
    for power in (0.0, 0.5, 1.0):
        mix = GenomeMix(tuple(map(MixEntry, paths)), power)
        shares = [part.share for part in opened(mix).parts]
        assert shares[0] / shares[1] == pytest.approx((sizes[0] / sizes[1]) ** power)


def test_what_pretrain_takes_as_genomes(folder: Path) -> None:
    x, y = folder / "x.fa", folder / "y.fa"
    assert [entry.name for entry in GenomeMix.of([str(x), y]).entries] == ["x", "y"]
    for named in ({"one": x, "two": {"chr1": "ACGT"}}, {"one": str(x), "two": y}):
        assert [entry.name for entry in GenomeMix.of(named).entries] == ["one", "two"]
    (folder / "other").mkdir()
    assert [entry.name for entry in GenomeMix.of([x, folder / "other" / "x.fna.gz"]).entries] == ["x", "x-2"]
    for single in (x, [x], {"chr1": "ACGT"}, hnet_dna.open_genome(x)):
        assert GenomeMix.of(single).plain
    with pytest.raises(ConfigError, match="x and x-2 are the same genome"):
        opened(GenomeMix.of([x, x]))
    with pytest.raises(UsageError, match="`held_out` is of one genome"):
        opened(GenomeMix.of([x, y]), Recipe(held_out=("chr1",)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[genome]]\ngenome = "x.fa"\nwheight = 2\n', r"mix.toml: genome 1 \(x.fa\): wheight: .* Did you mean weight"),
        ('[[genome]]\ngenome = "x.fa"\n[[genome]]\ngenome = "n.fa"\n', r"genome 2 \(n.fa\): genome: .*n.fa: no such"),
        ('[[genome]]\ngenome = "x.fa"\nweight = -1\n', r"genome 1 \(x.fa\): weight: expected a number above 0, got -1"),
        ('[[genome]]\ngenome = "x.fa"\nweight = 1\n[[genome]]\ngenome = "y.fa"\n', r"weight: x has one and y has none"),
        ('[[genome]]\nname = "a"\n', r"genome 1 \(a\): genome: is missing"),
        ('[[genomes]]\ngenome = "x.fa"\n', r"genomes: unknown field. Did you mean genome"),
        ("[[genome]\n", "not TOML"),
        ('[[genome]]\ngenome="x.fa"\nname="a"\n[[genome]]\ngenome="y.fa"\nname="a"\n', "two genomes are called a"),
        ('[[genome]]\ngenome = "x.fa"\nunseen = true\n', "unseen: all genomes are held out"),
    ],
)  # fmt: skip
def test_errors_of_the_file_name_entry_and_field(folder: Path, text: str, message: str) -> None:
    (folder / "mix.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        GenomeMix.read(folder / "mix.toml")


def test_errors_of_a_split_name_the_entry(folder: Path) -> None:
    (folder / "mix.toml").write_text('[[genome]]\ngenome = "x.fa"\n[[genome]]\ngenome = "y.fa"\nheld_out = ["chr9"]\n')
    with pytest.raises(HNetError, match=r"^y: .*chr9"):
        opened(GenomeMix.read(folder / "mix.toml"))


def test_means_are_what_their_names_say() -> None:
    scores = {"a": Score(150.0, 100), "b": Score(20.0, 10), "c": Score(0.0, 0)}
    shares = {"a": 0.2, "b": 0.6, "c": 0.2}
    assert mean_of(scores, shares, "bases") == pytest.approx(170 / 110)
    assert mean_of(scores, shares, "genomes") == pytest.approx((1.5 + 2.0) / 2)
    assert mean_of(scores, shares, "windows") == pytest.approx((0.2 * 1.5 + 0.6 * 2.0) / 0.8)
    assert np.isnan(mean_of({"c": Score()}, shares, "genomes"))


def test_a_run_tells_of_each_genome_and_goes_on(cli: Cli, folder: Path) -> None:
    """One run through the command line: metrics, record, results, card, resumption without and with the file."""
    line = ["pretrain", "--genomes", folder / "mix.toml", "--out", folder / "run", *SET]
    result = cli(*line, "--steps", 20)
    assert result.exit_code == 0, result.output
    assert "why: 30.00% of the windows" in result.stderr
    metrics = [json.loads(text) for text in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    trained = [record for record in metrics if "bits_per_base" in record]
    assert set(trained[0]["bits_per_base_of_genomes"]) == {"x", "why", "z"}
    (valid, *_) = [record for record in metrics if "valid_mean" in record]
    assert (valid["valid_mean"], set(valid["valid_bits_per_base_of_genomes"])) == ("windows", {"why"})
    data = json.loads((folder / "run" / "run.json").read_text())["data"]
    assert [genome["contigs"]["chr1"]["length"] for genome in data["genomes"]] == [6000, 3000, 1500]
    assert len({genome["contigs"]["chr1"]["md5"] for genome in data["genomes"]}) == 3
    assert [genome["repeat_weight"] for genome in data["genomes"]] == [1.0, 0.5, 1.0]
    results = json.loads((folder / "run" / "results.json").read_text())
    bases = {row["name"]: row["bases"] for row in results["classes"] if row["group"] == "genome"}
    assert bases == {"x": 500, "why": 500, "z": 400}
    assert {"x:chr2", "why:chr2", "z:chr2"} <= {row["name"] for row in results["classes"]}
    card = (folder / "run" / "README.md").read_text()
    assert "| why | `y.fa` | 30.00 % | 2,000 | 1,000 | 500 |" in card
    assert str(folder) not in card
    # A run on a mixture knows what it held out of each of its genomes.
    judged = hnet_dna.evaluate(folder / "y.fa", folder / "run")
    assert (judged.whole.bases, judged.trained_on) == (500, 0)
    assert judged.whole.bits_per_base == pytest.approx(
        next(row["bits_per_base"] for row in results["classes"] if row["name"] == "why"), abs=1e-6
    )
    for given, code, message in (
        ([], 0, "continues from step 20 of 22"),
        (["--genomes", folder / "mix.toml"], 0, "continues from step 22 of 24"),
        (["--genome", folder / "x.fa"], 2, "the run began with x, why, z"),
    ):
        steps = int(message.split()[-1]) if not code else 30
        resumed = cli("pretrain", *given, "--out", folder / "run", "--resume", "--steps", steps, "--no-evaluation")
        assert (resumed.exit_code, message in resumed.stderr) == (code, True), resumed.output
    (folder / "mix.toml").write_text((folder / "mix.toml").read_text().replace("weight = 5", "weight = 6"))
    other = cli("pretrain", "--genomes", folder / "mix.toml", "--out", folder / "run", "--resume", "--steps", 30)
    assert "share of x decides what the run is" in one_line_error(other)
    both = cli("pretrain", "--genomes", folder / "mix.toml", "--genome", folder / "x.fa", "--out", folder / "r")
    assert "give --genome or --genomes, not both" in one_line_error(both)


def test_markov_models_are_those_of_each_genome(folder: Path) -> None:
    model = hnet_dna.load_model("five-genomes")
    mixture = opened(GenomeMix.of([folder / "x.fa", folder / "y.fa"]))
    both = [HeldOut(part.genome, part.split, part.name) for part in mixture.parts]
    together = compare(model, both, orders=[1, 3])
    assert together is not None
    for each, genome in zip(both, together.genomes, strict=True):
        alone = compare(model, [HeldOut(each.genome, each.split)], orders=[1, 3])
        assert alone is not None
        assert genome.bits_per_base == pytest.approx(alone.whole.bits_per_base, abs=1e-9)
    bases = [genome.bases for genome in together.genomes]
    mean = sum(f.bits_per_base["model"] * b for f, b in zip(together.genomes, bases, strict=True)) / sum(bases)
    assert together.whole.bits_per_base["model"] == pytest.approx(mean)


def test_dry_run_of_a_mixture(cli: Cli, folder: Path) -> None:
    result = cli("pretrain", "--genomes", folder / "mix.toml", "--dry-run", "--window", 100, "--batch", 2)
    assert result.exit_code == 0, result.output
    for said in (
        "genomes: 3, 12,000 bases",
        "why: 30.00% of the windows; 2 contigs, bases: train 2,000, valid 1,000, test 500; as y.bed says",
        "epoch of x: 5,999 bases predicted, about 60 steps of the run",
        "all of them: 9,596 bases predicted, about 48 steps",
    ):
        assert said in result.stdout, result.stdout
    assert not list(folder.glob("run*"))


def test_words_are_those_of_all_genomes(folder: Path) -> None:
    parts = opened(GenomeMix.of([folder / "x.fa", folder / "y.fa"])).parts
    each = [count_words([(part.genome, part.segments)], 4, 1000) for part in parts]
    numbers, counts = count_words([(part.genome, part.segments) for part in parts], 4, 1000)
    sums = np.zeros((4**4, 4), dtype=np.int64)
    for words, of in each:
        sums[words] += of
    assert numbers.tolist() == np.flatnonzero(sums.sum(axis=1)).tolist()
    assert (counts == sums[numbers]).all()


def test_a_genome_held_out_whole_is_judged_and_never_read(cli: Cli, folder: Path) -> None:
    line = ["pretrain", "--genome", folder / "x.fa", "--genome", folder / "y.fa", "--genome", folder / "z.fa", *SET]
    result = cli(*line, "--held-out-genome", "y", "--out", folder / "run", "--steps", 10)
    assert result.exit_code == 0, result.output
    read = [json.loads(text) for text in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {name for record in read for name in record["bits_per_base_of_genomes"]} == {"x", "z"}
    results = json.loads((folder / "run" / "results.json").read_text())
    bases = {row["name"]: row["bases"] for row in results["classes"] if row["group"] == "genome"}
    assert bases["y"] == 3500
    assert results["containment"]["genomes"] == {"x": 0.0, "y": 0.0, "z": 0.0}
    assert hnet_dna.evaluate(folder / "y.fa", folder / "run").whole.bases == 3500
    wrong = cli(*line, "--held-out-genome", "yy", "--out", folder / "other", "--steps", 1)
    assert "--held-out-genome yy: no genome of this name. Did you mean y?" in one_line_error(wrong)


def test_many_genomes_need_few_handles(tmp_path: Path) -> None:
    """Also while slices of maps that were given up are in use."""
    sequences = [random_dna(40, index) for index in range(150)]
    for index, sequence in enumerate(sequences):
        write_fasta(tmp_path / f"{index}.fa", {"chr": sequence})
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    genomes = [hnet_dna.open_genome(tmp_path / f"{index}.fa") for index in range(150)]
    kept = genomes[0].codes(hnet_dna.Interval("chr", 0, 40))
    for genome, sequence in [*zip(genomes, sequences, strict=True)] * 2:
        assert genome.sequence("chr") == sequence
    assert to_text(kept) == sequences[0]
    if before:
        assert len(list(Path("/proc/self/fd").iterdir())) - before < 70
    genomes[3].store_path.unlink()
    for genome in genomes[4:]:
        genome.sequence("chr")
    with pytest.raises(SequenceError, match="removed or replaced since it was opened"):
        genomes[3].sequence("chr")
