"""Batches: the right bases on the right strand, whoever reads them, and the same after a stop."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyfaidx
import pytest
from helpers import random_dna, write_fasta
from torch.utils.data import DataLoader

from hnet_dna.data.batches import Batch, _Steps, stream
from hnet_dna.data.split import split_genome, training_segments
from hnet_dna.data.windows import Position, Window, WindowSampler
from hnet_dna.errors import SequenceError
from hnet_dna.genome.genome import Genome, whole
from hnet_dna.genome.open import open_genome
from hnet_dna.sequence.codes import to_text
from hnet_dna.sequence.interval import Interval

COMPLEMENT = str.maketrans("ACGTacgt", "TGCAtgca")


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    records = {"a": random_dna(5000), "b": random_dna(900, 1).lower() + "NNN" + random_dna(40, 2), "c": "ACG"}
    return open_genome(write_fasta(tmp_path / "g.fa", records))


def make_sampler(genome: Genome, length: int = 37, seed: int = 3) -> WindowSampler:
    return WindowSampler(training_segments(genome, split_genome(genome, ["c"])), length, seed)


def rows(batches: Iterator[Batch[Position]], steps: int) -> list[tuple[Window, str]]:
    taken = []
    for batch in islice(batches, steps):
        for window, codes, length in zip(batch.windows, batch.codes.numpy(), batch.lengths.tolist(), strict=True):
            assert to_text(codes[length + 1 :]).strip("N") == ""
            taken.append((window, to_text(codes[: length + 1])))
    return taken


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_windows_equal_a_slow_reader_for_any_number_of_workers(genome: Genome, workers: int) -> None:
    expected = rows(stream([genome], make_sampler(genome), Position(), 6), 50)  # over an epoch's end
    actual = rows(stream([genome], make_sampler(genome), Position(), 6, workers=workers), 50)
    assert actual == expected
    with pyfaidx.Fasta(str(genome.source)) as judge:
        for window, text in actual:
            interval = window.interval
            bases = str(judge[interval.contig][interval.start : interval.end])
            assert text == (bases.translate(COMPLEMENT)[::-1] if window.reverse else bases)


def test_workers_that_inherit_nothing_read_the_same(genome: Genome) -> None:
    steps = _Steps([genome], make_sampler(genome), Position(), 6, 0, 1, None)
    loader = DataLoader(steps, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    assert rows(iter(loader), 5) == rows(iter(steps), 5)
    assert len(pickle.dumps(genome)) < 1000  # a path, not the bases


def test_genome_whose_store_is_gone_cannot_be_sent(genome: Genome) -> None:
    sent = pickle.dumps(genome)
    genome.store_path.unlink()
    with pytest.raises(SequenceError, match="has been removed or replaced"):
        pickle.loads(sent)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_each_step(genome: Genome, ranks: int) -> None:
    whole = [set(b.windows) for b in islice(stream([genome], make_sampler(genome), Position(), 6), 40)]
    shares = [
        list(islice(stream([genome], make_sampler(genome), Position(), 6, rank=r, ranks=ranks), 40))
        for r in range(ranks)
    ]
    for step, windows in enumerate(whole):
        parts = [share[step].windows for share in shares]
        assert set().union(*parts) == windows
        assert [len(part) for part in parts] == [6 // ranks] * ranks
        assert len({share[step].after for share in shares}) == 1
    with pytest.raises(ValueError, match="multiple of 4 ranks"):
        next(stream([genome], make_sampler(genome), Position(), 6, ranks=4))


def test_stop_anywhere_and_go_on_with_others(genome: Genome) -> None:
    """Random stops, over epochs' ends, each time with another number of ranks and workers."""
    expected = [set(b.windows) for b in islice(stream([genome], make_sampler(genome), Position(), 6), 120)]
    random = np.random.default_rng(0)
    windows_seen: list[set[Window]] = []
    position = Position()
    while len(windows_seen) < 120:
        steps, ranks = int(random.integers(1, 30)), int(random.choice([1, 2, 3]))
        workers, sampler = int(random.choice([0, 0, 2])), make_sampler(genome)
        shares = [
            list(islice(stream([genome], sampler, position, 6, rank=r, ranks=ranks, workers=workers), steps))
            for r in range(ranks)
        ]
        windows_seen += [set().union(*(share[step].windows for share in shares)) for step in range(steps)]
        position = shares[0][-1].after
    assert windows_seen[:120] == expected
    assert position.epoch > 1


def test_short_islands_are_used(tmp_path: Path) -> None:
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"a": "NN".join(random_dna(n, n) for n in (5, 2, 1, 64, 3))}))
    sampler = WindowSampler(training_segments(genome, split_genome(genome, split="0.01")), 32, 0)
    windows: list[Window] = []
    position = Position()
    while position.epoch == 0:
        taken, position = sampler.take(position, 1)
        windows += taken
    starts = {w.interval.start for w in windows}
    assert {0, 7}.issubset(starts)
    assert Interval("a", 0, 5) in {w.interval for w in windows}
    assert sum(len(w.interval) - 1 for w in windows) == 4 + 1 + 63 + 1  # the tail of one base is held out


def test_windows_of_a_megabase(tmp_path: Path) -> None:
    sequence = random_dna(2_300_000)
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"a": sequence}, width=1000))
    batch = next(stream([genome], make_sampler_of(genome, 1_000_000), Position(), 3))
    assert sum(len(window.interval) - 1 for window in batch.windows) <= 2_299_999
    for window, codes, length in zip(batch.windows, batch.codes.numpy(), batch.lengths.tolist(), strict=True):
        bases = sequence[window.interval.start : window.interval.end]
        assert to_text(codes[: length + 1]) == (bases.translate(COMPLEMENT)[::-1] if window.reverse else bases)


def make_sampler_of(genome: Genome, length: int) -> WindowSampler:
    return WindowSampler([whole(contig) for contig in genome.contigs], length, 1)
