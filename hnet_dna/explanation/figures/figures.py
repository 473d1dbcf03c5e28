"""The figures of a report, each drawn from one of its tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from hnet_dna.explanation.figures import edits, forest, lines, sequence
from hnet_dna.explanation.figures.drawing import Figure
from hnet_dna.explanation.statistics.tables import Table

_Draw: TypeAlias = Callable[[Table, Mapping[str, Table]], Iterator[Figure]]
_DRAWN: dict[str, _Draw] = {
    "classes": forest.rates,
    "codons": forest.rates,
    "profiles": lines.profiles,
    "edges": lines.edges,
    "bits": forest.bits,
    "bits_profiles": lines.bits_profiles,
    "robustness": edits.robustness,
    "chunks": sequence.chunks,
    "strands": lines.strands,
    "kmers": sequence.kmers,
    "logo": sequence.logo,
}


def figures(tables: Mapping[str, Table]) -> Iterator[Figure]:
    """Draw each table that has a figure; tables that are absent or empty have none."""
    for name, draw in _DRAWN.items():
        if name in tables and tables[name].rows:
            yield from draw(tables[name], tables)
