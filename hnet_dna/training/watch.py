"""Notices training that goes wrong: NaN and infinite values, spikes of the loss, routers that collapse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hnet_dna.config.recipe import Recipe

MAX_SKIPS = 20  # steps left out in a row before a run is given up
_MEMORY = 0.98  # of the running means: about 50 steps
_SETTLED = 50  # steps before means are trusted
_COLLAPSED = 0.1  # a share of the target rate, of boundaries or of non-boundaries, that counts as none


@dataclass(frozen=True)
class Trouble:
    """What went wrong in a step, in words; a collapse is not undone by leaving the step out."""

    kind: Literal["not a number", "spike", "collapse"]
    message: str


class Watch:
    """Running means of the loss and of each learned router's boundary rate."""

    def __init__(self, recipe: Recipe, learned: Sequence[bool]) -> None:
        """Watch the stages whose router is learned."""
        self._recipe, self._learned = recipe, list(learned)
        self._bits, self._steps, self._skips = 0.0, 0, 0
        self._rates = [0.0] * len(self._learned)
        self._reported = [False] * len(self._learned)

    def loss(self, bits: float, norm: float) -> Trouble | None:
        """Judge a step's bits per base and gradient norm, before the step is taken."""
        if not math.isfinite(bits) or not math.isfinite(norm):
            what = "loss" if not math.isfinite(bits) else "gradient"
            return Trouble("not a number", f"the {what} is NaN or infinite")
        mean = self._bits / self._weight()
        if self._steps >= _SETTLED and bits > mean + self._recipe.spike_bits:
            return Trouble("spike", f"the loss jumped to {bits:.3f} bits per base, from a mean of {mean:.3f}")
        return None

    def taken(self, bits: float, rates: Sequence[float]) -> list[Trouble]:
        """Count a step that was taken; return what it shows of the routers."""
        self._skips = 0
        self._steps += 1
        self._bits = _MEMORY * self._bits + (1 - _MEMORY) * bits
        self._rates = [_MEMORY * mean + (1 - _MEMORY) * rate for mean, rate in zip(self._rates, rates, strict=True)]
        troubles = []
        for stage, learned in enumerate(self._learned):
            rate, target = self._rates[stage] / self._weight(), 1 / self._recipe.ratio_target(stage)
            extreme = rate < _COLLAPSED * target or 1 - rate < _COLLAPSED * (1 - target)
            collapsed = learned and self._steps >= _SETTLED and extreme
            if collapsed and not self._reported[stage]:
                troubles.append(
                    Trouble(
                        "collapse",
                        f"the router of stage {stage} has collapsed: {rate:.3f} of its positions begin a chunk, "
                        f"{target:.3f} are aimed at",
                    )
                )
            self._reported[stage] = collapsed
        return troubles

    def skipped(self) -> bool:
        """Count a step left out; return whether there were too many in a row."""
        self._skips += 1
        return self._skips > MAX_SKIPS

    def _weight(self) -> float:
        return max(1 - _MEMORY**self._steps, 1e-9)

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs, as JSON."""
        return {
            "bits": self._bits,
            "steps": self._steps,
            "skips": self._skips,
            "rates": self._rates,
            "reported": self._reported,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._bits, self._steps, self._skips = state["bits"], state["steps"], state["skips"]
        self._rates, self._reported = list(state["rates"]), list(state["reported"])
