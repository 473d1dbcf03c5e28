"""Several processes that train one model, on torch's own distributed package: `torchrun` starts them, we join.

Everything that the loop reports or decides by is summed over the ranks, so that all of them see the same numbers and
take the same turn. One process is the case of one rank, with nothing to exchange.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from hnet_dna.errors import HNetError, TrainingError, UsageError
from hnet_dna.model.lm import HNetLM
from hnet_dna.model.stack import Layer


@dataclass(frozen=True)
class Place:
    """What the environment says of this process among all: its number, theirs, and its number on this machine."""

    rank: int = 0
    size: int = 1
    local: int = 0


def place_of_process() -> Place | None:
    """Return the place that torchrun, or a scheduler in its stead, gave this process; None if it is the only one.

    Raises:
        UsageError: the environment has only some of the variables, or values that cannot be.
    """
    if not any(name in os.environ for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")):
        return None
    wanted = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    variables = {name: os.environ.get(name, "").strip() for name in wanted}
    if missing := [name for name in wanted if not variables[name]]:
        given = ", ".join(f"{name}={value}" for name, value in variables.items() if value)
        raise UsageError(
            f"the environment has {given or 'empty variables of torchrun'} but not {', '.join(missing)}: start several "
            "processes by torchrun, which sets all of them, or unset these for one process"
        )
    ranges = {"WORLD_SIZE": (1, 2**20), "RANK": (0, 2**20), "LOCAL_RANK": (0, 2**20), "MASTER_PORT": (0, 65_535)}
    for name, (low, high) in ranges.items():
        if not re.fullmatch(r"[0-9]{1,7}", variables[name]) or not low <= int(variables[name]) <= high:
            raise UsageError(f"environment variable {name}: expected an integer from {low}, got {variables[name]!r}")
    rank, size = int(variables["RANK"]), int(variables["WORLD_SIZE"])
    if rank >= size:
        raise UsageError(f"environment variable RANK: expected less than WORLD_SIZE, {size}, got {rank}")
    return Place(rank, size, int(variables["LOCAL_RANK"]))


def best_device() -> torch.device:
    """Return where this process computes: its own GPU where there is one, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    local = (place_of_process() or Place()).local
    if local >= torch.cuda.device_count():
        raise UsageError(
            f"environment variable LOCAL_RANK: got {local}, but this machine has {torch.cuda.device_count()} GPUs; "
            "start as many processes"
        )
    return torch.device("cuda", local)


@dataclass(frozen=True)
class Ranks:
    """Where a process stands among all.

    Attributes:
        rank: its number; 0 writes the files.
        size: how many there are.
        device: where it computes.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes and speaks."""
        return self.rank == 0

    def total(self, value: Tensor) -> Tensor:
        """Sum a tensor over all ranks."""
        if self.size == 1:
            return value
        value = value.clone()
        dist.all_reduce(value)
        return value

    def agree(self, *values: float) -> tuple[float, ...]:
        """Return the greatest of each number over all ranks, so that all of them decide alike."""
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return tuple(tensor.tolist())

    def wait(self) -> None:
        """Wait for all ranks."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def join_ranks() -> Iterator[Ranks]:
    """Join the processes that torchrun started, or be the only one."""
    place, device = place_of_process(), best_device()
    if place is None:
        yield Ranks(device=device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        reason = " ".join(str(error).split())
        raise TrainingError(f"rank {place.rank} cannot join the others at {where} ({reason})") from None
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), device)
    except RuntimeError as error:
        if isinstance(error, HNetError) or not _is_broken_connection(error):
            raise
        raise TrainingError(f"rank {place.rank}: another rank has ended; its own message says why") from None
    finally:
        dist.destroy_process_group()


def _is_broken_connection(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or any(word in str(error).lower() for word in ("gloo", "connection"))


def spread(model: HNetLM, ranks: Ranks, *, shard: bool) -> nn.Module:
    """Return what to call in place of the model, so that gradients are those of all ranks together.

    Copied (DDP) or, with `shard`, cut into shares (FSDP2): then the model's own parameters become shares too.
    """
    if ranks.size == 1:
        return model
    if not shard:
        # Buffers are constants, the same on all ranks: a memory's words would be sent anew in each step. The option has
        # another name since PyTorch 2.13, which earlier versions do not know.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            return DistributedDataParallel(model, broadcast_buffers=False, gradient_as_bucket_view=True)
    for module in model.modules():
        if isinstance(module, Layer):
            fully_shard(module)
    fully_shard(model)
    return model


def waiting(model: object, *, last: bool) -> AbstractContextManager[None]:
    """Return a context in which gradients are not yet exchanged, unless this is the last part of a step."""
    if isinstance(model, DistributedDataParallel) and not last:
        return model.no_sync()
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last)
    return nullcontext()


def whole(tensor: Tensor) -> Tensor:
    """Return a parameter, or a tensor like one, complete and on the CPU; all ranks have to ask."""
    tensor = tensor.detach()
    if isinstance(tensor, DTensor):
        tensor = tensor.full_tensor()
    return tensor.cpu().contiguous()


def share_of(tensor: Tensor, like: Tensor) -> Tensor:
    """Return this rank's share of a complete tensor, cut as a parameter is."""
    tensor = tensor.to(like.device)
    if isinstance(like, DTensor):
        return distribute_tensor(tensor, like.device_mesh, like.placements)
    return tensor
