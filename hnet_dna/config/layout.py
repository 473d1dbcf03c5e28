"""The layout mini-language of the H-Net reference.

A stage is a list: `[encoder, inner stage, decoder]`, or `[stack]` for the innermost. A stack is a string of letter
and count, repeated: `m4T1` is four Mamba-2 layers without MLP, then one attention layer with MLP.

| letter | mixer     | MLP      |
|--------|-----------|----------|
| m / M  | Mamba-2   | no / yes |
| t / T  | attention | no / yes |
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from hnet_dna.errors import ConfigError, shown

Layout: TypeAlias = "tuple[str] | tuple[str, Layout, str]"
Mixer = Literal["mamba", "attention"]

LEGEND = "m, M: Mamba-2; t, T: attention; capitals with MLP"
_LETTERS: dict[str, tuple[Mixer, bool]] = {
    "m": ("mamba", False),
    "M": ("mamba", True),
    "t": ("attention", False),
    "T": ("attention", True),
}


@dataclass(frozen=True)
class LayerSpec:
    """One layer of a stack: its mixer, and whether an MLP follows."""

    mixer: Mixer
    has_mlp: bool

    @property
    def height(self) -> int:
        """Number of additions to the residual stream (1 or 2), which sets the scale of the initialisation."""
        return 2 if self.has_mlp else 1


def parse_stack(text: str) -> tuple[LayerSpec, ...]:
    """Parse a stack such as `m2T1`; unknown text is a `ConfigError` naming its column."""
    if not isinstance(text, str):
        raise ConfigError(f"arch_layout: expected a stack such as 'm4T1', got {shown(text)}")
    layers: list[LayerSpec] = []
    position = 0
    while position < len(text):
        match = re.compile(r"([mMtT])([0-9]+)").match(text, position)
        if match is None or not match[2].strip("0"):
            raise ConfigError(
                f"arch_layout: {shown(text)}: column {position + 1}: expected a letter of m, M, t, T and a count from "
                f"1, got {shown(text[position:])}"
            )
        if len(match[2]) > 4:
            raise ConfigError(f"arch_layout: column {position + 2}: expected 9,999 layers or fewer")
        mixer, has_mlp = _LETTERS[match[1]]
        layers += [LayerSpec(mixer, has_mlp)] * int(match[2])
        position = match.end()
    if not layers:
        raise ConfigError("arch_layout: a stack is empty; write at least one layer, such as 'm1'")
    return tuple(layers)


def parse_layout(value: object, deepest: int = 32) -> Layout:
    """Validate a nested list such as `["m4", ["T2"], "m4"]`, of a limited number of stages, and return it as tuples."""
    if not deepest:
        raise ConfigError("arch_layout: expected at most 32 stages")
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f'arch_layout: expected a nested list such as ["m4", ["T2"], "m4"], got {shown(value)}')
    if len(value) == 1:
        parse_stack(value[0])
        return (value[0],)
    if len(value) == 3:
        encoder, inner, decoder = value
        parse_stack(encoder)
        parse_stack(decoder)
        return (encoder, parse_layout(inner, deepest - 1), decoder)
    raise ConfigError(
        f"arch_layout: a stage has 1 item (innermost) or 3 (encoder, inner stage, decoder), "
        f"got {len(value)}: {shown(value)}"
    )


def inner_layout(layout: Layout) -> Layout | None:
    """Return the layout of the next stage inwards, None for an innermost stage."""
    return layout[1] if len(layout) == 3 else None


def n_stages(layout: Layout) -> int:
    """Count stages, the innermost included: 1 for an isotropic model, 2 for one level of chunking."""
    inner = inner_layout(layout)
    return 1 if inner is None else 1 + n_stages(inner)


def layout_text(layout: Layout) -> str:
    """Write a layout on one line, as in papers: `m4 [T1m4 [T26] m4T1] m4`."""
    if len(layout) == 1:
        return layout[0]
    return f"{layout[0]} [{layout_text(layout[1])}] {layout[2]}"
