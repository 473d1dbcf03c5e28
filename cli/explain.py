"""`hnet-dna explain`: where boundaries lie, beside what shifts, an untrained model and shuffled sequence give."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from hnet_dna.errors import UsageError

from . import options, show
from .inputs import check_pipes

if TYPE_CHECKING:
    from hnet_dna.annotation.reader import Feature
    from hnet_dna.annotation.regions import Region
    from hnet_dna.explanation.reading import Reading
    from hnet_dna.explanation.report import Report
    from hnet_dna.genome.genome import Genome
    from hnet_dna.model.lm import HNetLM

# Classes that the printed table shows where they exist; classes.tsv has all.
_SHOWN = ("all", "CDS", "exon", "intron", "five_prime_UTR", "three_prime_UTR", "UTR", "five_prime_utr",
          "three_prime_utr", "intergenic", "promoter window", "soft-masked", "homopolymer",
          "microsatellite", "tandem repeat")  # fmt: skip


def explain(
    report_folder: Annotated[
        Path | None, typer.Argument(metavar="REPORT", help="With --open alone: a report to show.")
    ] = None,
    genome: options.Genome = None,
    model: options.Model = options.BUILT_IN,
    annotation: Annotated[
        Path | None,
        typer.Option(metavar="ANNOTATION", help="GFF3, GTF or GenBank with genes; a BED gives classes alone."),
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
    page: Annotated[bool, typer.Option("--page/--no-page", help="Write index.html too; it needs matplotlib.")] = True,
    open_: Annotated[bool, typer.Option("--open", help="Show the report in a web browser, until Ctrl-C.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure boundaries and bits by annotation, codon position, repeats and words; write tables and a page.

    Reads what the run held out, where --model is a run on this genome; else the genome, or tiles of it, evenly spaced.
    Each number stands beside those of circularly shifted boundaries, of an untrained model, and of
    dinucleotide-shuffled sequence. Samples are read again with random edits and single variants, beside k-mers.

    Example: hnet-dna explain --genome yeast --model run --annotation genes.gff3 --out report

    Example: hnet-dna explain --open report
    """
    if report_folder is not None:
        if not open_ or model != options.BUILT_IN or any(o is not None for o in (genome, annotation, repeats, out)):
            raise UsageError(f"to show {report_folder}: hnet-dna explain --open {report_folder}, and nothing else")
        _show(report_folder)
        return
    if genome is None or annotation is None or out is None:
        needed = {"--genome": genome, "--annotation": annotation, "--out, the folder to create": out}
        missing = " and ".join(option for option, given in needed.items() if given is None)
        raise UsageError(f"explain needs {missing}" + ("; or --open the folder of a report alone" if open_ else ""))
    if open_ and not page:
        raise UsageError("--open shows the page; leave out --no-page")
    if page:
        from hnet_dna.explanation.drawing import need_matplotlib

        need_matplotlib(", or give --no-page for tables alone")
    check_pipes({"--genome": genome, "--annotation": annotation, "--repeats": repeats})
    from hnet_dna.annotation.feature import GENES
    from hnet_dna.annotation.reader import read_features
    from hnet_dna.annotation.regions import read_regions
    from hnet_dna.explanation.reading import choose
    from hnet_dna.explanation.report import explain as measure
    from hnet_dna.files import folder_beside, refuse_filled

    refuse_filled(out)
    opened = show.open_genome(genome, quiet)
    features = read_features(annotation, opened)
    if not any(feature.kind in (*GENES, "CDS", "exon", "transcript") for feature in features):
        show.notes.print(
            f"{annotation.name}: classes of bases alone; without genes, tables of codons, sites and edges are empty"
        )
    regions = read_regions(repeats, opened) if repeats else []
    loaded = show.load_model(model)
    show.say_if_windowed(loaded)
    reading = choose(opened, model, bases, seed)
    show.notes.print(f"read: {sum(map(len, reading.intervals)):,} bases, {reading.rule}")
    with folder_beside(out) as folder:
        with show.Progress("explaining", quiet=quiet) as progress:
            report = measure(
                loaded,
                _untrained(loaded),
                opened,
                reading,
                features,
                regions,
                shifts=shifts,
                seed=seed,
                on_progress=progress.part,
            )
        about = {
            "model": model.as_posix(),  # as given: a report may be published, and the digest tells which it is
            "model_digest": loaded.digest(),
            "genome": opened.source.name,
            "annotation": annotation.name,
            "repeats": repeats.name if repeats else None,
        }
        report.summary = {**about, **report.summary}
        report.write(folder)
        if page:
            show.notes.print("drawing the page")
            _write_page(folder, loaded, opened, features, regions, reading)
    for stage in report.summary["stages"]:
        show.results.print(_table(report, stage))
        show.results.print(_kept(report, stage["stage"]))
    if derived := report.summary["genes"]["derived"]:
        show.results.print(f"{derived:,} genes derived from transcripts: the annotation has no lines for genes")
    left_out = sum(report.summary["coding_sequences"]["left_out"].values())
    show.results.print(
        f"{report.summary['coding_sequences']['complete']:,} complete coding sequences in the annotation, "
        f"{left_out:,} others left out\n"
        f"Tables and summary: {out}" + (f"; to read: {out / 'index.html'}" if page else ""),
        soft_wrap=True,
    )
    if open_:
        _show(out)


def _write_page(
    folder: Path,
    model: HNetLM,
    genome: Genome,
    features: list[Feature],
    repeats: list[Region],
    reading: Reading,
) -> None:
    from hnet_dna.explanation.browser import read_shown
    from hnet_dna.explanation.locus import typical
    from hnet_dna.explanation.page import interesting, write_page

    examples = typical(interesting(folder), features, repeats, genome, reading.intervals)
    write_page(folder, read_shown(model, genome, features, examples))


def _show(report: Path) -> None:
    """Serve a report on the loopback and open it, until the user has had enough."""
    import threading
    import webbrowser
    from contextlib import suppress

    from hnet_dna.explanation.serve import serve

    if not (report / "index.html").is_file():
        raise UsageError(f"{report}: no report with a page; expected a folder written by 'hnet-dna explain --out'")
    with serve(report) as address, suppress(KeyboardInterrupt):  # also while the browser opens
        show.notes.print(f"{address}  (Ctrl-C ends)")
        webbrowser.open(address)
        threading.Event().wait()


def _untrained(model: HNetLM) -> HNetLM:
    """Return a freshly initialised model of the same shape, the same at every call."""
    import torch

    from hnet_dna.inference.load import load_model
    from hnet_dna.model.lm import HNetLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = HNetLM(model.config)
    return load_model(fresh)


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


def _kept(report: Report, stage: int) -> Table:
    """Build the table of boundaries kept under edits: at a rate of 1 %, and within 64 bases after a single one."""
    shown = [(kind, rate) for rate in (0.01, "single") for kind in ("substitution", "insertion", "deletion")]
    rows = {
        (r["segmentation"], r["edit"], r["rate"]): r["kept"]
        for r in report.rows("robustness")
        if r["stage"] == stage and (math.isnan(r["within"]) or r["within"] == 64)
    }
    table = Table(title=f"Stage {stage}: % of boundaries kept")
    table.add_column("")
    for kind, rate in shown:
        table.add_column(f"{kind} {rate}" if rate == "single" else f"{kind}s {rate:.0%}", justify="right")
    for name in dict.fromkeys(name for name, _, _ in rows):
        table.add_row(name, *(_number(100 * rows[name, kind, rate]) for kind, rate in shown))
    return table


def _number(content: float) -> str:
    return "-" if math.isnan(content) else f"{content:.2f}"
