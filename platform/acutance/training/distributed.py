"""What workers tell one another in a step: means of tensors, and who saw something that is not finite."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def rank_and_world_size() -> tuple[int, int]:
    """Return this worker's number and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def all_reduce_mean(tensors: list[Tensor]) -> list[Tensor]:
    """Return the mean of each tensor over the workers, by one all-reduce; alone, the tensors as they are."""
    if rank_and_world_size()[1] == 1:
        return tensors
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    flat /= rank_and_world_size()[1]
    parts = flat.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def from_worker_0(flags: list[bool], device: str) -> list[bool]:
    """Return worker 0's flags on every worker."""
    if rank_and_world_size()[1] == 1:
        return flags
    shared = torch.tensor(flags, dtype=torch.uint8, device=device)
    dist.broadcast(shared, src=0)
    return [bool(flag) for flag in shared.tolist()]


def all_gather_rows(values: Tensor) -> list[list[float]]:
    """Return each worker's values (one-dimensional, of one length)."""
    if rank_and_world_size()[1] == 1:
        return [values.tolist()]
    everyone = [torch.empty_like(values) for _ in range(rank_and_world_size()[1])]
    dist.all_gather(everyone, values.contiguous())
    return torch.stack(everyone).tolist()
