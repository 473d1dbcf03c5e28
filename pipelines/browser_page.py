"""Shows chunks, boundary probability and genes of a demo in igv.js, as a page and as a picture.

    python pipelines/browser_page.py hnet-dna-demo page --locus chrXV:107,200-107,330 --screenshot docs/igv.png

Writes a folder that any web server with Range requests can serve. The picture needs Chromium.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pysam

from hnet_dna.explanation.page.browser import igv
from hnet_dna.genome.bundled import bundled_genome
from hnet_dna.genome.fasta import read_fasta
from hnet_dna.model.lm import HNetLM
from hnet_dna.serve import serve
from hnet_dna.tracks.segment import Segmenter
from hnet_dna.tracks.values import Values

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>hnet-dna: learned chunks</title>
<script src="igv.min.js"></script></head>
<body><div id="browser"></div><pre id="result" style="display:none">pending</pre>
<script>
const options = OPTIONS;
igv.createBrowser(document.getElementById("browser"), options).then(async browser => {
  const [, contig, start, end] = options.locus.replaceAll(",", "").match(/(.+):(\\d+)-(\\d+)/);
  const found = {};
  for (const {name} of options.tracks) {
    const track = browser.findTracks("name", name)[0];
    const features = await track.getFeatures(contig, start - 1, Number(end), 0.1);  // bases per pixel: no zoom level
    found[name] = features.map(f => [f.start, f.end, f.name ?? f.value]);
  }
  document.getElementById("result").textContent = JSON.stringify(found);
}).catch(error => { document.getElementById("result").textContent = JSON.stringify({error: String(error)}); });
</script></body></html>
"""


def write_page(folder: Path, fasta: Path, model: HNetLM, annotation: Path, locus: str) -> None:
    """Write FASTA with index, tracks and page into a new folder."""
    folder.mkdir(parents=True)
    shutil.copy(fasta, folder / "genome.fa")
    pysam.faidx(str(folder / "genome.fa"))
    (folder / "igv.min.js").write_text(igv()[0])
    with Values() as values, (folder / "chunks.bed").open("w") as bed:
        Segmenter(model, bed, plus=values).run(read_fasta(fasta))
        values.write_bigwig(folder / "probability.bw")
    contig = locus.split(":")[0]
    with gzip.open(annotation, "rt") as lines, (folder / "genes.gff3").open("w") as genes:
        genes.writelines(line for line in lines if line.split("\t")[0] == contig and line.split("\t")[2] == "gene")
    tracks: list[dict[str, Any]] = [
        {"name": "genes", "url": "genes.gff3", "format": "gff3", "type": "annotation", "color": "#E69F00"},
        {"name": "chunks", "url": "chunks.bed", "format": "bed", "type": "annotation", "displayMode": "EXPANDED"},
        {"name": "boundary probability", "url": "probability.bw", "format": "bigwig", "type": "wig", "height": 110}
        | {"min": 0, "max": 1, "color": "#0072B2", "autoscale": False},
    ]
    reference = {"id": contig, "fastaURL": "genome.fa", "indexURL": "genome.fa.fai"}
    options = {"reference": reference, "locus": locus, "tracks": tracks, "showNavigation": True}
    (folder / "index.html").write_text(PAGE.replace("OPTIONS", json.dumps(options)))


def chromium(*arguments: str) -> str:
    """Run headless Chromium and return what it prints."""
    command = ["chromium", "--headless=new", "--disable-gpu", "--virtual-time-budget=20000", *arguments]
    if os.geteuid() == 0:
        command.insert(1, "--no-sandbox")  # without it Chromium refuses to run as root
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def features_seen(url: str) -> dict[str, Any]:
    """Open the page and return what igv.js holds for each track."""
    match = re.search(r'<pre id="result"[^>]*>(.*?)</pre>', chromium("--dump-dom", url), flags=re.DOTALL)
    if match is None:
        raise SystemExit("the page has no result")
    result: dict[str, Any] = json.loads(unescape(match[1]))
    return result


def main() -> None:
    """Write the page, and its picture if asked."""
    parser = argparse.ArgumentParser(description="A page with igv.js.")
    parser.add_argument("demo", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--locus", default="chrXV:107,200-107,330")
    parser.add_argument("--screenshot", type=Path)
    options = parser.parse_args()
    (fasta,) = options.demo.glob("chr*.fa")
    model = HNetLM.from_pretrained(options.demo / "run").eval()
    write_page(options.out, fasta, model, bundled_genome().annotation, options.locus)
    if options.screenshot:
        with serve(options.out) as url:
            chromium(f"--screenshot={options.screenshot.resolve()}", "--window-size=1200,480", url)


if __name__ == "__main__":
    main()
