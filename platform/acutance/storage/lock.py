"""One lock for all that one process of a machine does at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Let one process of this machine at a time into the block; a process that dies gives its lock back.

    Args:
        file: the lock's own file, which is made where it is not there and stays.
    """
    with open(file, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
