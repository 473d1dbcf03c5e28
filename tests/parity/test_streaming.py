"""One function over (input, state): pieces of any length, and rows of any lengths, equal the whole."""

from __future__ import annotations

import itertools

import pytest
import torch
from helpers import lively_model, small_config
from torch import Tensor

from hnet_dna.model.hnet import ChunkingStage
from hnet_dna.model.lm import HNetLM, HNetOutput
from hnet_dna.model.router import dechunk
from hnet_dna.model.rows import Rows

CONFIGS = {
    "two stages, all layers": small_config(),
    "one stage, Mamba": small_config(arch_layout=["m2", ["M2"], "m2"], d_model=[24, 40], d_intermediate=[0, 32],
                                     attn_cfg={}),
    "one stage, global attention": small_config(
        arch_layout=["m1", ["T2"], "T1"], d_model=[24, 24], d_intermediate=[32, 32],
        attn_cfg={"num_heads": 3, "rotary_emb_dim": 4, "window_size": -1},
    ),
    "isotropic": small_config(arch_layout=["T1m1"], d_model=[24], d_intermediate=[32],
                              attn_cfg={"num_heads": 3, "rotary_emb_dim": 4, "window_size": 0}),
    "controls in place of routers": small_config(
        chunk_cfg={"routing": ["random", "fixed", "cosine"], "stride": [3, 2, 2], "smoothing": False},
    ),
    "linear routers, forced boundaries": small_config(
        chunk_cfg={"routing": "linear", "max_chunk": [3, 2, 0], "straight_through": False},
    ),
    "memory of k-mers": small_config(
        memory_cfg={"table_orders": [2, 3], "table_width": 5, "word_orders": [8, 9, 21]},
    ),
    "memory of k-mers, isotropic": small_config(
        arch_layout=["m1"], d_model=[24], d_intermediate=[0], attn_cfg={}, memory_cfg={"word_orders": [8]},
    ),
    "tables of k-mers": small_config(memory_cfg={"table_orders": [5], "table_width": 24}),
    "3-mers": small_config(kmer=3, arch_layout=["T1m1"], d_model=[24], d_intermediate=[32],
                           attn_cfg={"num_heads": 3, "rotary_emb_dim": 4, "window_size": 3}),
    "2-mers, global attention": small_config(
        kmer=2, arch_layout=["m1T1"], d_model=[24], d_intermediate=[32], attn_cfg={"num_heads": 3, "window_size": -1},
    ),
}  # fmt: skip
PIECES = {"1": [1], "7": [7], "64": [64], "mixed": [3, 0, 1, 1, 50, 2, 0, 31, 5]}


def run_in_pieces(model: HNetLM, ids: Tensor, lengths: Tensor, sizes: list[int]) -> list[HNetOutput]:
    outputs: list[HNetOutput] = []
    state, start = None, 0
    for size in itertools.cycle(sizes):
        if start >= ids.shape[1]:
            return outputs
        piece = ids[:, start : start + size]
        output = model(piece, state, lengths=(lengths - start).clamp(0, piece.shape[1]))
        outputs.append(output)
        state, start = output.state, start + size
    raise AssertionError


def rows_of(outputs: list[HNetOutput], stage: int | None, row: int) -> Tensor:
    """Join one row's valid positions over all pieces: probabilities of a stage, or logits."""
    if stage is None:
        return torch.cat([output.logits[row] for output in outputs])
    return torch.cat([o.stages[stage].boundary_prob[row, : int(o.stages[stage].length[row])] for o in outputs])


@pytest.mark.parametrize("pieces", PIECES)
@pytest.mark.parametrize("name", CONFIGS)
def test_pieces_equal_whole(name: str, pieces: str) -> None:
    config = CONFIGS[name]
    model = lively_model(config)
    lengths = torch.tensor([151, 1, 64, 118])
    ids = torch.randint(0, 5, (4, 151))
    ids[3, 20:90] = 2  # a run of one base
    with torch.no_grad():
        whole = [model(ids, lengths=lengths)]
        parts = run_in_pieces(model, ids, lengths, PIECES[pieces])
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(
            rows_of(parts, None, row)[:length], rows_of(whole, None, row)[:length], rtol=0, atol=1e-6
        )
        for stage in range(model.n_chunking_stages):
            torch.testing.assert_close(rows_of(parts, stage, row), rows_of(whole, stage, row), rtol=0, atol=1e-6)
    counts = [int(s.boundary_mask[0].sum()) for s in whole[0].stages]
    assert all(1 < count < 151 for count in counts), "the test needs a model that chunks"


@pytest.mark.parametrize("name", CONFIGS)
def test_rows_do_not_see_each_other_nor_padding(name: str) -> None:
    model = lively_model(CONFIGS[name])
    lengths = torch.tensor([90, 33, 1])
    ids = torch.randint(0, 5, (3, 90))
    together = model(ids, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = model(ids[row : row + 1, :length])
        torch.testing.assert_close(together.logits[row, :length], alone.logits[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", CONFIGS)
def test_causal_at_every_stage(name: str) -> None:
    """Changing base t leaves logits, boundaries and the number of chunks before t unchanged."""
    model = lively_model(CONFIGS[name])
    ids = torch.randint(0, 4, (1, 80))
    before = model(ids)
    for t in (1, 17, 40, 79):
        changed = ids.clone()
        changed[0, t] = (changed[0, t] + 1) % 4
        after = model(changed)
        torch.testing.assert_close(after.logits[:, :t], before.logits[:, :t], rtol=0, atol=1e-9)
        assert not torch.equal(after.logits[:, t], before.logits[:, t])
        positions = t
        for old, new in zip(before.stages, after.stages, strict=True):
            torch.testing.assert_close(
                new.boundary_prob[:, :positions], old.boundary_prob[:, :positions], rtol=0, atol=1e-9
            )
            positions = int(old.boundary_mask[0, :positions].sum())


def test_state_is_bounded_by_windows() -> None:
    model = lively_model(CONFIGS["two stages, all layers"])

    def size(value: object) -> int:
        if isinstance(value, Tensor):
            return value.numel()
        if isinstance(value, tuple):
            return sum(map(size, value))
        return sum(map(size, vars(value).values())) if hasattr(value, "__dict__") else 0

    ids = torch.randint(0, 4, (1, 2000))
    with torch.no_grad():
        assert size(model(ids[:, :600]).state) == size(model(ids).state)


@pytest.mark.parametrize("ids", [[[3] * 100], [[0]], [[0, 0]]], ids=["homopolymer", "one base", "two bases"])
def test_short_and_plain_sequences(ids: list[list[int]]) -> None:
    model = lively_model(small_config())
    output = model(torch.tensor(ids))
    assert torch.isfinite(output.logits).all()
    assert bool(output.stages[0].boundary_mask[0, 0])
    assert output.stages[1].length.item() == output.stages[0].boundary_mask.sum().item()
    output.logits.sum().backward()


def test_single_chunk() -> None:
    """With equal queries and keys no later base differs from the one before: one chunk, however long."""
    model = lively_model(small_config())
    assert isinstance(model.backbone, ChunkingStage)
    router = model.backbone.routing_module
    with torch.no_grad():
        router.k_proj_layer.weight.copy_(router.q_proj_layer.weight)
        model.embeddings.weight.copy_(model.embeddings.weight[:1].expand(5, -1))
        for name, parameter in model.backbone.encoder.named_parameters():
            if name.endswith(("out_proj.weight", "fc2.weight")):
                parameter.zero_()
    output = model(torch.randint(0, 4, (2, 50)))
    assert output.stages[0].boundary_mask.sum(1).tolist() == [1, 1]
    assert torch.isfinite(output.logits).all()


def test_empty_piece_changes_nothing() -> None:
    model = lively_model(small_config())
    ids = torch.randint(0, 4, (2, 20))
    nothing = model(ids[:, :0])
    assert nothing.logits.shape == (2, 0, 5)
    assert [stage.length.tolist() for stage in nothing.stages] == [[0, 0], [0, 0]]
    torch.testing.assert_close(model(ids, nothing.state).logits, model(ids).logits)


def test_router_and_average_stay_in_float32_under_autocast() -> None:
    """A bfloat16 router or average would move probabilities by 1e-2 and change the chunks."""
    config = small_config(arch_layout=["m1", ["m1"], "m1"], d_model=[24, 24], d_intermediate=[0, 0], attn_cfg={})
    model = lively_model(config).float()
    assert isinstance(model.backbone, ChunkingStage)
    router = model.backbone.routing_module
    u = torch.randn(2, 200, 24)
    rows = Rows.full(u)
    plain, _ = router(u, rows, None)
    position = torch.arange(200).expand(2, -1)
    smooth, _ = dechunk(u, rows, position, plain, None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast, _ = router(u, rows, None)
        cast_smooth, _ = dechunk(u, rows, position, cast, None)
        assert model(torch.randint(0, 4, (2, 50))).stages[0].boundary_prob.dtype == torch.float32
    assert cast.prob.dtype == cast_smooth.dtype == torch.float32
    assert torch.equal(cast.prob, plain.prob)
    assert torch.equal(cast_smooth, smooth)
