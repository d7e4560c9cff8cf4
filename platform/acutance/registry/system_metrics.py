"""What the machine does while it trains: CPU, memory, GPU, named as MLflow's page of system metrics expects.

Taken with each report of losses and recorded in the same call, on the same axis of steps. MLflow has a thread of its
own for this; it needs two more packages, asks the server for the run's status every time, and goes on measuring
whatever its process does next until the run is ended elsewhere.
"""

from __future__ import annotations

import sys

import psutil

MEGABYTE = 1e6


def cpu_seconds() -> dict[str, float]:
    """Return how long the CPUs were busy and how long they were there, in seconds since boot."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)  # waiting for a disk is not work
    every = sum(times[:8])  # a guest's, which follow, are part of the user's
    return {"busy": every - idle, "all": every}


def usage(since: dict[str, float]) -> dict[str, float]:
    """Return metric -> value: this machine's (the host's, in a container), and the GPU's that torch trains on.

    Args:
        since: the `cpu_seconds` from which the CPU's share is counted; set to the present ones.
    """
    return {f"system/{name}": value for name, value in {**_cpu(since), **_memory(), **_gpu()}.items()}


def _cpu(since: dict[str, float]) -> dict[str, float]:
    before, now = dict(since), cpu_seconds()
    since.update(now)
    passed = now["all"] - before.get("all", 0.0)
    if not before or passed <= 0:
        return {}
    return {"cpu_utilization_percentage": 100 * (now["busy"] - before["busy"]) / passed}


def _memory() -> dict[str, float]:
    host = psutil.virtual_memory()
    used = host.total - host.available
    return {
        "system_memory_usage_megabytes": used / MEGABYTE,
        "system_memory_usage_percentage": 100 * used / host.total,
        "process_memory_megabytes": psutil.Process().memory_info().rss / MEGABYTE,
    }


def _gpu() -> dict[str, float]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    index = torch.cuda.current_device()  # asking about another one would take memory there
    free, total = torch.cuda.mem_get_info(index)
    found = {
        f"gpu_{index}_memory_usage_megabytes": (total - free) / MEGABYTE,
        f"gpu_{index}_memory_usage_percentage": 100 * (total - free) / total,
    }
    try:
        return {**found, f"gpu_{index}_utilization_percentage": float(torch.cuda.utilization(index))}
    except (ModuleNotFoundError, RuntimeError):
        return found  # the driver tells it only through the package nvidia-ml-py
