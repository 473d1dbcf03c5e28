"""Finds the name by which a genome knows a contig: chr1, 1 and NC_000001.11 may be the same.

Nothing is renamed silently. The error for an unknown contig says which name would be right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import islice

from hnet_dna.errors import SequenceError
from hnet_dna.genome.assemblies import assemblies
from hnet_dna.genome.store import Contig

_SHOWN = 4


def same_contig(name: str, contigs: Sequence[Contig]) -> str | None:
    """Return the contig that `name` stands for, by known assemblies, the prefix chr, or Roman numerals, if any."""
    lengths = {contig.name: contig.length for contig in contigs}
    for assembly in assemblies():
        for known in assembly.contigs.values():
            if name in known.names:
                for other in known.names:
                    if lengths.get(other) == known.length:
                        return other
    bares = {_bare(other): other for other in reversed(lengths)}
    same = bares.get(_bare(name))
    if same is None and "I" in bares and "II" in bares:  # as the chromosomes of yeasts and worms are numbered
        same = bares.get(_roman(_bare(name)))
    return same


def _bare(name: str) -> str:
    bare = name.removeprefix("chr")
    return {"M": "MT"}.get(bare, bare)


def _roman(number: str) -> str:
    """Return 1 to 39 as Roman numerals, and anything else unchanged."""
    if not number.isdecimal() or not 0 < int(number) < 40:
        return number
    tens, ones = divmod(int(number), 10)
    return "X" * tens + ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")[ones]


def unknown_contig(name: str, contigs: Sequence[Contig], source: str, *, asked: Iterable[str] = ()) -> SequenceError:
    """Return the error for a contig that a genome lacks.

    Args:
        name: the first name that was not found.
        contigs: of the genome.
        source: the name of the genome, for the message.
        asked: all names in the file that asks, which are shown beside those of the genome.
    """
    known = [contig.name for contig in contigs]
    others = list(dict.fromkeys(asked))
    alias = same_contig(name, contigs)
    if alias is not None:
        advice = f"It is called {alias} there: use that name, or give `aliases`."
    else:
        # chr1 is not close to chrXV. A name that the asking file has as well is another contig, not a typing error.
        near = [one for one in get_close_matches(name, known, cutoff=0.75) if one not in others][:1]
        advice = f"Did you mean {near[0]}?" if near else "Is it the same assembly?"
    given = f"; given: {few(others)}" if len(others) > 1 else ""
    return SequenceError(f"{source} has no contig {name}. Its contigs: {few(known)}{given}. {advice}")


def few(names: Sequence[str]) -> str:
    """Return the first names of a list, and their number if there are more."""
    return ", ".join(islice(names, _SHOWN)) + (f" ... ({len(names):,})" if len(names) > _SHOWN else "")
