"""One process or several: set-up under torchrun, and the few collective steps a run needs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from datasets.errors import UsageError


@dataclass(frozen=True)
class World:
    """This process among those that share a run."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """True in the one process that writes files and prints."""
        return self.rank == 0

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier()

    def any(self, flag: bool) -> bool:
        """True everywhere when `flag` is true in one process."""
        if self.size == 1:
            return flag
        votes = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        return bool(votes.item())

    def gather_rows(self, rows: Tensor, total: int) -> Tensor:
        """The rows that every process holds, in rank order, cut to `total`. Every process holds equally many."""
        if self.size == 1:
            return rows[:total]
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)[:total]

    def mean(self, values: Tensor) -> Tensor:
        """Element-wise mean over the processes."""
        if self.size > 1:
            dist.all_reduce(values)
            values = values / self.size
        return values

    def wrap(self, model: nn.Module, *, some_unused: bool) -> nn.Module:
        """For training: gradients are averaged over the processes. `some_unused`: not every step uses every weight."""
        if self.size == 1:
            return model
        devices = [self.device.index] if self.device.type == "cuda" else None
        # Running statistics are the first process's own, and shared before each evaluation; sharing them at each step
        # would change them under the features that a method keeps from one phase to the next.
        return DistributedDataParallel(
            model, device_ids=devices, find_unused_parameters=some_unused, broadcast_buffers=False
        )

    def share_buffers(self, model: nn.Module) -> None:
        """Give every process the first one's running statistics."""
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)


@contextmanager
def joined(device: str) -> Iterator[World]:
    """The world that torchrun describes in the environment, or this process alone. `device`: auto, cpu, cuda:1, …"""
    size, local_rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    chosen = _device(device, local_rank if size > 1 else None)
    if size == 1:
        yield World(chosen)
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield World(chosen, dist.get_rank(), size)
    finally:
        dist.destroy_process_group()


def _device(name: str, local_rank: int | None) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"device={name} is not a device: write cpu, cuda or cuda:0.") from None
    if device.type not in ("cpu", "cuda") or (device.type == "cpu" and device.index is not None):
        raise UsageError(f"device={name} cannot train: write cpu, cuda or cuda:0.")
    if device.type == "cuda":
        index = local_rank if local_rank is not None else (device.index or 0)
        if index >= torch.cuda.device_count():
            raise UsageError(f"device={name} is not there: {torch.cuda.device_count()} GPUs are visible.")
        return torch.device("cuda", index)
    return device
