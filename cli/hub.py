"""`hnet-dna hub`: a folder of tracks that genome browsers open."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from hnet_dna.errors import UsageError
from hnet_dna.files import refuse_filled

from . import options, show
from .browser import browse
from .inputs import check_pipes


def hub(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to create.")],
    more: Annotated[
        list[Path] | None, typer.Argument(metavar="TRACK", help="More tracks, after the one that --tracks names.")
    ] = None,
    genome: options.Genome = None,
    tracks: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="TRACK", help="bigBed or bigWig file to show; more may follow it. They are shown in this order."
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="Model that made the tracks, to be described on the page of each track."),
    ] = None,
    locus: Annotated[
        str,
        typer.Option(
            metavar="REGION", help="Region shown first, such as chr2:1,001-2,000.", show_default="the middle of a track"
        ),
    ] = "",
    email: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Contact address for users of a public hub, which UCSC asks for."),
    ] = None,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve",
            help="Then serve the folder on this machine until Ctrl-C; to serve it again, give only OUT and --serve.",
        ),
    ] = False,
    aliases: options.Aliases = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a UCSC track hub, a JBrowse 2 configuration and a page with igv.js, from the same bigBed and bigWig files.

    Put the folder on a web server that answers Range requests, and give UCSC's browser the address of hub.txt, or
    JBrowse 2 that of config.json. index.html shows the tracks without either of them.

    Example: hnet-dna hub tracks --genome yeast --tracks chunks.bb boundaries.bw --serve
    """
    given = [*(tracks or ()), *(more or ())]
    if genome is not None or given:
        if genome is None or not given:
            raise UsageError("hub needs --genome and --tracks")
        check_pipes({"--genome": genome})
        shown = f", or show the hub that is there: hnet-dna hub {quote(str(out))} --serve"
        refuse_filled(out, "choose another folder" + (shown if (out / "hub.txt").is_file() else ""))
        opened = show.open_genome(genome, quiet, aliases=aliases)
        from hnet_dna.hub.write import EMAIL, write_hub

        made = write_hub(given, opened, out, model=model, locus=locus, email=email or EMAIL)
        own = f"an assembly of its own, {made.assembly}, since {made.why}"
        whose = f"UCSC's {made.assembly}" if made.of_ucsc else own
        what = f"{show.counted(len(made.tracks), 'track')} on {whose}"
        show.wrote([out], quiet, what=what, then=None if serve else f"hnet-dna hub {quote(str(out))} --serve")
    elif not serve:
        raise UsageError("hub needs --genome and --tracks, or --serve and the folder of a hub")
    if serve:
        browse(out)
