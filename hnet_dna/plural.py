"""How a number and what it counts are written."""

from __future__ import annotations


def counted(number: float, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: `1 contig`, `1,200 contigs`, `1.5 minutes`.

    `plural` is needed where it is not the noun and an s. The noun may have words before it (`held-out base`), but none
    after it.
    """
    written = f"{number:g}" if isinstance(number, float) else f"{number:,}"
    return f"{written} {noun if number == 1 else plural or noun + 's'}"
