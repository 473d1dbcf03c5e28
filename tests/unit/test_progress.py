"""Lines of progress where stderr is not a terminal, by a clock of the test's own, and the bar on a terminal."""

from __future__ import annotations

import io
import sys
from importlib import import_module
from pathlib import Path

import pytest
from rich.console import Console

from hnet_dna.progress import SMALL, Work, counting_bytes, is_small

show = import_module("hnet_dna_cli.show")  # its installed name, which mypy does not follow


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_a_line_at_the_start_one_a_minute_and_one_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with show.Progress("segmenting", 100_000_000, "bases", clock=clock) as progress:
        assert lines(capsys) == ["segmenting: 100,000,000 bases"]
        for number in range(340):  # not quite three minutes, told twice a second
            clock.now += 0.5
            progress.update(35_000 * (number + 1))
        assert lines(capsys) == [
            "segmenting: 4,200,000 of 100,000,000 bases (4 %), 70,000 bases/s, 23 min left",
            "segmenting: 8,400,000 of 100,000,000 bases (8 %), 70,000 bases/s, 22 min left",
        ]
        clock.now += 3600 * 3
        progress.update(12_345_678)
        assert lines(capsys) == ["segmenting: 12,345,678 of 100,000,000 bases (12 %), 1,125 bases/s, 21 h 38 min left"]
        progress.update(100_000_000)
        assert lines(capsys) == []
    assert lines(capsys) == ["segmenting: 100,000,000 bases in 3 h 3 min, 9,116 bases/s"]


def test_never_more_than_one_line_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with show.Progress("scoring", 1000, "records", clock=clock) as progress:
        for done in range(1000):
            clock.now += 7.3
            progress.update(done, detail=f"line {done}")
    printed = lines(capsys)
    assert len(printed) == 2 + 1000 // 9  # every ninth call is the first after a minute
    assert printed[0] == "scoring: 1,000 records"
    assert "1,000 records (12 %), line 125" in printed[14]


def test_without_a_total_there_is_no_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    reports = show.Reports(clock=clock)
    with reports, Work(reports, "segmenting", unit="bases", about="stdin") as work:
        clock.now += 100
        work.add(5_000)
        work.read(10, None)  # a pipe
        work.read(10, 1000)  # a file so small that it is read whole before any of it is worked on
        clock.now += 60
        work.add(3_000)
        work.read(SMALL, 4 * SMALL)
        clock.now += 60
        work.add(3_000)
    assert lines(capsys) == [
        "segmenting: stdin",
        "segmenting: 5,000 bases, 50 bases/s",
        "segmenting: 8,000 bases, 50 bases/s",
        "segmenting: 11,000 bases (25 %), 50 bases/s, 11 min left",
        "segmenting: 11,000 bases in 4 min, 50 bases/s",
    ]


def test_a_run_that_goes_on_counts_its_own_work_only(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with show.Progress("training", about="200 steps", clock=clock) as progress:
        progress.go_on(share=0.5)
        clock.now += 600
        progress.update(share=0.75, detail="step 150, 1.912 bits/base, 4.52 bases/chunk, 812 bases/s")
    assert lines(capsys) == [
        "training: 200 steps",
        "training: 75 %, step 150, 1.912 bits/base, 4.52 bases/chunk, 812 bases/s, 10 min left",
        "training: done in 10 min, step 150, 1.912 bits/base, 4.52 bases/chunk, 812 bases/s",
    ]


def test_parts_have_their_own_time(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    reports = show.Reports(clock=clock)
    with reports, Work(reports, "evaluating", 1000, "bases") as work:
        clock.now += 90
        work.at("counting words for the Markov models")
        work.at()
        work.reach(10)
        clock.now += 60
        work.reach(500)
    assert lines(capsys) == [
        "evaluating: 1,000 bases",
        "evaluating: counting words for the Markov models",
        "evaluating: 500 of 1,000 bases (50 %), 8.3 bases/s, 1 min left",
        "evaluating: 500 bases in 2 min, 3.3 bases/s",
    ]
    with show.Progress("explaining", clock=clock) as progress:
        progress.update(part="reading", share=0.4)
        clock.now += 75
        progress.update(part="reading shuffled sequence", share=0.1)
        clock.now += 75
        progress.update(part="reading shuffled sequence", share=0.6)
    assert lines(capsys) == [
        "explaining",
        "explaining: reading shuffled sequence, 10 %",
        "explaining: reading shuffled sequence, 60 %, 1 min left of this part",
        "explaining: done in 2 min",
    ]


def test_what_a_part_began_with_says_nothing_of_its_pace(capsys: pytest.CaptureFixture[str]) -> None:
    class Ticking(Clock):
        def __call__(self) -> float:
            self.now += 0.001
            return self.now

    clock = Ticking()
    with show.Progress("explaining", clock=clock) as progress:
        clock.now += 75
        progress.update(part="reading edited sequence", share=0.03)
        assert lines(capsys) == ["explaining", "explaining: reading edited sequence, 3 %"]


def test_no_rate_that_would_read_as_zero(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with show.Progress("embedding", 1, "sequences", clock=clock) as progress:
        clock.now += 28
        progress.update(1)
    assert lines(capsys) == ["embedding: 1 sequence", "embedding: 1 sequence in 28 s"]


def test_bytes_and_single_things(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with show.Progress("reading hg38.fa.gz", 983_659_424, "bytes", clock=clock) as progress:
        progress.update(0)
        clock.now += 80
        progress.update(120_000_000)
    with show.Progress("scoring", 1, "records", clock=clock) as progress:
        clock.now += 0.5
        progress.update(1)
    assert lines(capsys) == [
        "reading hg38.fa.gz: 984 MB",
        "reading hg38.fa.gz: 120 MB of 984 MB (12 %), 1.5 MB/s, 10 min left",
        "reading hg38.fa.gz: 120 MB in 1 min, 1.5 MB/s",
        "scoring: 1 record",
        "scoring: 1 record in 0.5 s, 2.0 records/s",
    ]


def test_quiet_unneeded_and_failed_work(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with show.Progress("segmenting", 10, "bases", quiet=True, clock=clock) as progress:
        clock.now += 100
        progress.update(5)
    with show.Reports(clock=clock) as reports, counting_bytes(reports, "reading x.fa"):
        pass  # it has a store already
    assert lines(capsys) == []
    with pytest.raises(ValueError, match="no"), show.Progress("segmenting", 10, "bases", clock=clock):
        raise ValueError("no")
    assert lines(capsys) == ["segmenting: 10 bases"]


@pytest.mark.parametrize(("quiet", "on_data"), [(False, False), (True, False), (False, True)])
def test_the_bar_of_a_terminal(quiet: bool, on_data: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(show, "notes", Console(file=screen, force_terminal=True, width=200, markup=False))
    clock = Clock()
    with show.Progress("segmenting", 1000, "bases", quiet=quiet, on_data=on_data, clock=clock) as progress:
        clock.now += 10
        progress.update(250, detail="ctg1[organism=yeast]")
    text = screen.getvalue()
    if quiet or on_data:
        assert text == ""
    else:
        assert "segmenting: 250 of 1,000 bases (25 %), ctg1[organism=yeast], 25 bases/s, 30 s left" in text
        assert "segmenting: 1,000 bases\n" not in text


def test_what_a_narrow_terminal_has_no_room_for_goes_on_in_the_next_line(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(show, "notes", Console(file=screen, force_terminal=True, width=80, color_system=None))
    clock = Clock()
    with show.Progress("training", 1000, "bases", clock=clock) as progress:
        clock.now += 10
        progress.update(250, detail="step 40, 1.905 bits/base, 2.63 bases/chunk, 2,707 bases/s")
    text = screen.getvalue()
    assert "30 s left" in text
    assert "…" not in text


def test_small_files_are_those_that_can_be_read_twice(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("a")
    assert is_small(tmp_path / "x")
    assert not is_small("-")
    assert not is_small(tmp_path)
    assert not is_small("/dev/null")
    assert not is_small("yeast")
