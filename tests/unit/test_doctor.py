"""Which backend serves, who is refused, and what `hnet-dna doctor` says about it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from typer.testing import Result

from hnet_dna.errors import UsageError
from hnet_dna.ops import (
    BACKENDS,
    Choice,
    current_backend,
    current_choice,
    ema_scan,
    mamba_ssm,
    serve,
    use_backend,
)
from hnet_dna.ops.check import check_backend
from hnet_dna.ops.ssd import ssd_scan_chunked

Scan = tuple[Tensor, Tensor]
Arguments = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, int]


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_choices", {})
    monkeypatch.setattr(serve, "_checks", {})
    monkeypatch.delenv("HNET_DNA_BACKEND", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def use_fake(monkeypatch: pytest.MonkeyPatch, scan: Callable[..., Scan], name: str = "mamba") -> None:
    """Let `scan` stand in for the kernels of a backend, installed and able to serve any device; others are away."""
    for other in ("triton", "mamba"):
        away = replace(BACKENDS[other], obstacle=lambda device: "not installed", package="a_package_that_is_not_there")
        monkeypatch.setitem(BACKENDS, other, away)
    monkeypatch.setitem(BACKENDS, name, replace(BACKENDS["torch"], name=name, ssd_scan=scan, package="torch"))


def wrong_state(*arguments: *Arguments) -> Scan:
    y, state = ssd_scan_chunked(*arguments)
    return y, state * 1.001


def wrong_gradient(*arguments: *Arguments) -> Scan:
    x, dt, decay, b, c, state, tile = arguments
    return ssd_scan_chunked(x.detach(), dt, decay, b, c, state, tile)


def no_initial_state(*arguments: *Arguments) -> Scan:
    x, dt, decay, b, c, state, tile = arguments
    return ssd_scan_chunked(x, dt, decay, b, c, state * 0, tile)


def nan_at_odd_lengths(*arguments: *Arguments) -> Scan:
    y, state = ssd_scan_chunked(*arguments)
    return (y * torch.nan if y.shape[1] > 1 else y), state


def garbage_in_bfloat16(*arguments: *Arguments) -> Scan:
    y, state = ssd_scan_chunked(*arguments)
    return (y * 2 if arguments[0].dtype == torch.bfloat16 else y), state


class EdgeWrong(torch.autograd.Function):
    """Changes the gradient of a few positions by a little of the largest value, as a wrong mask would."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].clone()
        if grad.dtype == torch.bfloat16 and grad.shape[1] > 16:
            grad[:, 15:17] += 0.05 * grad.abs().max()
        return grad


def wrong_at_an_edge(*arguments: *Arguments) -> Scan:
    x, dt, decay, b, c, state, tile = arguments
    moved: Tensor = EdgeWrong.apply(x)  # type: ignore[no-untyped-call]
    return ssd_scan_chunked(moved, dt, decay, b, c, state, tile)


def raises(*arguments: *Arguments) -> Scan:
    raise RuntimeError("no kernel image is available")


def test_torch_serves_a_cpu() -> None:
    assert current_backend().name == "torch"
    assert all(check.trouble is None for check in check_backend(BACKENDS["torch"], "cpu"))


def test_the_variable_chooses_and_use_backend_overrides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HNET_DNA_BACKEND", "reference")
    assert current_choice() == Choice(BACKENDS["reference"], "HNET_DNA_BACKEND asks for it")
    with use_backend("torch"):
        assert current_backend().name == "torch"
    assert current_backend().name == "reference"


def test_an_unknown_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HNET_DNA_BACKEND", "tourch")
    with pytest.raises(UsageError, match="HNET_DNA_BACKEND=tourch: no such backend"):
        ema_scan(torch.zeros(1, 2, 3), torch.zeros(1, 2), torch.zeros(1, 3))
    with pytest.raises(UsageError, match="backend 'mambo': no such backend"), use_backend("mambo"):
        pass


def test_a_backend_that_is_asked_for_and_absent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mamba_ssm, "_PACKAGE", "a_package_that_is_not_there")
    monkeypatch.setenv("HNET_DNA_BACKEND", "mamba")
    with pytest.raises(UsageError, match=r"HNET_DNA_BACKEND=mamba cannot .*not installed.*docs/backends.md"):
        ema_scan(torch.zeros(1, 2, 3), torch.zeros(1, 2), torch.zeros(1, 3))
    with pytest.raises(UsageError, match="'mamba' cannot serve tensors on cpu"), use_backend("mamba"):
        pass


def test_a_package_that_does_not_import_is_an_obstacle_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kernels = tmp_path / "broken_ssm" / "ops" / "triton"
    kernels.mkdir(parents=True)
    for folder in (kernels, kernels.parent):
        (folder / "__init__.py").touch()
    (kernels.parent.parent / "__init__.py").write_text("raise AssertionError('not to be run')")
    (kernels / "ssd_combined.py").write_text("raise ImportError('undefined symbol: _ZN3c10')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(mamba_ssm, "_PACKAGE", "broken_ssm")
    mamba_ssm._kernel.cache_clear()
    obstacle = mamba_ssm.obstacle("cuda")
    assert obstacle is not None
    assert "ImportError: undefined symbol" in obstacle
    assert not any(name.startswith("broken_ssm") for name in sys.modules)
    # One that does import serves a GPU and nothing else.
    (kernels / "ssd_combined.py").write_text("mamba_chunk_scan_combined = print\n# longer than the cached one")
    assert mamba_ssm.obstacle("cuda") is None
    assert "not on cpu" in str(mamba_ssm.obstacle("cpu"))
    assert not any(name.startswith("broken_ssm") for name in sys.modules)
    mamba_ssm._kernel.cache_clear()


@pytest.mark.parametrize(
    ("scan", "why"),
    [
        (wrong_state, "differs from the reference"),
        (wrong_gradient, "in gradients"),
        (no_initial_state, "differs from the reference"),
        (nan_at_odd_lengths, "length 77 in float32 differs from the reference by inf"),
        (garbage_in_bfloat16, "length 1 in bfloat16 differs"),
        (wrong_at_an_edge, "length 77 in bfloat16 differs from the reference by .* in norm"),
        (raises, "RuntimeError: no kernel image"),
    ],
)
def test_a_backend_that_disagrees_is_refused(
    scan: Callable[..., Scan], why: str, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Result]
) -> None:
    use_fake(monkeypatch, scan)
    with pytest.raises(UsageError, match=why), use_backend("mamba"):
        pass
    result = cli("doctor")
    assert result.exit_code == 1
    assert "FAILED" in result.output
    assert re.search(why, " ".join(result.output.split()))
    # By default it is skipped on a GPU, with a warning.
    monkeypatch.setitem(serve._checks, ("mamba", "cuda"), serve._checks["mamba", "cpu"])
    with pytest.warns(UserWarning, match=f"backend mamba is skipped: .*{why}"):
        choice = current_choice("cuda")
    assert choice.backend.name == "torch"
    assert "mamba cannot serve" in choice.why


@pytest.mark.parametrize("name", ["triton", "mamba"])
def test_a_backend_that_agrees_serves_a_gpu_by_default(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake(monkeypatch, lambda *arguments: ssd_scan_chunked(*arguments), name)
    monkeypatch.setitem(serve._checks, (name, "cuda"), check_backend(BACKENDS[name], "cpu"))
    assert current_backend("cuda").name == name
    assert current_backend("cpu").name == "torch"
    with use_backend(name):
        assert current_backend("cpu").name == name


def test_our_kernels_need_triton_and_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hnet_dna.ops.backend.find_spec", lambda package: None)
    assert BACKENDS["triton"].obstacle("cuda") == "triton is not installed"
    monkeypatch.setattr("hnet_dna.ops.backend.find_spec", lambda package: package)
    assert BACKENDS["triton"].obstacle("cuda") is None
    assert "not on cpu" in str(BACKENDS["triton"].obstacle("cpu"))


def test_the_check_leaves_a_run_as_it_was() -> None:
    before = torch.random.get_rng_state()
    with torch.inference_mode():
        checks = check_backend(BACKENDS["torch"], "cpu")
    assert all(check.trouble is None for check in checks)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_check_runs_inside_a_checkpoint() -> None:
    """As in the first step of a run that keeps no activations, or of a batch that chunks badly."""
    verdicts = []

    def layer(x: Tensor) -> Tensor:
        verdicts.append([check.trouble for check in check_backend(BACKENDS["torch"], "cpu")])
        return x.sin().exp()

    x = torch.randn(3, requires_grad=True)
    checkpoint(layer, x, use_reentrant=False).sum().backward()
    assert len(verdicts) == 2
    assert not any(any(verdict) for verdict in verdicts)


def test_a_backward_pass_is_served_as_its_forward_pass() -> None:
    """On a GPU it runs in another thread."""
    gradients = []
    with use_backend("reference"):
        thread = Thread(target=lambda: gradients.append(current_backend("cpu").name))
        thread.start()
        thread.join()
    assert gradients == ["reference"]


def test_doctor_says_what_serves(cli: Callable[..., Result]) -> None:
    result = cli("doctor")
    assert result.exit_code == 0, result.output
    assert "ssd_scan    torch on cpu" in result.output
    assert "All is well." in result.output


def test_doctor_as_json(cli: Callable[..., Result]) -> None:
    result = cli("doctor", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    ops = ("ssd_scan", "ema_scan", "causal_conv_silu", "rms_norm", "gated_rms_norm")
    assert [(row["op"], row["backend"]) for row in report["ops"]] == [(op, "torch") for op in ops]
    assert report["packages"]["torch"]
    assert (report["packages"]["mamba-ssm"] is None) == (find_spec("mamba_ssm") is None)
    assert [(row["backend"], row["op"], row["precision"]) for row in report["checks"]] == [
        ("torch", "ssd_scan", "float32"),
        ("torch", "ssd_scan", "bfloat16"),
        ("torch", "ema_scan", "float32"),
        ("torch", "causal_conv_silu", "float32"),
        ("torch", "causal_conv_silu", "bfloat16"),
        ("torch", "rms_norm", "float32"),
        ("torch", "gated_rms_norm", "float32"),
        ("torch", "gated_rms_norm", "bfloat16"),
    ]
    for row in report["checks"]:
        exact = row["op"] != "causal_conv_silu" or row["precision"] == "float32"  # the convolution adds in bfloat16
        assert row["output"] < (1e-5 if exact else 2e-2)
        assert row["gradient"] < (1e-5 if row["precision"] == "float32" else 1e-2)  # gradients are bfloat16's, too
    assert report["problems"] == []


def test_doctor_names_the_owner_of_a_borrowed_op(monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Result]) -> None:
    use_fake(monkeypatch, lambda *arguments: ssd_scan_chunked(*arguments))
    monkeypatch.setenv("HNET_DNA_BACKEND", "mamba")
    result = cli("doctor")
    assert result.exit_code == 0, result.output
    assert "ssd_scan    mamba on cpu: HNET_DNA_BACKEND asks for it" in result.output
    assert "ema_scan    torch on cpu: mamba has none of its own" in result.output
    assert "conv        torch on cpu: mamba has none of its own" in result.output


@pytest.mark.parametrize(("asked", "why"), [("mamba", "cannot serve tensors on cpu"), ("none", "no such backend")])
def test_doctor_fails_for_a_backend_that_cannot_serve(
    asked: str, why: str, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Result]
) -> None:
    monkeypatch.setenv("HNET_DNA_BACKEND", asked)
    for arguments in (["doctor"], ["doctor", "--json"]):
        result = cli(*arguments)
        assert result.exit_code == 1
        assert why in result.output
        assert "Traceback" not in result.output


def test_a_command_ends_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Result], tmp_path: Path
) -> None:
    from helpers import random_dna, small_config, write_fasta

    from hnet_dna.model.lm import HNetLM

    HNetLM(small_config()).save_pretrained(tmp_path / "model")
    write_fasta(tmp_path / "s.fa", {"s": random_dna(100)})
    monkeypatch.setenv("HNET_DNA_BACKEND", "mamba")
    result = cli("segment", tmp_path / "s.fa", "--model", tmp_path / "model")
    assert result.exit_code == 2
    assert "HNET_DNA_BACKEND=mamba cannot serve tensors on cpu" in result.output
