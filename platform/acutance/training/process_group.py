"""How workers join a process group, and which error counts when one breaks.

Both kinds of workers go through here: Ray Train's groups (`launch`) and the groups of trials
(`acutance.tuning.workers`).
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from datetime import timedelta

import torch
import torch.distributed as dist
from ray.exceptions import NodeDiedError, RayActorError
from ray.util import get_node_ip_address

from acutance.cluster.hardware import device_of
from acutance.cluster.probe import joined
from acutance.errors import AcutanceError, LostError
from acutance.training.gloo_interface import choose_interface

TIMEOUT = timedelta(minutes=40)
"""How long workers wait for each other. It must exceed a validation by worker 0, the decoding of a data set on a fresh
node, and an outage of the storage. A worker that fails or dies is noticed at once, without this."""

CONSEQUENCES = ("gloo/transport", "Connection closed by peer", "Connection reset by peer", "Timed out waiting")
"""What torch says to a worker whose partner is gone; gloo raises it without a class of its own."""


def backend_of(gpus: float) -> str:
    """Return the communication backend, given the GPUs of each worker."""
    return "nccl" if gpus else "gloo"


def open_address() -> str:
    """Return HOST:PORT at which the other workers reach this process, worker 0."""
    host = get_node_ip_address()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind(("", 0))
        return joined(host, int(probe.getsockname()[1]))


def enter(address: str, rank: int, world: int, gpus: float) -> str:
    """Join the process group of `world` workers (a single worker needs none); return the device to train on.

    Args:
        address: of worker 0, from `open_address`.
        gpus: how many this worker was given.

    Raises:
        TrainingError: when it was given a GPU and sees none.
    """
    device = device_of(gpus)
    if world > 1:
        choose_interface()
        dist.init_process_group(
            backend_of(gpus), init_method=f"tcp://{address}", rank=rank, world_size=world, timeout=TIMEOUT
        )
    return device


def leave() -> None:
    """Leave the process group, also when the other workers are gone."""
    if dist.is_initialized():
        dist.destroy_process_group()


def device_name(gpus: float) -> str:
    """Return the name of this worker's device."""
    return f"cuda ({torch.cuda.get_device_name()})" if gpus else "cpu"


def described(devices: list[str], gpus: float) -> str:
    """Return a description of all workers, from the names of their devices."""
    count, kinds = len(devices), ", ".join(sorted(set(devices)))
    return f"{count} worker{'s' if count > 1 else ''} on {kinds}, {backend_of(gpus)}"


def device_names(gpus: float, world: int) -> list[str]:
    """Return the devices of all workers by rank; every worker of the group must call this."""
    devices: list[str] = [device_name(gpus)] * world
    if world > 1:
        dist.all_gather_object(devices, device_name(gpus))
    return devices


def cause(failures: Iterable[BaseException]) -> BaseException:
    """Return the failure that caused the others: one of our errors, else any other error, else a lost process.

    A worker that only lost its connection to another one comes last.
    """
    return min(map(_unwrapped, failures), key=_rank)


def is_loss(error: BaseException) -> bool:
    """Return whether a failure only says that a process, a node or a connection is gone."""
    return _rank(_unwrapped(error)) >= 2


def lost(error: BaseException) -> LostError:
    """Return the error for a failure that `is_loss`."""
    return LostError(
        f"a worker was lost{' with its node' if is_node_loss(error) else ''}: {last_line(error)}",
        fix="run the same command again to go on from the last checkpoint",
    )


def is_node_loss(error: BaseException) -> bool:
    """Return whether a process died because its node did; Ray says so only in the text."""
    return isinstance(error, NodeDiedError) or (isinstance(error, RayActorError) and "its node has died" in str(error))


def last_line(error: BaseException) -> str:
    """Return the last line of an error's text: torch and Ray put the cause there, after the traces."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


def _rank(error: BaseException) -> int:
    if isinstance(error, LostError):
        return 2
    if isinstance(error, AcutanceError):
        return 0
    if isinstance(error, RayActorError):
        return 2
    follows = isinstance(error, dist.DistError) or any(words in str(error) for words in CONSEQUENCES)
    return 3 if follows else 1


def _unwrapped(error: BaseException) -> BaseException:
    """Return the original of an error that Ray wrapped because another process raised it."""
    inner = getattr(error, "_base_exc", None) or getattr(error, "cause", None)
    return inner if isinstance(inner, BaseException) else error
