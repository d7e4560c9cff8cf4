"""Folders of decoded columns on a node: kept while a process uses them and for some days after.

Older ones are deleted by the next process, and earlier where there is no space for others.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from acutance.storage.lock import lock

KEPT_SECONDS = 7 * 24 * 3600.0

USED = "used"
"""The file whose modification time is that of the last use; it is locked while the set is in use."""

_held: dict[int, int] = {}
"""Inode of each `used` file that this process has locked until it ends -> its descriptor."""


def use(cache: Path) -> None:
    """Make a set's folder, and keep it until this process ends."""
    while True:
        cache.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # it was freed just now
            file = os.open(cache / USED, os.O_RDWR | os.O_CREAT, 0o600)
            number = os.fstat(file).st_ino
            if number in _held:
                os.close(file)
            else:
                lock(file, shared=True)
                _held[number] = file
            if (cache / USED).stat().st_ino == number:
                os.utime(cache / USED)
                return


def free(folder: Path, needed: int = 0) -> None:
    """Delete sets that were not used for days; then the least recently used ones until `needed` bytes are free."""
    for used in sorted(folder.glob(f"*/{USED}"), key=_last):
        if time.time() - _last(used) > KEPT_SECONDS or shutil.disk_usage(folder).free < needed:
            _delete(used)


def _last(used: Path) -> float:
    try:
        return used.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _delete(used: Path) -> None:
    """Delete a set unless a process uses it."""
    with suppress(OSError), open(used) as file:
        lock(file, wait=False)
        shutil.rmtree(used.parent, ignore_errors=True)
