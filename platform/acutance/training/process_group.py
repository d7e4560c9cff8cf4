"""How workers come to train together: the one way into a process group, and whose error it is when one breaks.

Both ways of starting workers go through here: Ray Train's groups (`launch`) and the groups of trials
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
"""How long workers wait for one another: longer than a validation by worker 0, a set that a fresh node has still to
decode, or a store that is waited for. One that fails or dies is noticed at once, not by this."""

CONSEQUENCES = ("gloo/transport", "Connection closed by peer", "Connection reset by peer", "Timed out waiting")
"""What torch says to a worker whose partner is gone; without a class of its own where it comes from gloo."""


def backend_of(gpus: float) -> str:
    """Return what workers speak by, given the GPUs of each."""
    return "nccl" if gpus else "gloo"


def open_address() -> str:
    """Return HOST:PORT under which worker 0, this process, will be found by the others."""
    host = get_node_ip_address()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind(("", 0))
        return joined(host, int(probe.getsockname()[1]))


def enter(address: str, rank: int, world: int, gpus: float) -> str:
    """Enter the process group of `world` workers; one alone needs none. Return the device that this worker trains on.

    Args:
        address: of worker 0, as `open_address` gave it there.
        gpus: that this worker was promised.

    Raises:
        TrainingError: when it was promised a GPU and sees none.
    """
    device = device_of(gpus)
    if world > 1:
        choose_interface()
        dist.init_process_group(
            backend_of(gpus), init_method=f"tcp://{address}", rank=rank, world_size=world, timeout=TIMEOUT
        )
    return device


def leave() -> None:
    """Leave the process group, also one whose other workers are gone."""
    if dist.is_initialized():
        dist.destroy_process_group()


def device_name(gpus: float) -> str:
    """Return in words what this worker computes on."""
    return f"cuda ({torch.cuda.get_device_name()})" if gpus else "cpu"


def described(devices: list[str], gpus: float) -> str:
    """Return a sentence about all workers, from what each says of its device."""
    count, kinds = len(devices), ", ".join(sorted(set(devices)))
    return f"{count} worker{'s' if count > 1 else ''} on {kinds}, {backend_of(gpus)}"


def device_names(gpus: float, world: int) -> list[str]:
    """Return what each worker computes on, in their order; every worker of the group calls this."""
    devices: list[str] = [device_name(gpus)] * world
    if world > 1:
        dist.all_gather_object(devices, device_name(gpus))
    return devices


def cause(failures: Iterable[BaseException]) -> BaseException:
    """Return the failure that the others follow from: an error of ours, then any other, then a death.

    Whose process died comes last but for those that merely lost their connection to it.
    """
    return min(map(_unwrapped, failures), key=_rank)


def is_loss(error: BaseException) -> bool:
    """Tell whether a failure says no more than that a process, a node or a connection is gone."""
    return _rank(_unwrapped(error)) >= 2


def lost(error: BaseException) -> LostError:
    """Return what there is to say of a failure that `is_loss`."""
    return LostError(
        f"a worker was lost{' with its node' if is_node_loss(error) else ''}: {last_words(error)}",
        fix="run the same command again to go on from the last checkpoint",
    )


def is_node_loss(error: BaseException) -> bool:
    """Tell whether a process died because its node did; Ray says so in words."""
    return isinstance(error, NodeDiedError) or (isinstance(error, RayActorError) and "its node has died" in str(error))


def last_words(error: BaseException) -> str:
    """Return the last line of an error's text: torch and Ray put what happened there, behind traces."""
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
    """Take an error out of what Ray wraps around one that was raised elsewhere."""
    inner = getattr(error, "_base_exc", None) or getattr(error, "cause", None)
    return inner if isinstance(inner, BaseException) else error
