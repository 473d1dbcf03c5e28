"""Runs a whole benchmark collection: a head on frozen vectors for each dataset, on its own train and test parts.

    python pipelines/benchmark_suite.py FOLDER --layout gue --model run --out table.tsv
    python pipelines/benchmark_suite.py FOLDER --layout genomic-benchmarks --reference hg38.fa --model run --out t.tsv

Layouts are described in hnet_dna/probing/suites.py. The table has one line per dataset and kind of features: dataset,
features, rows for training, rows for testing, copies of training sequences in the test part, then MCC, AUROC, AUPRC,
accuracy and F1 on the test part, each with its 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from hnet_dna.embedding.embedder import Embedder
from hnet_dna.errors import HNetError, SequenceError
from hnet_dna.files import write_beside
from hnet_dna.genome.open import open_genome
from hnet_dna.model.lm import HNetLM
from hnet_dna.probing import features
from hnet_dna.probing.cross_validation import hold_out
from hnet_dna.probing.suites import LAYOUTS, Dataset, read_suite
from hnet_dna.sequence.codes import Codes, to_text

METRICS = ("MCC", "AUROC", "AUPRC", "accuracy", "F1")


def vectors(embedder: Embedder, sequences: list[Codes], name: str) -> np.ndarray:
    """Embed sequences, all of which must have bases."""
    found = embedder.embed(sequences)
    if any(vector is None for vector in found):
        raise SequenceError(f"{name}: a sequence has no A, C, G or T")
    return np.stack([vector for vector in found if vector is not None])


def run(dataset: Dataset, embedder: Embedder, head: str) -> list[str]:
    """Return the lines of one dataset."""
    (train, target), (test, truth) = dataset.train, dataset.test
    seen = {to_text(codes).upper() for codes in train}
    copies = sum(to_text(codes).upper() in seen for codes in test)
    both = [*train, *test]
    kinds = {
        "model": vectors(embedder, both, dataset.name),
        "GC content": features.gc_content(both),
        "4-mer frequencies": features.kmer_frequencies(both, 4).toarray(),
    }
    if (positions := features.one_hot(both)) is not None:
        kinds["one-hot"] = positions
    lines = []
    for name, matrix in kinds.items():
        found = hold_out(matrix[: len(train)], target, matrix[len(train) :], truth, head)
        cells = [
            f"{found[m].value:.4f} [{found[m].low:.4f}, {found[m].high:.4f}]" if m in found else "-" for m in METRICS
        ]
        lines.append("\t".join([dataset.name, name, str(len(train)), str(len(test)), str(copies), *cells]))
    return lines


def main() -> None:
    """Run all datasets of a folder."""
    parser = argparse.ArgumentParser(description="A benchmark collection on frozen vectors.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layout", choices=LAYOUTS, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--reference", help="genome, for interval files")
    parser.add_argument("--head", default="logistic")
    parser.add_argument("--level", default="chunk")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    try:
        embedder = Embedder(HNetLM.from_pretrained(options.model).eval(), options.level)
        reference = open_genome(options.reference) if options.reference else None
        lines = ["\t".join(["dataset", "features", "train", "test", "copies", *METRICS])]
        for dataset in read_suite(options.folder, options.layout, reference):
            lines += run(dataset, embedder, options.head)
            print(lines[-1] if len(lines) == 1 else "\n".join(lines[-4:]), flush=True)
        with write_beside(options.out) as temporary:
            temporary.write_text("\n".join(lines) + "\n")
    except HNetError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None


if __name__ == "__main__":
    main()
