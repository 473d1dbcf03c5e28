"""Writes a folder that UCSC's Genome Browser, JBrowse 2 and igv.js open; any server of Range requests serves it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hnet_dna.annotation.regions import parse_region
from hnet_dna.errors import UsageError
from hnet_dna.explanation.figures.drawing import BLUE, GREEN, GREY, ORANGE
from hnet_dna.explanation.page.browser import igv
from hnet_dna.files import folder_beside, refuse_filled
from hnet_dna.genome.assemblies import recognise
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import GenomeLike, open_genome
from hnet_dna.hub.tracks import HubTrack, Kind, read_tracks
from hnet_dna.hub.twobit import write_twobit
from hnet_dna.inference.load import load_model
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval

EMAIL = "nobody@example.org"
_ALIASES = "chromAlias.txt"
_VIEW = 400  # bases that are shown first
_COLOUR: dict[Kind, str] = {
    "chunks": BLUE, "features": GREY, "probability": BLUE, "log2p": GREEN, "values": GREY, "windows": ORANGE,
}  # fmt: skip
_RGB = ",".join(str(int(BLUE[i : i + 2], 16)) for i in (1, 3, 5))
_BY_SCORE = f"jexl:'rgba({_RGB},' + (0.2 + 0.8 * get(feature, 'score') / 1000) + ')'"  # as igv.js does
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,"><title>{title}</title></head>
<body>
{body}
</body></html>
"""
_BROWSER = """<h1>{title}</h1>
<div id="browser"></div>
<p>The tracks of this folder in igv.js. <code>hub.txt</code> opens them in the UCSC Genome Browser, and
<code>config.json</code> in JBrowse 2.</p>
<ul>{pages}</ul>
<script src="igv.min.js"></script>
<script>
const options = {options};
window.ready = igv.createBrowser(document.getElementById("browser"), options);
</script>"""


@dataclass(frozen=True)
class Hub:
    """A folder of tracks.

    Attributes:
        folder: what was written.
        assembly: by which browsers know the genome.
        of_ucsc: whether UCSC has this genome, so that the hub only adds tracks to it.
        tracks: names of the tracks, in order.
        why: the genome is an assembly of its own; empty if UCSC has it.
    """

    folder: Path
    assembly: str
    of_ucsc: bool
    tracks: tuple[str, ...]
    why: str


def write_hub(
    tracks: Sequence[str | Path],
    genome: GenomeLike,
    out: str | Path,
    *,
    model: str | Path | HNetLM | None = None,
    locus: str = "",
    email: str = EMAIL,
) -> Hub:
    """Write a UCSC track hub, a JBrowse 2 configuration and a page with igv.js of the same files.

    The folder holds the tracks (as hard links where the file system allows), the genome as .2bit, and a page per track.
    A genome that UCSC has (hg38, mm39, sacCer3 and others) is known by UCSC's name; any other becomes an assembly hub.
    Where tracks call contigs by other names than the genome, which `open_genome(..., aliases=True)` allows, a table of
    the names lies beside the genome.

    Args:
        tracks: bigBed and bigWig files of this genome, in the order in which they are to be shown.
        genome: anything that `open_genome` takes.
        out: a folder, which must be new or empty.
        model: which made them, for the pages; anything that `load_model` takes.
        locus: what is shown first, as `chr2:1,001-2,000`; the middle of a contig where empty.
        email: whom the users of a public hub may ask; UCSC wants one.

    Raises:
        SequenceError: a track that is neither bigBed nor bigWig, or of another genome.
        UsageError: no tracks, or `out` holds anything.
    """
    place = Path(out)
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
        raise UsageError(f"`email` {email}: expected an address")
    refuse_filled(place)
    opened = open_genome(genome)
    asked = parse_region(locus, opened) if locus else None
    described = read_tracks([Path(track) for track in tracks], opened)
    made_by = "" if model is None else _model_text(model)
    assembly, why = _assembly(opened, described)
    of_ucsc = not why
    with folder_beside(place) as folder:
        data = folder / assembly
        data.mkdir()
        write_twobit(opened, data / f"{assembly}.2bit")
        for track in described:
            _place(track.path, data / _file(track))
            (data / f"{track.name}.html").write_text(_page_of(track, made_by))
        title = f"hnet-dna: {opened.source.name}"
        shown = _middle(opened, described) if asked is None else asked
        locus = f"{shown.contig}:{shown.start + 1}-{shown.end}"
        description = _PAGE.format(title=escape(title), body=_hub_text(described, made_by))
        others = _other_names(opened, described)
        texts = {
            "hub.txt": _stanza(
                {
                    "hub": "hnet_dna",
                    "shortLabel": "hnet-dna",
                    "longLabel": "Chunks, boundaries and bits per base of an H-Net on DNA",
                    "genomesFile": "genomes.txt",
                    "email": email,
                    "descriptionUrl": "hub.html",
                }
            ),
            "hub.html": description,
            "genomes.txt": _stanza(_genome_stanza(opened, assembly, of_ucsc, locus, bool(others))),
            f"{assembly}/trackDb.txt": "\n".join(map(_stanza, _track_stanzas(described))),
            "config.json": json.dumps(_jbrowse(assembly, described, locus, bool(others)), indent=1) + "\n",
            "igv.min.js": igv()[0],
            "LICENSE.igv": igv()[1],
            "index.html": _PAGE.format(
                title=escape(title), body=_browser(title, assembly, described, locus, bool(others))
            ),
        }
        if others:
            texts[f"{assembly}/{_ALIASES}"] = others
        for name, text in texts.items():
            (folder / name).write_text(text)
    return Hub(place, assembly, of_ucsc, tuple(track.name for track in described), why)


def _assembly(genome: Genome, tracks: Sequence[HubTrack]) -> tuple[str, str]:
    """Return UCSC's name of the genome if it is one of UCSC's, else a name made from that of the file, and why."""
    known = recognise(genome.contigs)
    names = {name for track in tracks for name in track.contigs}
    if known is None:
        why = "its contigs are not those of an assembly that hnet-dna knows to be UCSC's"
    elif "ucsc.edu" not in known.assembly.url:
        why = f"it is {known.assembly.name}, which is not one of UCSC's assemblies"
    elif other := next((name for name in sorted(names) if not name.startswith("chr")), None):
        why = f"it is {known.assembly.name}, but the tracks call a contig {other}, as UCSC does not"
    else:
        return known.assembly.name, ""
    stem = re.sub(r"\.(fa|fasta|fna|2bit)$", "", re.sub(r"\.(gz|bgz)$", "", genome.source.name))
    return re.sub(r"\W", "_", stem, flags=re.ASCII) or "genome", why


def _file(track: HubTrack) -> str:
    return f"{track.name}.{'bb' if track.is_bigbed else 'bw'}"


def _place(source: Path, target: Path) -> None:
    """Link a file, or copy it where that cannot be: on another disk, or one without links."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _middle(genome: Genome, tracks: Sequence[HubTrack]) -> Interval:
    """Return the middle of the first contig that has a track, or of the first with values where there is a bigWig."""
    covered = {genome.find(name): name for track in tracks for name in track.contigs}
    places = {contig.name: contig.length // 2 for contig in genome.contigs if contig.name in covered}
    values = next((track for track in tracks if not track.is_bigbed), None)
    name, middle = next(iter(places.items()))
    if values is not None:
        name, middle = next(
            ((one, place) for one in places if (place := values.middle_of_values(covered[one])) is not None),
            (name, middle),
        )
    contig = genome[name]
    for start, end in contig.n_runs:
        if start <= middle < end:
            middle = end if end < contig.length else start
    start = max(0, min(middle, contig.length - _VIEW))
    return Interval(contig.name, start, min(start + _VIEW, contig.length))


def _other_names(genome: Genome, tracks: Sequence[HubTrack]) -> str:
    """Return the table of the names that tracks have for contigs, as browsers read it; empty if there are none."""
    others = {name: genome.find(name) for track in tracks for name in track.contigs if name not in genome}
    names = {contig.name: [other for other, own in others.items() if own == contig.name] for contig in genome.contigs}
    most = max(map(len, names.values()))
    heads = ["# genome", *(f"tracks{number or ''}" for number in range(most))]
    rows = [heads, *([name, *other, *[""] * (most - len(other))] for name, other in names.items())]
    return "".join("\t".join(row) + "\n" for row in rows) if others else ""


def _stanza(settings: Mapping[str, str]) -> str:
    return "".join(f"{key} {value}\n" for key, value in settings.items())


def _genome_stanza(genome: Genome, assembly: str, of_ucsc: bool, locus: str, aliases: bool) -> dict[str, str]:
    stanza = {"genome": assembly, "trackDb": f"{assembly}/trackDb.txt"}
    if not of_ucsc:
        stanza |= {
            "twoBitPath": f"{assembly}/{assembly}.2bit",
            "organism": genome.source.name,
            "description": genome.source.name,
            "scientificName": genome.source.name,
            "orderKey": "1",
        }
    if aliases:
        stanza["chromAlias"] = f"{assembly}/{_ALIASES}"
    return stanza | {"defaultPos": locus}


def _track_stanzas(tracks: Sequence[HubTrack]) -> list[dict[str, str]]:
    parent = {"track": "hnet_dna", "superTrack": "on show", "shortLabel": "hnet-dna"}
    stanzas = [parent | {"longLabel": "Chunks, boundaries and bits per base of an H-Net on DNA"}]
    for track in tracks:
        stanza = {"track": f"hnet_dna_{track.name}", "parent": "hnet_dna", "bigDataUrl": _file(track)}
        stanza |= {
            "shortLabel": track.name[:17],
            "longLabel": f"{track.path.name}: {track.what}"[:80],
            "html": track.name,
        }
        if track.is_bigbed:
            more = track.columns - track.of_bed
            stanza |= {"type": f"bigBed {track.of_bed} {'+' if more else '.'}", "visibility": "dense"}
            if track.kind == "chunks":
                stanza |= {"spectrum": "on", "scoreMin": "0", "scoreMax": "1000", "labelFields": "name"}
                stanza |= {"maxItems": "100000", "maxWindowToDraw": "100000"}
        else:
            low, high, auto = _range(track)
            stanza |= {"type": f"bigWig {track.low:g} {track.high:g}", "visibility": "full"}
            stanza |= {"maxHeightPixels": "128:48:16", "windowingFunction": "mean"}
            stanza |= {"autoScale": "on" if auto else "off", "viewLimits": f"{low:g}:{high:g}"}
        stanzas.append(stanza | {"color": ",".join(str(int(_COLOUR[track.kind][i : i + 2], 16)) for i in (1, 3, 5))})
    return stanzas


def _range(track: HubTrack) -> tuple[float, float, bool]:
    """Return the range of the y axis, and whether it should follow what is in view."""
    if track.kind == "probability":
        return 0, 1, False
    if track.kind == "log2p":
        return -4, 0, False
    return min(track.low, 0), track.high if track.high > min(track.low, 0) else min(track.low, 0) + 1, True


def _jbrowse(assembly: str, tracks: Sequence[HubTrack], locus: str, aliases: bool) -> dict[str, Any]:
    def place(name: str) -> dict[str, str]:
        return {"uri": f"{assembly}/{name}", "locationType": "UriLocation"}

    shown = []
    for track in tracks:
        one: dict[str, Any] = {"trackId": track.name, "name": track.path.name, "assemblyNames": [assembly]}
        one["description"] = track.what
        if track.is_bigbed:
            one |= {"type": "FeatureTrack", "adapter": {"type": "BigBedAdapter", "bigBedLocation": place(_file(track))}}
            drawn: dict[str, Any] = {"type": "SvgFeatureRenderer", "color1": _COLOUR[track.kind], "outline": "white"}
            if track.kind == "chunks":  # one after the other in a row, and too short for their names
                drawn |= {"displayMode": "collapse", "showLabels": False, "color1": _BY_SCORE}
            display = {"type": "LinearBasicDisplay", "displayId": f"{track.name}-display", "height": 50}
            one["displays"] = [display | {"renderer": drawn}]
        else:
            low, high, auto = _range(track)
            display = {"type": "LinearWiggleDisplay", "displayId": f"{track.name}-display"}
            limits: dict[str, Any] = {} if auto else {"minScore": low, "maxScore": high}
            limits["renderers"] = {"XYPlotRenderer": {"type": "XYPlotRenderer", "color": _COLOUR[track.kind]}}
            adapter = {"type": "BigWigAdapter", "bigWigLocation": place(_file(track))}
            one |= {"type": "QuantitativeTrack", "adapter": adapter, "displays": [display | limits]}
        shown.append(one)
    sequence = {
        "type": "ReferenceSequenceTrack",
        "trackId": f"{assembly}-sequence",
        "adapter": {"type": "TwoBitAdapter", "twoBitLocation": place(f"{assembly}.2bit")},
    }
    view = {
        "type": "LinearGenomeView",
        "init": {"assembly": assembly, "loc": locus, "tracks": [track.name for track in tracks]},
    }
    known: dict[str, Any] = {"name": assembly, "sequence": sequence}
    if aliases:
        known["refNameAliases"] = {"adapter": {"type": "RefNameAliasAdapter", "location": place(_ALIASES)}}
    return {
        "assemblies": [known],
        "tracks": shown,
        "defaultSession": {"name": "hnet-dna", "views": [view]},
    }


def _browser(title: str, assembly: str, tracks: Sequence[HubTrack], locus: str, aliases: bool) -> str:
    shown: list[dict[str, Any]] = []
    for track in tracks:
        one: dict[str, Any] = {
            "name": track.path.name,
            "url": f"{assembly}/{_file(track)}",
            "color": _COLOUR[track.kind],
        }
        if track.is_bigbed:
            one |= {"type": "annotation", "format": "bigbed", "displayMode": "EXPANDED", "height": 60}
            one |= {"useScore": True} if track.kind == "chunks" else {}
        else:
            low, high, auto = _range(track)
            one |= {"type": "wig", "format": "bigwig", "autoscale": auto, "min": low, "height": 100}
            one |= {} if auto else {"max": high}
        shown.append(one)
    reference = {"id": assembly, "name": assembly, "twoBitURL": f"{assembly}/{assembly}.2bit"}
    if aliases:
        reference["aliasURL"] = f"{assembly}/{_ALIASES}"
    options = {
        "reference": reference,
        "locus": locus,
        "tracks": shown,
        "loadDefaultGenomes": False,
    }
    pages = "".join(
        f'<li><a href="{assembly}/{track.name}.html">{escape(track.path.name)}</a>: {escape(track.what)}</li>'
        for track in tracks
    )
    text = json.dumps(options).replace("</", "<\\/")
    return _BROWSER.format(title=escape(title), options=text, pages=pages)


_ABOUT: dict[Kind, str] = {
    "chunks": "Each item is a chunk that an H-Net has learned to cut: the bases between two boundaries. Chunks of a "
    "strand tile each contig except for its runs of N. The score is 1000 x the probability of a boundary at the first "
    "base of the chunk, and the column <i>probability</i> has it with 6 digits. The first base of a contig, and after "
    "a run of N, begins a chunk by definition (score 1000); leave these out of statistics.",
    "features": "This bigBed file was not written by hnet-dna's <code>segment</code>.",
    "probability": "The probability, 0 to 1, with which the model begins a chunk at each base. It is read along one "
    "strand and depends only on the bases before.",
    "log2p": "log2 of the probability that the model gives to each base. Minus the mean is bits per base, which is 2 "
    "for a model that knows nothing. Bases other than A, C, G and T have no value.",
    "values": "This bigWig file holds neither probabilities nor log2 p.",
    "windows": "<code>segment --summary</code> writes the chunks that begin in a window, per kilobase that was read; "
    "<code>score --summary</code> writes mean bits per base. Bases that were not read count for neither.",
}


def _page_of(track: HubTrack, made_by: str) -> str:
    about = f"<p>{escape(track.what)}.</p>\n<p>{_ABOUT[track.kind]}</p>"
    body = f"<h2>{escape(track.path.name)}</h2>\n{about}\n{_made_by(made_by)}"
    return _PAGE.format(title=escape(track.path.name), body=body)


def _hub_text(tracks: Sequence[HubTrack], made_by: str) -> str:
    items = "".join(f"<li>{escape(track.path.name)}: {escape(track.what)}</li>" for track in tracks)
    return f"<h2>hnet-dna</h2>\n<ul>{items}</ul>\n{_made_by(made_by)}"


def _made_by(text: str) -> str:
    method = (
        "The method is from Hwang, Wang and Gu, <i>Dynamic Chunking for End-to-End Hierarchical Sequence Modeling</i>"
    )
    model = text or "<p>The model that made the tracks was not named.</p>"
    return f"{model}\n<p>{method} (arXiv 2507.07955). Written by hnet-dna {version('hnet-dna')}.</p>"


def _model_text(model: str | Path | HNetLM) -> str:
    loaded = load_model(model)
    name = "" if isinstance(model, HNetLM) else f" <b>{escape(Path(model).name)}</b>"
    count = sum(parameter.numel() for parameter in loaded.parameters())
    layout = escape(json.dumps(loaded.config.to_dict()["arch_layout"]))
    return (
        f"<p>Made by the model{name}: layout <code>{layout}</code>, {count:,} parameters, SHA-256 of configuration and "
        f"weights <code>{loaded.digest()}</code>.</p>"
    )
