"""Gathers the reports of probes into one table, a line for each head and kind of features.

    python pipelines/probe_table.py heads/* --out table.tsv

Columns: labels, level, head, features, rows, folds, then each metric as value [low, high]; NA where it is not defined.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from hnet_dna.files import write_beside


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description="Reports of probes in one table.")
    parser.add_argument("heads", type=Path, nargs="+", help="folders made by 'hnet-dna probe'")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    reports = [json.loads((folder / "report.json").read_text()) for folder in options.heads]
    metrics = list(
        dict.fromkeys(name for report in reports for result in report["results"] for name in result["metrics"])
    )
    lines = ["\t".join(["labels", "level", "head", "features", "rows", "folds", *metrics])]
    for report in reports:
        for result in report["results"]:
            values = [result["metrics"].get(name) for name in metrics]
            cells = ["NA" if m is None else f"{m['value']:.4f} [{m['low']:.4f}, {m['high']:.4f}]" for m in values]
            about = [report["labels"], report["vectors"]["level"], report["head"], result["features"]]
            lines.append("\t".join([*about, str(report["rows"]), str(report["folds"]), *cells]))
    with write_beside(options.out) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
