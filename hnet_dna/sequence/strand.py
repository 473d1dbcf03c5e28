"""The strands that a function can read: forward, reverse, or both."""

from __future__ import annotations

from typing import Literal, TypeAlias, cast, get_args

from hnet_dna.errors import UsageError

Strand: TypeAlias = Literal["+", "-", "both"]


def check_strand(strand: str) -> Strand:
    """Return the strand if it is one of `+`, `-` and `both`; raise `UsageError` for anything else."""
    if strand not in get_args(Strand):
        raise UsageError(f"`strand`: expected +, - or both, got {strand!r}")
    return cast(Strand, strand)
