"""`hnet-dna explain`: where boundaries lie, beside what shifts, an untrained model and shuffled sequence give."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from hnet_dna.errors import UsageError
from hnet_dna.files import refuse_filled

from . import options, show
from .browser import browse
from .explained import print_report
from .inputs import check_pipes


def explain(
    report_folder: Annotated[
        Path | None, typer.Argument(metavar="REPORT", help="Report to show; give it only with --open.")
    ] = None,
    genome: options.Genome = None,
    model: options.Model = options.BUILT_IN,
    device: options.Device = None,
    precision: options.InPrecision = "fp32",
    annotation: Annotated[
        Path | None,
        typer.Option(
            metavar="ANNOTATION",
            help="GFF3, GTF or GenBank with genes; or BED, which has only classes of bases and no genes.",
        ),
    ] = None,
    repeats: Annotated[
        Path | None, typer.Option(metavar="BED", help="Repeats, with the class of each in column 4.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="PATH", help="Folder to create.")] = None,
    bases: Annotated[int, typer.Option(metavar="N", help="Read about this many bases at most.", min=2)] = 5_000_000,
    shifts: Annotated[
        int, typer.Option(metavar="N", help="Number of random shifts of the boundaries, as a control.", min=1)
    ] = 200,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Seed of shifts, shuffled sequence, sampled tiles and edits.", min=0)
    ] = 0,
    page: Annotated[
        bool, typer.Option("--page/--no-page", help="Also write index.html, which needs matplotlib.")
    ] = True,
    mutations: Annotated[
        bool,
        typer.Option(
            "--mutations", help="On the page, also show the mean effect of every substitution in the example loci."
        ),
    ] = False,
    open_: Annotated[bool, typer.Option("--open", help="Show the report in a web browser, until Ctrl-C.")] = False,
    aliases: options.Aliases = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure boundaries and bits by annotation, codon position, repeats and 6-mers; write tables and an HTML page.

    If --model is a run on this genome, the part that it held out is read; otherwise the whole genome, or evenly spaced
    tiles of it. Controls are circularly shifted boundaries, an untrained model, and dinucleotide-shuffled sequence. To
    measure robustness, sampled windows are read again with random edits and single variants, beside k-mers.

    Example: hnet-dna explain --genome yeast --model run --annotation genes.gff3 --out report

    Example: hnet-dna explain --open report
    """
    if report_folder is not None:
        if not open_ or model != options.BUILT_IN or any(o is not None for o in (genome, annotation, repeats, out)):
            raise UsageError(f"to show {report_folder}: hnet-dna explain --open {report_folder}, and nothing else")
        browse(report_folder, open_=True)
        return
    if genome is None or annotation is None or out is None:
        needed = {"--genome": genome, "--annotation": annotation, "--out, the folder to create": out}
        missing = " and ".join(option for option, given in needed.items() if given is None)
        raise UsageError(f"explain needs {missing}" + ("; or only --open and the folder of a report" if open_ else ""))
    if mutations and not page:
        raise UsageError("--mutations shows loci on the page; leave out --no-page")
    if open_ and not page:
        raise UsageError("--open shows the page; leave out --no-page")
    check_pipes({"--genome": genome, "--annotation": annotation, "--repeats": repeats})
    refuse_filled(out)
    from hnet_dna.explanation.report import explain as measure

    opened, loaded = show.open_genome(genome, quiet, aliases=aliases), show.load_model(model, device, precision)
    with show.Reports(quiet=quiet) as reports:
        report = measure(
            opened,
            loaded,
            out,
            annotation=annotation,
            repeats=repeats,
            bases=bases,
            shifts=shifts,
            seed=seed,
            page=page,
            mutations=mutations,
            on_progress=reports,
        )
    print_report(report)
    then = f"hnet-dna explain --open {quote(str(out))}" if page and not open_ else None
    what = "tables and summary.json" + (f"; to read: {out / 'index.html'}" if page else "")
    show.wrote([out], quiet, what=what, then=then)
    if open_:
        browse(out, open_=True)
