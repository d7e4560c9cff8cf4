"""One lock for all that one process of a machine does at a time; a process that dies gives its locks back."""

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
        file: the lock's own file, which is made where it is not there and stays.
    """
    with open(file, "w") as opened:
        lock(opened)
        yield


def lock(file: IO[str] | int, *, shared: bool = False, wait: bool = True) -> None:
    """Lock an open file until it is closed.

    Args:
        file: a file, or its descriptor.
        shared: others may have it, too, that want no more than that.

    Raises:
        BlockingIOError: when another process has it, and this one is not to wait.
    """
    fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
