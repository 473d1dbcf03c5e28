"""Gathers what 'hnet-dna evaluate --json' printed into one table, a line for each file and class of bases.

    python pipelines/evaluation_table.py evaluations/*.json --out table.tsv

Columns: run (the file's name), class, bases, then bits per base of the model, of the best Markov model and of the
mixture.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from hnet_dna.evaluation.markov import MIXTURE, markov_name
from hnet_dna.files import write_beside


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description="Evaluations in one table.")
    parser.add_argument("evaluations", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    lines = ["run\tclass\tbases\tmodel\tbest_markov\tmixture"]
    for path in options.evaluations:
        results = json.loads(path.read_text())
        whole = {
            "group": "all",
            "name": "",
            "bases": results["held_out_bases"],
            "bits_per_base": results["bits_per_base"],
        }
        for row in [whole, *results["classes"]]:
            bits = row["bits_per_base"]
            values = (bits["model"], bits[markov_name(results["best_markov_order"])], bits[MIXTURE])
            name = f"{row['group']} {row['name']}".strip()
            lines.append("\t".join([path.stem, name, str(row["bases"]), *(f"{value:.4f}" for value in values)]))
    with write_beside(options.out) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
