"""The genome browser inside a page: igv.js, with the slices of genome and tracks that it shows as data of the page.

igv.js is the file of its npm package, byte for byte; `vendor/igv.toml` names the version.
"""

from __future__ import annotations

import base64
import gzip
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnet_dna.annotation.reader import Feature
from hnet_dna.explanation.figures.drawing import BLUE, GREY, ORANGE, PALE
from hnet_dna.explanation.statistics.locus import Locus, around, read_locus
from hnet_dna.genome.genome import Genome
from hnet_dna.inference.mutate import Mutations, mutate
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.codes import to_text
from hnet_dna.sequence.interval import Interval, intersection, union

_VIEW = 300  # bases in view at first


@dataclass(frozen=True)
class Shown:
    """An example that the reader of the page can choose.

    Attributes:
        name: of its class.
        middle: where it lies.
        locus: the example and its surroundings; examples near each other share theirs.
        mutations: of the bases in view at first, if they were asked for.
    """

    name: str
    middle: Interval
    locus: Locus
    mutations: Mutations | None = None


def read_shown(
    model: HNetLM,
    genome: Genome,
    features: Sequence[Feature],
    examples: Mapping[str, Interval],
    *,
    mutations: bool = False,
) -> list[Shown]:
    """Read examples, given by name, with their surroundings; each base is read once.

    With `mutations`, every base in view at first is also replaced by each of the three others.
    """
    loci = [read_locus(model, genome, i, features) for i in union(around(m, genome) for m in examples.values())]
    shown = []
    for name, middle in examples.items():
        first = Interval(middle.contig, middle.start, middle.start + 1)
        (locus,) = (one for one in loci if intersection([first], [one.interval]))
        effects = next(mutate(_in_view(middle, locus), genome, model), None) if mutations else None
        shown.append(Shown(name, middle, locus, effects))
    return shown


def igv() -> tuple[str, str]:
    """Return the script of igv.js, and its licence."""
    folder = files("hnet_dna.explanation.page") / "vendor"
    manifest = tomllib.loads((folder / "igv.toml").read_text())
    return (folder / "igv.min.js").read_text(), (folder / manifest["license_file"]).read_text()


def options(shown: Sequence[Shown], genome: str) -> dict[str, Any]:
    """Return the options of `igv.createBrowser`: reference and tracks of all loci, as data URLs."""
    loci = list({one.locus.interval: one.locus for one in shown}.values())
    stages = range(len(loci[0].stages))
    tracks = [
        _track("genes", "bed", _genes(loci), color=ORANGE, displayMode="EXPANDED", height=50, searchable=True),
        _track("other features", "bed", _others(loci), color=GREY, displayMode="EXPANDED", height=50),
    ]
    tracks += [
        _track(f"chunks, stage {s}", "bed", _chunks(loci, s), displayMode="COLLAPSED", height=45) for s in stages
    ]
    tracks += [
        _track(
            f"boundary probability, stage {s}",
            "wig",
            _wiggle((locus.interval, locus.stages[s].prob) for locus in loci),
            min=0,
            max=1,
            autoscale=False,
            height=90,
            color=BLUE,
        )
        for s in stages
    ]
    bits = _wiggle((locus.interval, locus.bits) for locus in loci)
    tracks.append(_track("bits per base", "wig", bits, min=0, autoscale=True, height=90, color="#444444"))
    effects = {one.mutations.interval: one.mutations.effect for one in shown if one.mutations is not None}
    if effects:
        values = _wiggle(_apart(effects))
        tracks.append(_track("mean effect of mutations", "wig", values, autoscale=True, height=90, color=ORANGE))
    return {
        "reference": {"id": genome, "fastaURL": _data(_fasta(loci)), "indexed": False},
        "locus": view(shown[0]),
        "tracks": tracks,
        "loadDefaultGenomes": False,
        "showAllChromosomes": False,
        "showChromosomeWidget": False,
        "showCursorGuide": True,
    }


def view(one: Shown) -> str:
    """Return the region in view at first: all of an example if it is short, else its beginning."""
    return str(_in_view(one.middle, one.locus)).replace(",", "")


def _in_view(middle: Interval, locus: Locus) -> Interval:
    around = locus.interval
    start = middle.start - max(_VIEW - len(middle), _VIEW // 3) // 2
    start = max(min(start, around.end - _VIEW), around.start)
    return Interval(around.contig, start, min(start + _VIEW, around.end))


def _apart(effects: Mapping[Interval, NDArray[np.float64]]) -> Iterator[tuple[Interval, NDArray[np.float64]]]:
    """Yield values in order, each base once, where views overlap."""
    reached = Interval("", 0, 0)
    for interval, values in sorted(effects.items(), key=lambda item: item[0]):
        start = max(interval.start, reached.end) if interval.contig == reached.contig else interval.start
        if start < interval.end:
            reached = Interval(interval.contig, start, interval.end)
            yield reached, values[start - interval.start :]


def _track(name: str, form: str, text: str, **more: Any) -> dict[str, Any]:
    kind = "wig" if form == "wig" else "annotation"
    return {"name": name, "type": kind, "format": form, "url": _data(text), **more}


def _data(text: str) -> str:
    packed = gzip.compress(text.encode(), mtime=0)
    return "data:application/gzip;base64," + base64.b64encode(packed).decode()


def _fasta(loci: Sequence[Locus]) -> str:
    """Write slices as igv.js reads them: named contig:first-last (1-based), with the length of the contig."""
    return "".join(
        f">{locus.interval.contig}:{locus.interval.start + 1}-{locus.interval.end} @len={locus.length}\n"
        f"{to_text(locus.codes)}\n"
        for locus in loci
    )


def _genes(loci: Sequence[Locus]) -> str:
    lines = dict.fromkeys((gene.interval, gene.name or "gene", gene.strand) for one in loci for gene in one.genes)
    return "".join(f"{i.contig}\t{i.start}\t{i.end}\t{_word(name)}\t0\t{s}\n" for i, name, s in sorted(lines))


def _others(loci: Sequence[Locus]) -> str:
    lines = dict.fromkeys(
        (part, kind)
        for one in loci
        for kind, parts in one.others.items()
        for part in intersection(parts, [one.interval])
    )
    return "".join(f"{i.contig}\t{i.start}\t{i.end}\t{_word(kind)}\n" for i, kind in sorted(lines))


def _word(name: str) -> str:
    """Join the words of a name by underscores, since igv.js splits BED at blanks too."""
    return "_".join(name.split())


def _chunks(loci: Sequence[Locus], stage: int) -> str:
    """Write chunks as BED9, alternately dark and light, named by their length."""
    colours = [",".join(str(int(c[i : i + 2], 16)) for i in (1, 3, 5)) for c in (BLUE, PALE)]
    lines = []
    for locus in loci:
        track, contig = locus.stages[stage], locus.interval.contig
        for turn, (start, end) in enumerate(zip(track.start.tolist(), track.end.tolist(), strict=True)):
            lines.append(f"{contig}\t{start}\t{end}\t{end - start}bp\t0\t+\t{start}\t{end}\t{colours[turn % 2]}\n")
    return "".join(lines)


def _wiggle(values: Iterable[tuple[Interval, NDArray[np.floating[Any]]]]) -> str:
    lines = []
    for interval, track in values:
        lines.append(f"variableStep chrom={interval.contig} span=1\n")
        known = np.flatnonzero(~np.isnan(track))
        lines += [
            f"{position} {value:.3f}\n"
            for position, value in zip((known + interval.start + 1).tolist(), track[known].tolist(), strict=True)
        ]
    return "".join(lines)
