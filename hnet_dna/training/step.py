"""One training step on one rank: forward and backward, in parts, in the precision that the recipe asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from hnet_dna.config.recipe import Recipe
from hnet_dna.data.batches import Batch
from hnet_dna.model.cost import CROWDED, cost_of
from hnet_dna.model.hnet import stage_of
from hnet_dna.model.likelihood import IGNORED, targets_of
from hnet_dna.model.lm import HNetLM, HNetOutput
from hnet_dna.model.stack import Stack, compile_layers
from hnet_dna.ops import bfloat16_products
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.sequence.codes import SOFT_MASK
from hnet_dna.training.loss import language_model_loss
from hnet_dna.training.ranks import Ranks, spread, waiting


class Step:
    """Runs one batch forward and backward, in parts; everything it returns is summed over the ranks."""

    def __init__(
        self,
        model: HNetLM,
        recipe: Recipe,
        ranks: Ranks,
        repeat_weights: Sequence[float] | None = None,
        aims: Sequence[float] = (),
    ) -> None:
        """Prepare.

        Args:
            model, recipe, ranks: what is trained, how, and by which process.
            repeat_weights: of the genomes; the recipe's for a single one by default.
            aims: N of the outermost stage by number, where batches say which serves where.
        """
        self._recipe, self._ranks = recipe, ranks
        self._letters = alphabet(model.config.alphabet)
        self._stages = range(model.n_chunking_stages)
        self._device = next(model.parameters()).device
        self._repeat_weights = torch.tensor(repeat_weights or [recipe.repeat_weight], device=self._device)
        # Codes travel as bytes and become ids on the device.
        self._id_of_code = torch.from_numpy(self._letters.encode(np.arange(256, dtype=np.uint8))).to(self._device)
        self._aims = tuple(aims)
        targets = [min(aims) if aims and stage == 0 else recipe.ratio_target(stage) for stage in self._stages]
        positions = [stage.positions for stage in cost_of(model.config, targets, recipe.window).stages]
        bases = -(-recipe.batch // (recipe.accumulate * ranks.size)) * recipe.window
        if recipe.compile:
            compile_layers(model)
        for name, module in model.named_modules():
            if isinstance(module, Stack) and recipe.recompute:
                module.keep = 0
            elif isinstance(module, Stack) and (stage := stage_of(f"{name}.layers")):
                # The router decides how many positions an inner stage gets, so that memory needs a bound.
                module.keep = math.ceil(CROWDED * positions[stage] * bases)
        self._called: Callable[..., HNetOutput] = spread(model, ranks, shard=recipe.shard)
        self._parameters = list(model.parameters())  # shares of them, where `spread` has cut them
        self._bf16 = recipe.precision == "bf16" or (
            recipe.precision == "auto" and self._device.type == "cuda" and torch.cuda.is_bf16_supported()
        )

    def run(self, batch: Batch[Any]) -> Tensor:
        """Leave gradients in the parameters, clipped.

        Returns:
            Sums over the ranks: nats, bases, the gradient's norm before it was clipped, positions of each stage, chunks
            of each stage; of several genomes also nats of each genome, and bases of each genome; float64.
        """
        recipe, device, parts = self._recipe, self._device, self._recipe.accumulate
        lengths, batch = batch.lengths, batch.to(device)
        targets = targets_of(batch.codes[:, 1:])
        inside = torch.arange(targets.shape[1], device=device) < batch.lengths[:, None]
        targets = torch.where(inside, targets, IGNORED)
        several = len(self._repeat_weights) > 1
        repeats = self._repeat_weights[batch.genomes][:, None] if several else self._repeat_weights
        weights = torch.where((batch.codes[:, 1:] & SOFT_MASK) > 0, repeats, 1.0)
        bases = self._ranks.total((targets != IGNORED).sum())
        sums = torch.zeros(2 + 2 * len(self._stages), dtype=torch.float64, device=device)
        genomes = torch.zeros(2, len(self._repeat_weights), dtype=torch.float64, device=device)
        for part in range(parts):
            rows = slice(part, None, parts)
            with ExitStack() as stack:
                stack.enter_context(waiting(self._called, last=part == parts - 1))
                if self._bf16:
                    stack.enter_context(bfloat16_products(device.type))
                output = self._called(
                    self._id_of_code[batch.codes[rows, :-1].long()].long(), lengths=lengths[rows], last=True
                )
                loss = language_model_loss(
                    output,
                    targets[rows],
                    self._letters,
                    [recipe.ratio_target(stage) for stage in self._stages],
                    [recipe.ratio_weight(stage) for stage in self._stages],
                    weights[rows],
                    bases=bases,
                    share=1 / parts,
                    total=self._ranks.total,
                    aims=None if batch.aims is None else (batch.aims[rows, :-1], self._aims),
                )
                # Gradients are averaged over the ranks, while each rank's loss is its part of a sum.
                (loss.total * self._ranks.size).backward()  # type: ignore[no-untyped-call]
            sums += torch.stack([loss.nats, loss.bases, *loss.positions, *loss.chunks]).double()
            if several:
                genomes.index_add_(1, batch.genomes[rows], torch.stack([loss.row_nats, loss.row_bases]).double())
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, recipe.clip)
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        sums = self._ranks.total(torch.cat([sums, genomes.flatten()]) if several else sums)
        return torch.cat([sums[:2], norm.double()[None], sums[2:]])
