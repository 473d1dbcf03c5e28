"""Makes the hub of a stretch of yeast, opens it in igv.js and in JBrowse 2, and takes pictures of both.

    npm pack @jbrowse/react-app2@4.3.0 && tar xzf jbrowse-react-app2-4.3.0.tgz
    python pipelines/browser_pictures.py hub --jbrowse package/dist/react-app.umd.production.min.js --pictures docs

Beside the tracks of `segment`, the hub has the genes as bigBed. Each browser is asked what it holds at the locus, which
has to be what the files hold. Needs Chromium, and for JBrowse the bundle of its application that npm has, which is no
part of this repository.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pybigtools
from PIL import Image, ImageChops

from hnet_dna.annotation.reader import read_features
from hnet_dna.annotation.regions import parse_region
from hnet_dna.genome.bundled import bundled_genome
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import open_genome
from hnet_dna.hub.write import write_hub
from hnet_dna.sequence.interval import Interval
from hnet_dna.serve import serve
from hnet_dna.tracks.bigwig import pybigwig
from hnet_dna.tracks.outputs import TrackFiles
from hnet_dna.tracks.to_files import segment_to_files

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from chromium import Chromium

MARGIN = 20_000  # bases on either side of the locus that are read
IGV = """ready.then(async browser => {
  const seen = {};
  for (const {name} of options.tracks) {
    const found = await browser.findTracks("name", name)[0].getFeatures("CONTIG", START, END, 0.1);
    seen[name] = found.map(feature => [feature.start, feature.end]);
  }
  return seen;
})"""
JBROWSE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,"><title>JBrowse 2</title>
<script src="jbrowse.js"></script></head>
<body style="margin:0"><div id="browser"></div>
<script>
const {React, createRoot, createViewState, JBrowseApp} = JBrowseReactApp;
const whole = value => {  // addresses of config.json are relative to it
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(whole);
  const copy = Object.fromEntries(Object.entries(value).map(([key, one]) => [key, whole(one)]));
  return "uri" in copy ? {...copy, uri: new URL(copy.uri, document.baseURI).href} : copy;
};
async function open() {
  const config = whole(await (await fetch("config.json")).json());
  const state = createViewState({config});
  createRoot(document.getElementById("browser")).render(React.createElement(JBrowseApp, {viewState: state}));
  const manager = state.pluginManager ?? state.session.root.pluginManager;
  const region = {refName: "CONTIG", start: START, end: END, assemblyName: config.assemblies[0].name};
  const seen = {};
  for (const {name, adapter} of config.tracks) {
    const kind = manager.getAdapterType(adapter.type);
    const reader = new (await kind.getAdapterClass())(kind.configSchema.create(adapter, {pluginManager: manager}));
    seen[name] = [];
    await new Promise((resolve, reject) => reader.getFeatures(region, {bpPerPx: 0.1}).subscribe({
      next: feature => seen[name].push([feature.get("start"), feature.get("end")]), error: reject, complete: resolve}));
  }
  return seen;
}
window.seen = open();
</script></body></html>
"""
DRAWN = """(tracks => tracks.length === COUNT && tracks.every(track => track.querySelector('[data-testid$="_done"]')))(
  [...document.querySelectorAll('[data-testid^="trackRenderingContainer"]')])"""


def write_genes(genome: Genome, contig: str, path: Path) -> None:
    """Write the genes of a contig, which the package has, as bigBed."""
    genes = [one for one in read_features(bundled_genome().annotation, genome) if one.kind == "gene"]
    rows = sorted(
        (gene.interval.start, gene.interval.end, f"{(gene.values['Name'] or ['gene'])[0]}\t0\t{gene.strand}")
        for gene in genes
        if gene.interval.contig == contig
    )
    pybigtools.open(str(path), "w").write({contig: genome[contig].length}, ((contig, *row) for row in rows))


def held(path: Path, inside: Interval) -> Iterator[tuple[int, int]]:
    """Yield the places of what a bigBed or bigWig file holds in an interval."""
    file = pybigwig().open(str(path))
    rows = (file.entries if file.isBigBed() else file.intervals)(inside.contig, inside.start, inside.end)
    yield from ((start, end) for start, end, *_ in rows or ())


def at(text: str, locus: Interval) -> str:
    """Fill in a locus."""
    for word, value in (("CONTIG", locus.contig), ("START", locus.start), ("END", locus.end)):
        text = text.replace(word, str(value))
    return text


def trimmed(picture: Path) -> None:
    """Cut off the empty part below, and keep few colours."""
    with Image.open(picture) as opened:
        image = opened.convert("RGB")
    box = ImageChops.difference(image, Image.new("RGB", image.size, "white")).getbbox()
    image.crop((0, 0, image.width, box[3] + 12 if box else image.height)).quantize(128).save(picture, optimize=True)


def main() -> None:
    """Make the hub, open it, and compare."""
    parser = argparse.ArgumentParser(description="A hub in browsers.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="five-genomes")
    parser.add_argument("--locus", default="chrXV:108,100-108,340")
    parser.add_argument("--jbrowse", type=Path, help="bundle of @jbrowse/react-app2")
    parser.add_argument("--pictures", type=Path, help="folder for hub.png and jbrowse.png")
    arguments = parser.parse_args()
    genome = open_genome("yeast")
    locus = parse_region(arguments.locus, genome)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "read.bed").write_text(f"{locus.contig}\t{max(0, locus.start - MARGIN)}\t{locus.end + MARGIN}\n")
        write_genes(genome, locus.contig, folder / "genes.bb")
        made = TrackFiles(bigbed=folder / "chunks.bb", bigwig=folder / "boundaries.bw")
        segment_to_files(genome, arguments.model, made, regions=folder / "read.bed")
        tracks = [folder / name for name in ("genes.bb", "chunks.bb", "boundaries.bw")]
        write_hub(tracks, genome, arguments.out, model=arguments.model, locus=arguments.locus)
        wanted = {path.name: sorted(held(path, locus)) for path in tracks}
    browsers = ["index.html"]
    if arguments.jbrowse:
        shutil.copy(arguments.jbrowse, arguments.out / "jbrowse.js")
        (arguments.out / "jbrowse.html").write_text(at(JBROWSE, locus))
        browsers.append("jbrowse.html")
    with serve(arguments.out) as address, tempfile.TemporaryDirectory() as profile, Chromium(Path(profile)) as page:
        for name in browsers:
            page.open(address.replace("index.html", name))
            seen: dict[str, Any] = page.value(at(IGV, locus) if name == "index.html" else "seen")
            for track, places in wanted.items():
                found = sorted(tuple(one) for one in seen[track] if one[1] > locus.start and one[0] < locus.end)
                assert found == places, (name, track, found[:5], places[:5])
            print(f"{name}: {', '.join(f'{len(one):,} of {track}' for track, one in wanted.items())}, as in the files")
            if name == "jbrowse.html":
                page.wait(DRAWN.replace("COUNT", str(len(wanted))))
            if arguments.pictures:
                picture = arguments.pictures / {"index.html": "hub.png", "jbrowse.html": "jbrowse.png"}[name]
                page.screenshot(picture)
                trimmed(picture)
        assert not page.errors, page.errors


if __name__ == "__main__":
    main()
