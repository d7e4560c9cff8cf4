"""File locks between processes of a machine; they end with their process."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Let one process of this machine at a time into the block.

    Args:
        file: of the lock; it is made if missing, and kept.
    """
    with open(file, "w") as opened:
        lock(opened)
        yield


def lock(file: IO[str] | int, *, shared: bool = False, wait: bool = True) -> None:
    """Lock an open file until it is closed.

    Args:
        file: a file, or its descriptor.
        shared: other shared locks are allowed at the same time.

    Raises:
        BlockingIOError: when another process has it and `wait` is False.
    """
    fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
