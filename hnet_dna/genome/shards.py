"""Divides a genome among separate jobs: shards of whole contigs, in file order, of about equal length."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hnet_dna.errors import UsageError
from hnet_dna.genome.store import Contig


def shard(contigs: Sequence[Contig], which: str) -> list[Contig]:
    """Return the contigs of shard I of N, written I/N, counted from 1.

    The longest shard is as short as whole contigs in file order allow. Shards laid end to end are the genome, and
    none is empty.

    Raises:
        UsageError: `which` has another form, or there are more shards than contigs.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", which)
    index, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= index <= count:
        raise UsageError(f"`shard` {which}: expected I/N with I from 1 to N, such as 2/8")
    if count > len(contigs):
        raise UsageError(f"`shard` {which}: there are fewer contigs than shards, {len(contigs):,}")
    lengths = [contig.length for contig in contigs]
    low, high = max(lengths), sum(lengths)
    while low < high:  # the shortest limit with which `count` shards suffice
        middle = (low + high) // 2
        low, high = (low, middle) if len(_starts(lengths, middle, 1)) <= count else (middle + 1, high)
    starts = [*_starts(lengths, low, count), len(contigs)]
    return list(contigs[starts[index - 1] : starts[index]])


def _starts(lengths: Sequence[int], limit: int, least: int) -> list[int]:
    """Fill at least `least` shards up to a limit, one after the other; return where each begins."""
    starts, filled = [0], lengths[0]
    for place, length in enumerate(lengths[1:], start=1):
        if filled + length > limit or len(lengths) - place == least - len(starts):
            starts.append(place)
            filled = 0
        filled += length
    return starts
