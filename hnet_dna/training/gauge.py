"""What the log says of a GPU: bases per second of each, their share of what it can do, and its memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hnet_dna.config.recipe import Recipe
from hnet_dna.config.schema import ModelConfig
from hnet_dna.model.cost import cost_of
from hnet_dna.training.ranks import Ranks

# Dense bfloat16 products per second as their makers state them, by a part of the name; the first that fits.
PEAKS = (
    ("B200", 2.25e15), ("B100", 1.75e15), ("H200", 9.89e14), ("H100 PCIe", 7.56e14), ("H100", 9.89e14),
    ("A100", 3.12e14), ("L40S", 3.62e14), ("L40", 1.81e14), ("A40", 1.5e14), ("RTX 5090", 2.09e14),
    ("RTX 4090", 1.65e14), ("L4", 1.21e14),
)  # fmt: skip


class Gauge:
    """Reads the GPU of this rank; says nothing where there is none."""

    def __init__(self, config: ModelConfig, recipe: Recipe, ranks: Ranks) -> None:
        self._ranks = ranks
        targets = [recipe.ratio_target(stage) for stage in range(config.n_stages - 1)]
        cost = cost_of(config, targets, recipe.window)
        self._operations = [cost.training_flops / cost.forward_flops * s.flops / s.positions for s in cost.stages]
        self._peak = None
        if ranks.device.type == "cuda":
            name = torch.cuda.get_device_name(ranks.device)
            self._peak = next((peak for part, peak in PEAKS if part in name), None)

    def read(self, bases_per_second: float, bases_per_chunk: Sequence[float]) -> dict[str, float]:
        """Return what the log gets, for a speed over all ranks at the chunks that routers have set.

        `of_peak` is left out for a GPU whose rate is not in the table, `gib` is the most memory since the last reading.
        """
        if self._ranks.device.type != "cuda":
            return {}
        each = bases_per_second / self._ranks.size
        figures = {
            "bases_per_second_per_gpu": round(each),
            "gib": round(torch.cuda.max_memory_allocated(self._ranks.device) / 2**30, 1),
        }
        torch.cuda.reset_peak_memory_stats(self._ranks.device)
        if self._peak:
            positions, operations = 1.0, self._operations[0]
            for ratio, of_stage in zip(bases_per_chunk, self._operations[1:], strict=True):
                positions /= max(ratio, 1.0)
                operations += positions * of_stage
            figures["of_peak"] = round(each * operations / self._peak, 4)
        return figures
