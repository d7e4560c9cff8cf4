"""The memory that this process may use: that of the machine, or of its container where that is less."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


def total_memory() -> int:
    """Return the bytes of memory of this machine, or the least limit of the containers around this process."""
    return min([psutil.virtual_memory().total, *(limit for limit, _ in _limits())])


def free_memory() -> int:
    """Return the bytes of memory that this process can still take before the machine or a container has none left."""
    return max(0, min([psutil.virtual_memory().available, *(limit - used for limit, used in _limits())]))


def _limits() -> Iterator[tuple[int, int]]:
    """Yield limit and use in bytes of each control group around this process that has a limit.

    Inside a container its own group may be mounted as the root, although /proc gives a longer path.
    """
    for folder, names in _groups():
        limit, used, cached = (folder / names[0], folder / names[1], names[2])
        try:
            # Cached files are freed at once, so they do not count as used. In version 1, no limit is written as 2^63.
            yield int(limit.read_text()), int(used.read_text()) - _statistic(folder / "memory.stat", cached)
        except (OSError, ValueError):
            continue  # "max", or the root group, which has no limit


def _groups() -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """Yield the folders of the groups around this process, with the names that limit, use and cached files have there.

    Both versions of control groups may be there at once (cgroups(7)).
    """
    version_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    version_2 = ("memory.max", "memory.current", "inactive_file")
    try:
        lines = (PROC / "self/cgroup").read_text().splitlines()
    except OSError:
        return  # no Linux
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "memory" in controllers.split(","):
            root = CGROUPS / controllers
            own = root / os.path.normpath(path).lstrip("/")
            for folder in (own, *own.parents):
                if folder.is_relative_to(root):
                    yield folder, version_1 if controllers else version_2


def _statistic(file: Path, name: str) -> int:
    lines = (line.split() for line in file.read_text().splitlines())
    return next((int(value) for key, value in lines if key == name), 0)
