"""Several processes that train one model, on torch's own distributed package: `torchrun` starts them, we join.

Everything that the loop reports or decides by is summed over the ranks, so that all of them see the same numbers and
take the same turn. One process is the case of one rank, with nothing to exchange.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from hnet_dna.errors import HNetError, TrainingError
from hnet_dna.model.lm import HNetLM
from hnet_dna.model.stack import Layer


def best_device() -> torch.device:
    """Return where this process computes: its own GPU where there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


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
    device = best_device()
    if "RANK" not in os.environ:
        yield Ranks(device=device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), device)
    except RuntimeError as error:
        if isinstance(error, HNetError) or not _is_broken_connection(error):
            raise
        rank = os.environ["RANK"]
        raise TrainingError(f"rank {rank}: another rank has ended; its own message says why") from None
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
        # Buffers are constants, the same on all ranks: a memory's words would be sent anew in each step.
        return DistributedDataParallel(model, broadcast_buffers=False)
    for module in model.modules():
        if isinstance(module, Layer):
            fully_shard(module)
    fully_shard(model)
    return model


def waiting(model: object, *, last: bool) -> AbstractContextManager[None]:
    """Return a context in which gradients are not yet exchanged, unless this is the last part of a step."""
    if isinstance(model, DistributedDataParallel) and not last:
        return model.no_sync()
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
