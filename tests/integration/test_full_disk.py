"""Where a disk has no room left a command ends on one line with exit code 1, and leaves nothing half-written.

A limit on the size of files (EFBIG) stands for the full disk (ENOSPC): it acts the same everywhere, also for root.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import lively_model, one_line_error, random_dna, small_config, write_fasta
from typer.testing import Result

from hnet_dna.files import reserve, write_beside
from hnet_dna.tracks.bigbed import ChunkFile
from hnet_dna.tracks.chunks import Chunks
from hnet_dna.tracks.values import Values

Cli = Callable[..., Result]
ROOM = 5_000


@contextmanager
def no_more_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)  # where the variable is remembered
    (tmp_path / "tmp").mkdir()
    (tmp_path / "out").mkdir()
    lively_model(small_config()).float().save_pretrained(tmp_path / "m")
    write_fasta(tmp_path / "g.fa", {"a": random_dna(30_000), "b": random_dna(90, 1)})
    write_fasta(tmp_path / "s.fa", {f"s{i}": random_dna(50, i) for i in range(400)})
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["segment", "g.fa", "-o", "out/x.bed"], "out/x.bed"),
        (["segment", "g.fa", "-o", "out/x.bed.gz"], "out/x.bed.gz"),
        (["segment", "g.fa", "-o", "/dev/null", "--bedgraph", "out/x.bg"], "tmp"),
        (["segment", "g.fa", "--bigbed", "out/x.bb"], "tmp"),
        (["segment", "g.fa", "--strand", "-", "-o", "out/x.bed"], "tmp"),
        (["score", "g.fa", "--bigwig", "out/x.bw"], "tmp"),
        (["score", "g.fa", "--parquet", "out/x.parquet"], "tmp"),
        (["genome", "extract", "g.fa", "a", "-o", "out/x.fa"], "out/x.fa"),
        (["generate", "--length", "5500", "-o", "out/x.fa"], "tmp"),
        (["plot", "a:1-200", "--genome", "g.fa", "-o", "out/x.png"], "out/x.png"),
        (["export", "five-genomes", "-o", "out/x"], ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_commands(cli: Cli, folder: Path, arguments: list[str], named: str) -> None:
    if arguments[0] == "export":
        lively_model(small_config(**_reference_shape())).float().save_pretrained(folder / "m")
        arguments = ["export", "m", "-o", "out/x", "--pt"]
    elif arguments[0] != "genome":
        arguments = [*arguments, "--model", "m"]
    result = cli("genome", "inspect", "g.fa")  # makes the store
    assert result.exit_code == 0, result.output
    (folder / "out" / "x.bed").write_text("old\n")
    with no_more_than(ROOM):
        result = cli(*arguments)
    assert result.exit_code == 1, result.output
    message = one_line_error(result)
    assert "File too large" in message
    assert str(folder / named if named == "tmp" else named) in message
    assert ("TMPDIR" in message) == (named == "tmp")
    assert [path.name for path in (folder / "out").iterdir()] == ["x.bed"]
    assert (folder / "out" / "x.bed").read_text() == "old\n"
    assert not list((folder / "tmp").iterdir())


def _reference_shape() -> dict[str, object]:
    from helpers import REFERENCE_SHAPE

    return REFERENCE_SHAPE


@pytest.mark.parametrize("size", [0, 100, 5_000, 60_000, 100_000])
@pytest.mark.parametrize("kind", ["bigwig", "bedgraph", "parquet"])
def test_tracks(kind: str, size: int, tmp_path: Path) -> None:
    """Wherever in a file the room ends: in the track, or in the scratch folder where zoom levels wait."""
    with Values() as values:
        values.add("a", 0, np.random.default_rng(0).random(50_000).astype(np.float32))
        values.blocks("a")
        values.read(0, 1)  # what waits in a buffer goes to its file
        path = tmp_path / f"x.{kind}"
        with no_more_than(size), pytest.raises(OSError, match="too large") as error:
            getattr(values, f"write_{kind}")(path)
        assert error.value.filename in (str(path), tempfile.gettempdir())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [0, 300, 5_000, 60_000, 100_000])
def test_bigbed(size: int, tmp_path: Path) -> None:
    """pybigtools prints what it could not write, or panics, and raises nothing."""
    pytest.importorskip("pybigtools")
    edges = np.arange(0, 50_001, 5)
    probability = np.random.default_rng(0).random(10_000, dtype=np.float32)
    with ChunkFile() as chunks:
        chunks.add(Chunks("a", edges[:-1], edges[1:], probability, 0))
        next(chunks._blocks("a", "+"))  # what waits in a buffer goes to its file
        with no_more_than(size), pytest.raises(OSError, match="too large") as error:
            chunks.write_bigbed(tmp_path / "x.bb")
        assert error.value.filename == str(tmp_path / "x.bb")
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["parquet", "npy", "h5ad"])
def test_tables_of_vectors(kind: str, folder: Path) -> None:
    """In a process of its own: HDF5 does not get over it."""
    code = f"""
import resource, sys
import numpy as np
from pathlib import Path
from hnet_dna.embedding.table import TableWriter
with TableWriter(Path("out/x.{kind}"), 16, {{}}) as writer:
    for part in range(20):
        vectors = np.random.default_rng(part).random((30, 16), dtype=np.float32)
        writer.add([{{"id": "s", "contig": "a", "start": i, "end": i + 1, "strand": "+", "vector": vectors[i]}}
                    for i in range(30)], 30)
    resource.setrlimit(resource.RLIMIT_FSIZE, ({ROOM}, {ROOM}))
    try:
        writer.finish()
    except OSError as error:
        print(error.strerror, error.filename)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == f"File too large out/x.{kind}\n", done.stderr
    assert not list((folder / "out").glob("[!.]*"))


def test_a_run(cli: Cli, folder: Path) -> None:
    assert cli("genome", "inspect", "g.fa").exit_code == 0  # makes the store
    with no_more_than(ROOM):
        result = cli("pretrain", "--genome", "g.fa", "--out", "out/run", "--steps", "1")
    assert result.exit_code == 1, result.output
    assert one_line_error(result) == "Error: out/run: File too large"
    assert not list((folder / "out").iterdir())


def test_what_libraries_raise_for_want_of_room_is_an_error_of_the_system(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with no_more_than(ROOM), pytest.raises(OSError, match="too large"), write_beside(tmp_path / "x") as path:
        save_file({"a": torch.zeros(10_000)}, path)
    with no_more_than(40 * ROOM), pytest.raises(OSError, match="too large"), write_beside(tmp_path / "x") as path:
        torch.save({"a": torch.zeros(100_000)}, path)
    with no_more_than(40 * ROOM), pytest.raises(ValueError, match="another"), write_beside(tmp_path / "x") as path:
        raise ValueError(path.write_bytes(b"a"), "another")
    assert not list(tmp_path.iterdir())


def test_what_is_mapped_has_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve(tmp_path / "x", 3_000_001)
    status = (tmp_path / "x").stat()
    assert (status.st_size, status.st_blocks * 512 >= 3_000_001) == (3_000_001, True)

    def unserved(*arguments: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unserved)
    reserve(tmp_path / "x", 3_000_001)
    status = (tmp_path / "x").stat()
    assert (status.st_size, status.st_blocks * 512 >= 3_000_001) == (3_000_001, True)
