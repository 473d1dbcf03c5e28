"""Draws boundary probability, chunks and genes of a locus on the demo's held-out chromosome.

hnet-dna demo && python pipelines/plot_track.py hnet-dna-demo track.png
"""

from __future__ import annotations

import argparse
import gzip
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from hnet_dna.genome.bundled import bundled_genome
from hnet_dna.genome.fasta import read_fasta
from hnet_dna.inference.stream import forward
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.codes import to_text

BLUE, PALE, ORANGE, GREY = "#0072B2", "#9cc4de", "#E69F00", "#555555"
BEFORE, AFTER = 45, 75  # bases drawn around the start codon
CONTEXT = 4096  # bases the model reads first


def first_long_gene(contig: str) -> tuple[str, int, int]:
    """Return name, start and end of the first one-exon gene on the forward strand beyond the context."""
    with gzip.open(bundled_genome().annotation, "rt") as file:
        for line in file:
            fields = line.rstrip("\n").split("\t")
            if len(fields) == 9 and fields[0] == contig and fields[2] == "CDS" and fields[6] == "+":
                start, end = int(fields[3]) - 1, int(fields[4])
                if start > 100_000 and 800 < end - start < 1500 and fields[7] == "0":
                    return fields[8].split("Name=")[1], start, end
    raise SystemExit(f"no such gene on {contig}")


def main() -> None:
    """Run the model over the locus and draw it."""
    parser = argparse.ArgumentParser(description="Draw a locus.")
    parser.add_argument("demo", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    (fasta,) = arguments.demo.glob("chr*.fa")
    contig = fasta.stem
    codes = np.concatenate([piece.codes for piece in read_fasta(fasta)])
    name, gene_start, gene_end = first_long_gene(contig)
    model = HNetLM.from_pretrained(arguments.demo / "run").eval()
    origin = gene_start - CONTEXT
    stage = forward(model, codes[None, origin : gene_end + 300], None, None).stages[0]
    prob = stage.boundary_prob[0].numpy()
    begins = stage.boundary_mask[0].numpy()

    figure, (whole, near) = plt.subplots(2, 1, figsize=(11, 5.2), height_ratios=[1, 1.15], constrained_layout=True)
    low, high = gene_start - 200, gene_end + 200
    window = np.arange(low, high)
    lengths = np.convolve(begins[low - origin - 15 : high - origin + 15], np.ones(31) / 31, "same")[15:-15]
    whole.plot(window, 1 / np.maximum(lengths, 1e-3), color=BLUE, lw=1.2)
    whole.set_ylabel("bases per chunk\n(31-base mean)")
    top = whole.get_ylim()[1]
    arrow = {"arrowstyle": "-|>", "lw": 6, "color": ORANGE}
    whole.annotate("", xy=(gene_end, top), xytext=(gene_start, top), arrowprops=arrow)
    whole.text((gene_start + gene_end) / 2, top * 1.03, name, ha="center", va="bottom", style="italic")
    whole.set_xlim(low, high)
    whole.set_title(f"{contig}: {name} and its surroundings (held out of training)", loc="left", pad=22)

    low, high = gene_start - BEFORE, gene_start + AFTER
    window = np.arange(low, high)
    colours = [BLUE if begin else PALE for begin in begins[window - origin]]
    near.bar(window, prob[window - origin], width=0.9, color=colours)
    near.axhline(0.5, color=GREY, lw=0.8, ls=":")
    near.set_ylim(0, 1.28)
    edges = [*window[begins[window - origin]], high]
    for index, (left, right) in enumerate(pairwise(edges)):
        near.add_patch(
            Rectangle((left - 0.5, 1.06), right - left, 0.12, facecolor=(BLUE, PALE)[index % 2], edgecolor="white")
        )
    near.axvspan(gene_start - 0.5, gene_start + 2.5, color=ORANGE, alpha=0.35, lw=0)
    near.text(gene_start + 1, 1.21, "start codon", ha="center", va="bottom", fontsize=8)
    near.set_xticks(window, list(to_text(codes[low:high])), fontsize=6, family="monospace")
    near.tick_params(axis="x", length=0)
    near.set_xlim(low - 0.5, high - 0.5)
    near.set_ylabel("boundary probability")
    near.set_xlabel("bar above 0.5 = a chunk begins at this base; the row of boxes shows the chunks")
    for axis in (whole, near):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(arguments.out, dpi=130)


if __name__ == "__main__":
    main()
