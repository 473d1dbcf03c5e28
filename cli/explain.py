"""`hnet-dna explain`: where boundaries lie, beside what shifts, an untrained model and shuffled sequence give."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from hnet_dna.errors import UsageError

from . import options, show

if TYPE_CHECKING:
    from hnet_dna.explain.report import Report
    from hnet_dna.model.lm import HNetLM

# Classes that the printed table shows where they exist; classes.tsv has all.
_SHOWN = ("all", "CDS", "exon", "intron", "five_prime_UTR", "three_prime_UTR", "UTR", "five_prime_utr",
          "three_prime_utr", "intergenic", "promoter window", "soft-masked", "homopolymer",
          "microsatellite")  # fmt: skip


def explain(
    genome: options.Genome = None,
    model: options.Model = None,
    annotation: Annotated[
        Path | None, typer.Option(metavar="GFF|BED", help="GFF3 or GTF with genes; a BED gives classes alone.")
    ] = None,
    repeats: Annotated[Path | None, typer.Option(metavar="BED", help="Repeats, class in column 4.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="PATH", help="Folder to create.")] = None,
    bases: Annotated[int, typer.Option(metavar="N", help="Read about this many bases.", min=2)] = 5_000_000,
    shifts: Annotated[
        int, typer.Option(metavar="N", help="Random shifts that say what is expected by chance.", min=1)
    ] = 200,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Decides shifts, shuffled sequence and sampled tiles.", min=0)
    ] = 0,
) -> None:
    """Measure boundaries by annotation, codon position, repeats and words, and write a folder of tables.

    Reads what the run held out, where --model is a run on this genome; else the genome, or tiles of it, evenly spaced.
    Each number stands beside those of circularly shifted boundaries, of an untrained model, and of
    dinucleotide-shuffled sequence.

    Example: hnet-dna explain --genome yeast --model run --annotation genes.gff3 --out report
    """
    if model is None or genome is None or annotation is None or out is None:
        raise UsageError("explain needs --model, --genome, --annotation and --out, the folder to create")
    from hnet_dna.data.annotation import read_features
    from hnet_dna.data.fetch import open_genome
    from hnet_dna.data.regions import read_regions
    from hnet_dna.explain.reading import choose
    from hnet_dna.explain.report import explain as measure
    from hnet_dna.files import folder_beside, refuse_filled
    from hnet_dna.model.lm import HNetLM

    refuse_filled(out)
    opened = open_genome(genome)
    features = read_features(annotation, opened)
    regions = read_regions(repeats, opened) if repeats else []
    loaded = show.on_device(HNetLM.from_pretrained(model))
    show.say_if_windowed(loaded)
    reading = choose(opened, model, bases, seed)
    show.notes.print(f"read: {sum(map(len, reading.intervals)):,} bases, {reading.rule}")
    with folder_beside(out) as folder:
        with show.bar() as bar:
            task = bar.add_task("reading", total=1.0)
            report = measure(
                loaded,
                _untrained(loaded),
                opened,
                reading,
                features,
                regions,
                shifts=shifts,
                seed=seed,
                on_progress=lambda what, share: bar.update(task, completed=share, description=what),
            )
        about = {
            "model": show.model_name(model),
            "model_digest": loaded.digest(),
            "genome": opened.source.name,
            "annotation": annotation.name,
            "repeats": repeats.name if repeats else None,
        }
        report.summary = {**about, **report.summary}
        report.write(folder)
    for stage in report.summary["stages"]:
        show.results.print(_table(report, stage))
    left_out = sum(report.summary["coding_sequences"]["left_out"].values())
    show.results.print(
        f"{report.summary['coding_sequences']['complete']:,} complete coding sequences, {left_out:,} others left out\n"
        f"Tables and summary: {out}",
        soft_wrap=True,
    )


def _untrained(model: HNetLM) -> HNetLM:
    """Return a freshly initialised model of the same shape, the same at every call."""
    import torch

    from hnet_dna.model.lm import HNetLM

    torch.manual_seed(0)
    return show.on_device(HNetLM(model.config))


def _table(report: Report, stage: dict[str, Any]) -> Table:
    number, per_chunk = stage["stage"], stage["bases_per_chunk"]
    title = f"Stage {number}: " + (f"{per_chunk:.2f} bases per chunk" if per_chunk else "no boundary")
    table = Table(title=title)
    table.add_column("class")
    for column in ("bases", "rate %", "x overall", "95 %", "x shifted", "p", "untrained x", "shuffled x"):
        table.add_column(column, justify="right")
    rows = [(r["class"], r) for r in report.rows("classes") if r["class"] in _SHOWN and r["group"] != "repeats"]
    rows += [(f"codon position {r['codon_position']}, {r['strand']}", r) for r in report.rows("codons")]
    for name, row in rows:
        if row["stage"] != number or not row["bases"]:
            continue
        low, high = (_number(row[f"enrichment_{end}"]) for end in ("low", "high"))
        table.add_row(
            name,
            f"{row['bases']:,}",
            _number(100 * row["rate"]),
            _number(row["enrichment"]),
            "-" if low == "-" else f"{low}-{high}",
            _number(row["over_shifted"]),
            "-" if math.isnan(row["p"]) else f"{row['p']:.3f}",
            _number(row["untrained_enrichment"]),
            _number(row["shuffled_enrichment"]),
        )
    return table


def _number(content: float) -> str:
    return "-" if math.isnan(content) else f"{content:.2f}"
