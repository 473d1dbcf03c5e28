"""Which strand of a sequence is read."""

from __future__ import annotations

from typing import Literal

Strand = Literal["+", "-", "both"]
