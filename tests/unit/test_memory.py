"""Memory of a training step when a router does its worst, and the shapes that batches of chunks take."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import lively_model, small_config
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hnet_dna.config.recipe import Recipe
from hnet_dna.config.schema import ModelConfig
from hnet_dna.data.batches import Batch
from hnet_dna.data.windows import Position
from hnet_dna.model import router
from hnet_dna.model.cost import CROWDED, cost_of
from hnet_dna.model.lm import HNetLM
from hnet_dna.model.stack import Stack
from hnet_dna.training.ranks import Ranks
from hnet_dna.training.step import Step

RECIPE = Recipe(window=256, batch=2)
BASES = RECIPE.window * RECIPE.batch


class Peak(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors made inside the block, and the most that were alive at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.most = 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return

        def gone(_: object) -> None:
            del self._known[key]
            self.live -= size

        self._known[key] = weakref.ref(storage, gone)
        self.live += size
        self.most = max(self.most, self.live)


def model_of(layout: list[object], max_chunk: int) -> HNetLM:
    stages = 3 if isinstance(layout[1], list) and len(layout[1]) == 3 else 2
    config = {
        "arch_layout": layout,
        "d_model": [32, 48, 64][:stages],
        "d_intermediate": [0, 128, 128][:stages],
        "ssm_cfg": {"d_state": 16, "head_dim": 16, "chunk_size": 32},
        "attn_cfg": {"num_heads": 2, "window_size": 63},
        "chunk_cfg": {"routing": "cosine" if max_chunk else "fixed", "stride": 3, "max_chunk": max_chunk},
    }
    torch.manual_seed(0)
    return HNetLM(ModelConfig.from_dict({"vocab_size": 5, "alphabet": "dna", **config}))


def batch(seed: int = 0) -> Batch[Position]:
    codes = np.random.default_rng(seed).integers(0, 4, size=(RECIPE.batch, RECIPE.window + 1), dtype=np.uint8)
    lengths = torch.full((RECIPE.batch,), RECIPE.window)
    genomes = torch.zeros(RECIPE.batch, dtype=torch.long)
    return Batch(torch.from_numpy(codes), lengths, genomes, (), Position(0, 0))


def peak_of(step: Step, model: HNetLM) -> int:
    model.zero_grad(set_to_none=True)
    step.run(batch())  # what is made once, such as the tables of the loss
    model.zero_grad(set_to_none=True)
    with Peak() as peak:
        step.run(batch())
    return int(peak.most)


LAYOUTS: dict[str, list[object]] = {
    "two stages": ["m1", ["M4"], "m1"],
    "three stages": ["m1", ["m2", ["M2T2"], "m2"], "m1"],
}


def tensors_of(state: object) -> list[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        return [state]
    parts = state if isinstance(state, tuple) else vars(state).values()
    return [tensor for part in parts for tensor in tensors_of(part)]


def values_told(model: HNetLM, target: float, worst: bool) -> float:
    """Bytes that the estimate holds beside the step's gradients: parameters and moments were there before it."""
    cost = cost_of(model.config, [target] * model.n_chunking_stages, RECIPE.window)
    estimate = cost.worst_training_bytes(BASES) if worst else cost.training_bytes(BASES)
    return estimate - 12 * cost.parameters


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_batch_of_single_base_chunks_is_bounded_and_training_goes_on(name: str) -> None:
    """`max_chunk` 1 makes every base a chunk of every stage, against a target of 3 bases per chunk."""
    model = model_of(LAYOUTS[name], max_chunk=1)
    step = Step(model, replace(RECIPE, ratio_targets=(3.0,)), Ranks())
    crowded = peak_of(step, model)
    gradients = [parameter.grad for parameter in model.parameters()]
    assert crowded < values_told(model, 3.0, worst=True)
    for module in model.modules():
        if isinstance(module, Stack):
            module.keep = None
    assert peak_of(step, model) > 1.5 * crowded
    for kept, again in zip(gradients, model.parameters(), strict=True):
        assert kept is not None
        assert again.grad is not None
        assert torch.equal(kept, again.grad)


def test_the_bound_is_met_just_before_a_batch_is_crowded() -> None:
    """With a target of 2 bases per chunk, twice the target is every base, so that nothing runs again."""
    model = model_of(LAYOUTS["two stages"], max_chunk=1)
    peak = peak_of(Step(model, replace(RECIPE, ratio_targets=(CROWDED,)), Ranks()), model)
    assert 0.6 < peak / values_told(model, CROWDED, worst=True) < 1


def test_a_batch_at_the_target_needs_what_is_told() -> None:
    model = model_of(LAYOUTS["two stages"], max_chunk=0)
    assert 0.75 < peak_of(Step(model, RECIPE, Ranks()), model) / values_told(model, 3.0, worst=False) < 1.1


@pytest.mark.parametrize("multiple", [8, 64])
def test_padding_of_chunks_changes_no_result(multiple: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: few shapes, and the same numbers in outputs, states and gradients."""
    ids, lengths = torch.randint(0, 5, (3, 90)), torch.tensor([90, 33, 1])
    results = []
    for pad in (1, multiple):
        monkeypatch.setitem(router.PAD_TO, "cpu", pad)
        model = lively_model(small_config())
        first = model(ids[:, :61], lengths=lengths.clamp(max=61))
        second = model(ids[:, 61:], first.state, lengths=(lengths - 61).clamp(min=0))
        logits = torch.cat([first.logits, second.logits], dim=1)
        (logits * (torch.arange(90) < lengths[:, None])[..., None]).sin().sum().backward()  # type: ignore[no-untyped-call]
        grads = [parameter.grad for parameter in model.parameters()]
        results.append([logits[0], *tensors_of(second.state), *grads])
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=1e-9)


def test_padding_leaves_few_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of other counts share their shapes, and none is longer than its sequence."""
    monkeypatch.setitem(router.PAD_TO, "cpu", 64)
    random = np.random.default_rng(0)
    shapes, counts = set(), set()
    for _ in range(40):
        boundary = torch.from_numpy(random.random((2, 300)) < random.uniform(0.2, 1))
        boundary[:, 0] = True
        vectors, _, rows = router.chunk(torch.zeros(2, 300, 1), boundary)
        shapes.add(vectors.shape[1])
        counts.add(int(rows.length.max()))
    assert len(counts) > 20
    assert shapes <= {64, 128, 192, 256, 300}
