"""The folder that browsers open: each file that is named lies there, and igv.js shows the chunks of a locus."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from chromium import Chromium
from helpers import lively_model, one_line_error, random_dna, small_config, write_fasta
from typer.testing import Result

from hnet_dna.genome.open import open_genome
from hnet_dna.hub.twobit import write_twobit
from hnet_dna.hub.write import write_hub
from hnet_dna.sequence.interval import Interval
from hnet_dna.serve import serve
from hnet_dna.tracks.bigbed import write_bigbed
from hnet_dna.tracks.segment import segment
from hnet_dna.tracks.values import Values
from hnet_dna.tracks.windows import write_summary
from hnet_dna.tracks.write import write_bigwig

pytest.importorskip("pybigtools")
Cli = Callable[..., Result]
ROOT = Path(__file__).parent.parent.parent
NODE_MODULES = ROOT / ".ci-node" / "node_modules"
JBROWSE = ROOT / ".ci-node" / "package" / "dist" / "react-app.umd.production.min.js"
JUDGE = """
import { readFileSync } from "node:fs"
import { HubFile, GenomesFile, TrackDbFile } from "@gmod/ucsc-hub"
const read = name => readFileSync(`${process.argv[2]}/${name}`, "utf8")
const hub = new HubFile(read("hub.txt"))
const genomes = new GenomesFile(read(hub.data.genomesFile))
const tracks = new TrackDbFile(read(genomes.data.g.data.trackDb))
console.log(JSON.stringify(tracks.settings("hnet_dna_chunks").data))
"""
RECORDS = {"chr2": random_dna(900), "chr1": "N" * 50 + random_dna(2_000, 1).lower() + random_dna(1_100, 2) + "RN"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tracks of a small genome that is not a known assembly, and the hub that is made of them."""
    folder = tmp_path_factory.mktemp("hub")
    model = lively_model(small_config()).float()
    model.save_pretrained(folder / "my-model")
    genome = open_genome(write_fasta(folder / "g.fa", RECORDS))
    write_bigbed(segment(genome, model), genome, folder / "chunks.bb")
    write_bigwig(segment(genome, model, every_base=True), genome, folder / "chunks.bw")
    write_summary(segment(genome, model), genome, folder / "wide.bw", window=100)
    return folder


@pytest.fixture
def hub(cli: Cli, folder: Path) -> Path:
    if not (folder / "hub").exists():
        tracks = [folder / name for name in ("chunks.bb", "chunks.bw", "wide.bw")]
        command = ["hub", folder / "hub", "--genome", folder / "g.fa", "--model", folder / "my-model"]
        result = cli(*command, "--email", "me@example.org", "--tracks", *tracks)
        assert result.exit_code == 0, result.output
        assert "3 tracks on an assembly of its own, g, since its contigs are not those of" in result.stderr
    return folder / "hub"


def stanzas(path: Path) -> list[dict[str, str]]:
    blocks = path.read_text().strip().split("\n\n")
    return [dict(line.split(" ", 1) for line in block.splitlines()) for block in blocks]


def test_ucsc_finds_what_the_hub_names(hub: Path) -> None:
    (top,) = stanzas(hub / "hub.txt")
    assert {"hub", "shortLabel", "longLabel", "genomesFile", "email", "descriptionUrl"} == set(top)
    (genome,) = stanzas(hub / top["genomesFile"])
    assert genome["genome"] == "g"
    assert (hub / genome["twoBitPath"]).is_file()
    contig, start, end = re.split("[:-]", genome["defaultPos"])
    assert 0 < int(start) < int(end) <= len(RECORDS[contig])
    parent, *tracks = stanzas(hub / genome["trackDb"])
    assert parent["superTrack"] == "on show"
    assert [track["type"].split()[0] for track in tracks] == ["bigBed", "bigWig", "bigWig"]
    assert tracks[0]["type"] == "bigBed 6 +"
    assert (tracks[1]["autoScale"], tracks[1]["viewLimits"]) == ("off", "0:1")
    assert tracks[2]["longLabel"].startswith("wide.bw: Windows of 100 bases")
    assert len({track["track"] for track in tracks}) == 3
    for track in tracks:
        assert re.fullmatch(r"\w+", track["track"])
        assert len(track["shortLabel"]) <= 17
        assert len(track["longLabel"]) <= 80
        assert (hub / "g" / track["bigDataUrl"]).is_file()
        page = (hub / "g" / f"{track['html']}.html").read_text()
        assert "<b>my-model</b>" in page
        assert "SHA-256" in page


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.skipif(
    not (NODE_MODULES / "@gmod" / "ucsc-hub").exists(), reason="@gmod/ucsc-hub is not installed in .ci-node"
)
def test_a_reader_of_ucsc_hubs_finds_all_that_each_file_needs(hub: Path) -> None:
    """It throws where a required setting is missing."""
    script = NODE_MODULES.parent / "read_hub.mjs"
    script.write_text(JUDGE)
    told = subprocess.run(["node", str(script), str(hub)], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    track = json.loads(told.stdout)
    assert (track["type"], track["bigDataUrl"], track["parent"]) == ("bigBed 6 +", "chunks.bb", "hnet_dna")


def test_jbrowse_finds_what_its_configuration_names(hub: Path) -> None:
    config = json.loads((hub / "config.json").read_text())
    (assembly,) = config["assemblies"]
    places = [place["uri"] for place in _locations([assembly, *config["tracks"]])]
    assert places == ["g/g.2bit", "g/chunks.bb", "g/chunks_2.bw", "g/wide.bw"]
    assert all((hub / place).is_file() for place in places)
    names = {track["trackId"] for track in config["tracks"]}
    assert set(config["defaultSession"]["views"][0]["init"]["tracks"]) == names
    assert {track["adapter"]["type"] for track in config["tracks"]} == {"BigBedAdapter", "BigWigAdapter"}
    assert all(track["displays"][0]["type"].startswith("Linear") for track in config["tracks"])


def _locations(value: object) -> list[dict[str, str]]:
    if isinstance(value, list):
        return [location for one in value for location in _locations(one)]
    if isinstance(value, dict):
        return [value] if "uri" in value else [location for one in value.values() for location in _locations(one)]
    return []


def test_the_genome_is_what_it_was(hub: Path, folder: Path, tmp_path: Path) -> None:
    py2bit = pytest.importorskip("py2bit")
    file = py2bit.open(str(hub / "g" / "g.2bit"), True)
    assert file.chroms() == {name: len(sequence) for name, sequence in RECORDS.items()}
    assert file.sequence("chr2") == RECORDS["chr2"]
    assert file.sequence("chr1") == RECORDS["chr1"].replace("R", "N")
    masked = {"a": "acgtN", "b": "NNacgtacgtaNNN" * 3 + "C", "c": "T"}
    genome = open_genome(write_fasta(tmp_path / "m.fa", masked))
    write_twobit(genome, tmp_path / "m.2bit")
    file = py2bit.open(str(tmp_path / "m.2bit"), True)
    assert {name: file.sequence(name) for name in masked} == masked


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_igv_shows_the_hub(hub: Path, folder: Path, tmp_path: Path) -> None:
    """Over a server of byte ranges, with the bases, chunks and values that are in the files."""
    (chunks, _) = segment(folder / "g.fa", folder / "my-model")
    (first, *_) = segment(folder / "g.fa", folder / "my-model", every_base=True)
    script = """ready.then(async browser => {
      const of = async name => (await browser.findTracks("name", name)[0].getFeatures("chr2", 100, 160, 0.1))
      const round = value => Math.round(value * 1e4) / 1e4
      return {
        bases: await browser.genome.getSequence("chr2", 100, 160),
        chunks: (await of("chunks.bb")).map(f => [f.start, f.end]),
        values: (await of("chunks.bw")).map(f => [f.start, round(f.value)]),
      }
    })"""
    with serve(hub) as address, Chromium(tmp_path / "profile") as page:
        page.open(address)
        seen = page.value(script)
        assert not page.errors
    assert chunks.contig == "chr2"
    assert seen["bases"] == RECORDS["chr2"][100:160]
    inside = [[s, e] for s, e in zip(chunks.start.tolist(), chunks.end.tolist(), strict=True) if e > 100 and s < 160]
    assert [one for one in seen["chunks"] if one[1] > 100 and one[0] < 160] == inside
    values = {start: value for start, value in seen["values"] if 100 <= start < 160}
    assert first.base_probability is not None
    np.testing.assert_allclose(list(values.values()), first.base_probability[100:160], atol=1e-4)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.skipif(not JBROWSE.exists(), reason="@jbrowse/react-app2 is not unpacked in .ci-node")
def test_jbrowse_opens_the_configuration(hub: Path, folder: Path, tmp_path: Path) -> None:
    """JBrowse 2 itself draws all tracks, and holds the chunks and values of a locus that are in the files."""
    spec = importlib.util.spec_from_file_location("browser_pictures", ROOT / "pipelines" / "browser_pictures.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    locus = Interval("chr2", 100, 160)
    place = shutil.copytree(hub, tmp_path / "hub")
    shutil.copy(JBROWSE, place / "jbrowse.js")
    (place / "jbrowse.html").write_text(script.at(script.JBROWSE, locus))
    with serve(place) as address, Chromium(tmp_path / "profile") as page:
        page.open(address.replace("index.html", "jbrowse.html"))
        seen = page.value("seen")
        page.wait(script.DRAWN.replace("COUNT", "3"))
        assert not page.errors
    for track in ("chunks.bb", "chunks.bw"):
        read = sorted(tuple(one) for one in seen[track] if one[1] > locus.start and one[0] < locus.end)
        assert read == sorted(script.held(folder / track, locus))
        assert read


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_tracks_with_other_names_than_the_genome(cli: Cli, folder: Path, tmp_path: Path) -> None:
    """The genome's contigs are 1 and 2, those of the tracks chr1 and chr2; browsers find them by a table of names."""
    genome = write_fasta(tmp_path / "n.fa", {"2": RECORDS["chr2"], "1": RECORDS["chr1"]})
    command = ["hub", tmp_path / "hub", "--genome", genome, "--tracks", folder / "chunks.bb", "--aliases"]
    result = cli(*command)
    assert result.exit_code == 0, result.output
    (stanza,) = stanzas(tmp_path / "hub" / "genomes.txt")
    assert (tmp_path / "hub" / stanza["chromAlias"]).read_text() == "# genome\ttracks\n2\tchr2\n1\tchr1\n"
    (assembly,) = json.loads((tmp_path / "hub" / "config.json").read_text())["assemblies"]
    assert assembly["refNameAliases"]["adapter"]["location"]["uri"] == stanza["chromAlias"]
    script = """ready.then(async browser => {
      const found = await browser.findTracks("name", "chunks.bb")[0].getFeatures("2", 100, 160, 0.1)
      return found.map(f => [f.start, f.end])
    })"""
    with serve(tmp_path / "hub") as address, Chromium(tmp_path / "profile") as page:
        page.open(address)
        seen = page.value(script)
        assert not page.errors
    (chunks, _) = segment(folder / "g.fa", folder / "my-model")
    inside = [[s, e] for s, e in zip(chunks.start.tolist(), chunks.end.tolist(), strict=True) if e > 100 and s < 160]
    assert [one for one in seen if one[1] > 100 and one[0] < 160] == inside


def test_a_genome_of_ucsc_is_named_as_there(cli: Cli, tmp_path: Path) -> None:
    from hnet_dna.sequence.interval import Interval

    chunks = segment("yeast", "five-genomes", regions=[Interval("chrXV", 1_000, 2_000)])
    write_bigbed(chunks, "yeast", tmp_path / "y.bb")
    command = ["hub", tmp_path / "hub", "--genome", "yeast", "--tracks", tmp_path / "y.bb"]
    assert one_line_error(cli(*command, "--locus", "chrXV:1-2000000"))
    result = cli(*command, "--locus", "chrXV:1,101-1,200")
    assert result.exit_code == 0, result.output
    (genome,) = stanzas(tmp_path / "hub" / "genomes.txt")
    assert genome["genome"] == "sacCer3"
    assert "twoBitPath" not in genome
    assert genome["defaultPos"] == "chrXV:1101-1200"
    assert "was not named" in (tmp_path / "hub" / "sacCer3" / "y.html").read_text()
    again = one_line_error(cli(*command))
    assert "hub exists already, with LICENSE.igv, config.json, genomes.txt and 5 more; choose another folder" in again
    assert f"or show the hub that is there: hnet-dna hub {tmp_path / 'hub'} --serve" in again


def test_first_view_is_where_values_are(tmp_path: Path) -> None:
    """A track of a region opens there, and not in the empty middle of the first contig."""
    fasta = write_fasta(tmp_path / "g.fa", {"a": random_dna(9_000), "b": random_dna(9_000, 1)})
    with Values() as values:
        values.contig("a", 9_000)
        values.contig("b", 9_000)
        values.add("b", 1_000, np.ones(300, dtype=np.float32))
        values.write_bigwig(tmp_path / "x.bw")
    write_hub([tmp_path / "x.bw"], fasta, tmp_path / "hub")
    (place,) = re.findall(r"defaultPos (\S+)", (tmp_path / "hub" / "genomes.txt").read_text())
    contig, start, end = re.split("[:-]", place)
    assert contig == "b"
    assert int(start) < 1_300
    assert int(end) > 1_000


def test_what_makes_no_hub(cli: Cli, folder: Path, tmp_path: Path) -> None:
    def refused(*arguments: object, code: int = 1) -> str:
        result = cli("hub", tmp_path / "out", *arguments)
        assert result.exit_code == code, result.output
        assert not (tmp_path / "out").exists()
        return one_line_error(result)

    genome = ["--genome", folder / "g.fa", "--tracks"]
    assert "neither bigBed nor bigWig" in refused(*genome, folder / "g.fa")
    assert "no such file" in refused(*genome, tmp_path / "lost.bb")
    assert "given twice" in refused(*genome, folder / "chunks.bb", folder / "chunks.bb", code=2)
    assert "hub needs --genome and --tracks" in refused("--tracks", folder / "chunks.bb", code=2)
    assert "or --serve" in refused(code=2)
    assert "no page, index.html" in refused("--serve", code=2)
    other = write_fasta(tmp_path / "o.fa", {"chr2": RECORDS["chr2"] + "A", "chr1": RECORDS["chr1"]})
    assert "is it the same assembly?" in refused("--genome", other, "--tracks", folder / "chunks.bb")
    named = write_fasta(tmp_path / "n.fa", {"2": RECORDS["chr2"], "1": RECORDS["chr1"]})
    assert "or give --aliases" in refused("--genome", named, "--tracks", folder / "chunks.bb")
    assert "--email me: expected an address" in refused(*genome, folder / "chunks.bb", "--email", "me", code=2)
