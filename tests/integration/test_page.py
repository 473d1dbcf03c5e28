"""A report's page in headless Chromium, and how it is served."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from chromium import Chromium
from helpers import PATIENCE, lively_model, one_line_error, random_dna, small_config, write_fasta
from typer.testing import CliRunner, Result

from hnet_dna.annotation.reader import read_features
from hnet_dna.annotation.regions import parse_region
from hnet_dna.explanation.figures.overview import overview
from hnet_dna.explanation.page import browser
from hnet_dna.explanation.statistics.findings import judge
from hnet_dna.explanation.statistics.locus import Locus, read_locus
from hnet_dna.explanation.statistics.tables import read_tables
from hnet_dna.genome.open import open_genome
from hnet_dna.inference.mutate import mutate
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval
from hnet_dna.serve import serve

LENGTH = 12_000
GENES = [(1000 * i + 401, 1000 * i + 700, "+-"[i % 2], f"G {i}") for i in range(1, 11)]  # 1-based, both ends


@dataclass(frozen=True)
class Made:
    """A report of a model that knows nothing, and the locus that its page shows first, read anew."""

    folder: Path
    locus: Locus


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("page")
    fasta = write_fasta(folder / "g.fa", {"c": random_dna(LENGTH)})
    lines = [
        f"c\tx\t{kind}\t{start + utr}\t{end - utr}\t.\t{strand}\t{phase}\tID={kind}{start};Name={name}\n"
        for start, end, strand, name in GENES
        for kind, phase, utr in (("gene", ".", 0), ("CDS", "0", 30))
    ]
    (folder / "genes.gff3").write_text("".join(lines))
    model = lively_model(small_config()).float()
    model.save_pretrained(folder / "model")
    command = ["explain", "--genome", fasta, "--model", folder / "model", "--annotation", folder / "genes.gff3"]
    command += ["--shifts", "20", "--out", folder / "report"]
    (script,) = entry_points(group="console_scripts", name="hnet-dna")
    result = CliRunner().invoke(script.load(), list(map(str, command)))
    assert result.exit_code == 0, result.output
    assert f"to read: {folder / 'report' / 'index.html'}" in result.stderr
    genome = open_genome(fasta)
    about = re.search(r'"about": "in (c:[\d,]+-[\d,]+), ', (folder / "report" / "index.html").read_text())
    assert about is not None
    interval = parse_region(about[1], genome)
    return Made(folder / "report", read_locus(model, genome, interval, read_features(folder / "genes.gff3", genome)))


@pytest.fixture
def page(made: Made, tmp_path: Path) -> Iterator[Chromium]:
    """The page as a file on disk, with its browser at work."""
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    with Chromium(tmp_path) as chromium:
        chromium.open((made.folder / "index.html").as_uri())
        chromium.wait("window.browser !== undefined")
        yield chromium
        assert chromium.errors == []
        assert chromium.requests == [(made.folder / "index.html").as_uri()]


def test_browser_shows_what_the_model_says(page: Chromium, made: Made) -> None:
    interval = made.locus.interval

    def seen(track: str) -> list[list[object]]:
        place = f"'c', {interval.start}, {interval.end}, 0.1"  # bases per pixel: no zoom level
        shown: str = page.value(
            f"window.browser.findTracks('name', {track!r})[0].getFeatures({place})"
            ".then(found => JSON.stringify(found.map(f => [f.start, f.end, f.name ?? f.value, f.color ?? null])))"
        )
        return sorted(json.loads(shown))

    bits = np.array([value for _, _, value, _ in seen("bits per base")], dtype=float)
    np.testing.assert_allclose(bits, made.locus.bits, atol=1e-3)
    for number, stage in enumerate(made.locus.stages):
        chunks = seen(f"chunks, stage {number}")
        assert [line[:2] for line in chunks] == np.stack([stage.start, stage.end], axis=1).tolist()
        assert {line[3] for line in chunks} == {"rgb(0,114,178)", "rgb(156,196,222)"}
        known = np.flatnonzero(~np.isnan(stage.prob))
        probabilities = seen(f"boundary probability, stage {number}")
        assert [line[0] for line in probabilities] == (known + interval.start).tolist()
        np.testing.assert_allclose([float(str(p[2])) for p in probabilities], stage.prob[known], atol=1e-3)
    genes = [[s - 1, e, name.replace(" ", "_")] for s, e, _, name in GENES if e > interval.start and s <= interval.end]
    assert genes
    assert [line[:3] for line in seen("genes")] == genes
    letters = page.value(f"window.browser.genome.getSequence('c', {interval.start}, {interval.end})")
    assert letters == random_dna(LENGTH)[interval.start : interval.end]


def test_page_begins_with_what_the_chunks_are(made: Made) -> None:
    """A sentence and a picture, both of them of what the tables hold; without codons, of what is left."""
    page = (made.folder / "index.html").read_text()
    tables = read_tables(made.folder)
    rates = {
        (row["strand"], row["codon_position"]): f"{100 * row['rate']:.0f} %" for row in tables["codons"].where(stage=0)
    }
    lead = re.findall(r'<p class="lead">(.*?)</p>', page)[0]
    assert re.findall(r"\d+ %", lead) == [rates[strand, position] for strand in "+-" for position in (1, 2, 3)]
    assert page.index("What the chunks are</h2>") < page.index("Summary</h2>")
    findings = judge(tables)
    drawn = overview(tables, findings, 0)
    assert drawn is not None
    shown = set(re.findall(r">([^<>]+)</text>", drawn.svg))
    assert {f"2nd base {rates['+', 2]}", "genes of the - strand", "intergenic"} <= shown
    left = overview({"classes": tables["classes"]}, findings, 0)
    assert left is not None
    assert "codon" not in left.caption
    assert overview({"classes": tables["classes"]}, [], 0) is None


def test_effects_of_mutations_in_view(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each base once, where the views of two examples overlap, and the values of `mutate`."""
    monkeypatch.setattr(browser, "_VIEW", 40)
    model = HNetLM.from_pretrained(made.folder.parent / "model")
    genome = open_genome(made.folder.parent / "g.fa")
    examples = {"one": Interval("c", 2_000, 2_010), "two": Interval("c", 2_020, 2_030)}
    shown = browser.read_shown(model, genome, [], examples, mutations=True)
    track = browser.options(shown, "g.fa")["tracks"][-1]
    assert track["name"] == "mean effect of mutations"
    header, *lines = gzip.decompress(base64.b64decode(track["url"].partition(",")[2])).decode().splitlines()
    assert header == "variableStep chrom=c span=1"
    (expected,) = mutate(Interval("c", 1_985, 2_025), genome, model)
    read = dict(line.split() for line in lines if not line.startswith("variableStep"))
    assert list(map(int, read)) == list(range(1_986, 2_046))
    np.testing.assert_allclose([float(read[str(place)]) for place in range(1_986, 2_026)], expected.effect, atol=1e-3)


def test_loci_and_tables_by_keyboard(page: Chromium) -> None:
    before = page.value("window.browser.currentLoci()")
    page.value("document.getElementById('locus').focus()")
    page.press("ArrowDown", 40)
    page.wait(f"JSON.stringify(window.browser.currentLoci()) !== {json.dumps(json.dumps(before))}")
    assert page.value("document.getElementById('about-locus').textContent").startswith("in c:")

    def column(name: str) -> list[str]:
        """Sort the table of classes by a column and return what it then holds, from the top."""
        head = f"[...document.querySelectorAll('#classes th')].find(th => th.textContent === {name!r})"
        page.value(f"{head}.querySelector('button').focus()")
        page.press("Enter", 13, "\r")
        cells: list[str] = page.value(
            f"[...document.querySelectorAll('#classes tbody tr')].map(tr => tr.cells[{head}.cellIndex])"
            ".map(td => td.dataset.value ?? td.textContent)"
        )
        return cells

    for rises in (False, True):  # numbers fall first
        values = column("enrichment")
        known = [float(value) for value in values if value]
        assert len(set(known)) > 3
        assert known == sorted(known, reverse=not rises)
        assert values[len(known) :] == [""] * (len(values) - len(known))
    for falls in (False, True):  # words rise first
        names = column("class")
        assert names == sorted(names, key=str.casefold, reverse=falls)
    assert page.value("document.querySelectorAll('#classes th[aria-sort=descending]').length") == 1


def test_page_is_whole(made: Made) -> None:
    whole = (made.folder / "index.html").read_text()
    assert len(whole) < 4_000_000
    text, _, scripts = whole.partition("<!-- igv.js")
    assert "default-src 'none'" in text.replace("&#x27;", "'")
    links = set(re.findall(r'href="([^"#]+)"', text)) - {"data:,"}
    assert links == {path.name for path in made.folder.glob("*.tsv")}
    anchors = re.findall(r'href="#([^"]+)"', text)
    assert all(f'id="{anchor}"' in text for anchor in anchors)
    assert text.count("<figure>") == text.count("<figcaption>") == text.count('<img alt="') > 8
    assert "Permission is hereby granted" in scripts  # igv.js's licence goes with it


def test_serve_gives_ranges(made: Made) -> None:
    whole = (made.folder / "classes.tsv").read_bytes()

    def get(address: str, wanted: str) -> tuple[int, bytes]:
        request = urllib.request.Request(address, headers={"Range": wanted})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read()

    with serve(made.folder) as address:
        assert address.startswith("http://127.0.0.1:")
        table = address.replace("index.html", "classes.tsv")
        assert get(table, "bytes=3-10") == (206, whole[3:11])
        assert get(table, "bytes=5-") == (206, whole[5:])
        assert get(table, "bytes=9-3") == (200, whole)
        with pytest.raises(urllib.error.HTTPError, match="416"):
            get(table, f"bytes={len(whole)}-")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(address.replace("index.html", "../model/config.json"), "bytes=0-1")


def test_open(made: Made, cli: Callable[..., Result], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hnet_dna_cli", "explain", "--open", str(made.folder)]
    environment = {**os.environ, "BROWSER": "true"}  # a browser that does nothing
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as shown:
        assert shown.stderr is not None
        address = shown.stderr.readline().split()[0]
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            assert answer.read() == (made.folder / "index.html").read_bytes()
        shown.send_signal(signal.SIGINT)
        assert shown.communicate(timeout=PATIENCE)[0] == ""
    assert shown.returncode == 0
    assert "no page, index.html" in one_line_error(cli("explain", "--open", tmp_path))
    assert "and nothing else" in one_line_error(cli("explain", made.folder))
    assert "and nothing else" in one_line_error(cli("explain", made.folder, "--open", "--out", tmp_path))
