"""Downloads from a server on the loopback that does everything that servers do."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from helpers import PATIENCE, random_dna

from hnet_dna.errors import DownloadError, HNetError, SequenceError, UsageError
from hnet_dna.genome import open as opening
from hnet_dna.genome.assemblies import Assembly, KnownContig
from hnet_dna.genome.bundled import bundled_genome
from hnet_dna.genome.fetch import check_contigs, download, place_of
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import open_genome

SEQUENCE = random_dna(400_000)
FASTA = gzip.compress(f">chr1\n{SEQUENCE}\n".encode(), mtime=0)
Answer = Callable[[BaseHTTPRequestHandler, int], None]


@contextmanager
def serve(answer: Answer) -> Iterator[tuple[str, list[str | None]]]:
    """Serve `answer(request, how many came before)`; yield the address and the Range headers that came."""
    ranges: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ranges.append(self.headers.get("Range"))
            answer(self, len(ranges) - 1)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/g.fa.gz", ranges
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send(
    request: BaseHTTPRequestHandler,
    data: bytes = FASTA,
    *,
    upto: int | None = None,
    promised: int | None = None,
    version: str | None = '"v1"',
    ranges: bool = True,
) -> None:
    """Answer as a good server does, but stop after `upto` bytes of the file, or promise another length."""
    wanted = request.headers.get("Range")
    start = int(wanted.split("=")[1].split("-")[0]) if wanted and ranges else 0
    if wanted and request.headers.get("If-Range") != version:
        start = 0
    if start and start >= len(data):
        request.send_response(416)
        request.end_headers()
        return
    request.send_response(206 if start else 200)
    length = len(data) - start if promised is None else promised
    request.send_header("Content-Length", str(length))
    if version:
        request.send_header("ETag", version)
    request.end_headers()
    request.wfile.write(data[start:upto])
    request.wfile.flush()


def assembly(url: str) -> Assembly:
    return Assembly(
        name="test1",
        organism="Test",
        assembly="Test 1",
        licence="none",
        url=url,
        file="g.fa.gz",
        contigs={"chr1": KnownContig(len(SEQUENCE), hashlib.md5(SEQUENCE.encode()).hexdigest(), ("chr1",))},
        size=len(FASTA),
        md5=hashlib.md5(FASTA).hexdigest(),
    )


def fetch(known: Assembly, **how: Any) -> Genome:
    genome = open_genome(download(known, **how))
    check_contigs(known, genome)
    return genome


def quick(known: Assembly) -> None:
    genome = fetch(known, timeout=PATIENCE, pause=0.01, attempts=3)
    assert genome.source.read_bytes() == FASTA


def files(known: Assembly) -> set[str]:
    return {path.name for path in place_of(known).parent.iterdir() if not path.name.endswith(".lock")}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HNET_DNA_HOME", str(tmp_path / "home"))


def test_fetched_once_and_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(lambda request, n: send(request)) as (url, ranges):
        known = assembly(url)
        monkeypatch.setattr(opening, "find_assembly", lambda name: known)
        with pytest.raises(HNetError, match="has not been fetched yet; run: hnet-dna genome fetch test1"):
            opening.open_genome("test1")
        seen: list[tuple[int, int | None]] = []
        fetch(known, on_bytes=lambda done, total: seen.append((done, total)))
        assert seen[-1] == (len(FASTA), len(FASTA))
        quick(known)
        assert ranges == [None]
        assert opening.open_genome("test1").length == len(SEQUENCE)
        assert files(known) == {"g.fa.gz", "g.fa.gz.hnetdna"}


def test_names_of_known_genomes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder does not stand in the way of a name; a file of that name makes it ambiguous."""
    monkeypatch.chdir(tmp_path)
    Path("yeast").mkdir()
    Path("hg38").mkdir()
    assert opening.find_genome("yeast") == bundled_genome().fasta
    with pytest.raises(HNetError, match="hg38 has not been fetched yet"):
        opening.find_genome("hg38")
    Path("yeast").rmdir()
    for name in ("yeast", "mm39"):
        Path(name).write_text(">s\nACGT\n")
        with pytest.raises(UsageError, match=rf"{name} is both a file .* write \./{name} for the file"):
            opening.find_genome(name)
        assert opening.open_genome(f"./{name}").length == 4
    with pytest.raises(SequenceError, match="no such file, and no known genome of this name"):
        opening.find_genome("yeats")


def test_cut_off_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five times in the middle, more often than attempts allow without progress; each goes on where it stopped."""
    step = len(FASTA) // 6 + 1
    with serve(lambda request, n: send(request, upto=step * (n + 1))) as (url, ranges):
        quick(assembly(url))
        assert ranges == [None] + [f"bytes={step * n}-" for n in range(1, 6)]


def test_stall() -> None:
    """A server that falls silent is left, and asked for the rest."""
    done = threading.Event()

    def answer(request: BaseHTTPRequestHandler, n: int) -> None:
        if request.headers.get("Range") is None:
            send(request, upto=100_000)
            done.wait(PATIENCE)
        else:
            send(request)

    with serve(answer) as (url, ranges):
        known = assembly(url)
        genome = fetch(known, timeout=0.4, pause=0.01, attempts=1000)
        done.set()
        assert genome.source.read_bytes() == FASTA
        assert ranges[0] is None
        assert "bytes=100000-" in ranges


def test_killed_and_started_again() -> None:
    with serve(lambda request, n: send(request, upto=50_000 if n < 3 else None)) as (url, ranges):
        known = assembly(url)
        with pytest.raises(DownloadError, match="50,000 bytes are kept; the same command continues from there"):
            fetch(known, timeout=PATIENCE, pause=0.01, attempts=2)
        quick(known)
        assert ranges[-1] == "bytes=50000-"


def test_file_that_changes_on_the_server_is_not_mixed() -> None:
    old = bytes(200_000)

    def answer(request: BaseHTTPRequestHandler, n: int) -> None:
        if n == 0:
            send(request, old, upto=60_000, version='"v0"')
        else:
            send(request)

    with serve(answer) as (url, ranges):
        quick(assembly(url))
        assert ranges == [None, "bytes=60000-"]


@pytest.mark.parametrize("version", [None, 'W/"weak"'])
def test_part_that_nothing_vouches_for_is_not_continued(version: str | None) -> None:
    with serve(lambda request, n: send(request, upto=60_000 if n == 0 else None, version=version)) as (url, ranges):
        quick(assembly(url))
        assert ranges == [None, None]


def test_server_that_ignores_ranges() -> None:
    with serve(lambda request, n: send(request, upto=60_000 if n == 0 else None, ranges=False)) as (url, _):
        quick(assembly(url))


def test_server_that_promises_more_than_there_is() -> None:
    """The connection counts as broken, but what has arrived is the file, as its checksum shows."""
    with serve(lambda request, n: send(request, promised=2 * len(FASTA))) as (url, ranges):
        quick(assembly(url))
        assert ranges == [None, f"bytes={len(FASTA)}-"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda request, n: send(request, b"x" * len(FASTA)), "its md5 is .*, the manifest says"),
        (lambda request, n: send(request, FASTA + b"more"), "bytes arrived, the manifest says"),
        (lambda request, n: send(request, FASTA[:1000]), "1,000 bytes arrived, the manifest says"),
        (lambda request, n: send(request, promised=1000), "1,000 bytes arrived, the manifest says"),
        (lambda request, n: request.send_error(404, "Not Found"), "the server answers 404 Not Found"),
        (lambda request, n: request.send_error(503), "3 attempts failed in a row, the last with: 503"),
    ],
    ids=["wrong bytes", "too many", "too few", "lies: less", "404", "503"],
)
def test_refused(answer: Answer, message: str) -> None:
    with serve(answer) as (url, _):
        known = assembly(url)
        with pytest.raises(DownloadError, match=message):
            quick(known)
        assert not place_of(known).exists()


def test_nobody_listens() -> None:
    with serve(lambda request, n: send(request)) as (url, _):
        pass
    with pytest.raises(DownloadError, match=r"3 attempts failed in a row.*0 bytes are kept"):
        quick(assembly(url))


def test_contigs_are_compared_too() -> None:
    with serve(lambda request, n: send(request)) as (url, _):
        known = assembly(url)
        wrong = {"chr1": KnownContig(len(SEQUENCE), "0" * 32, ("chr1",))}
        with pytest.raises(DownloadError, match=r"contig chr1 has 400,000 bases and M5 .*; the manifest says"):
            quick(replace(known, contigs=wrong))
        with pytest.raises(DownloadError, match="contig chr2 is missing; this is not Test 1"):
            quick(replace(known, contigs={"chr2": KnownContig(1, None, ("chr2",))}))
