"""Which process has a run open, and whether it is still there: a killed one cannot end its runs."""

from __future__ import annotations

import functools
import os
import socket
import time
from pathlib import Path

import psutil

from acutance.fingerprint import fingerprint

PROC = Path("/proc")


def this_process() -> str:
    """Return a mark of this process: its machine, its number and when it started; empty where that is not known."""
    started = _started(os.getpid())
    return f"{_machine()} {os.getpid()} {started}" if started else ""


def is_gone(mark: str) -> bool:
    """Tell whether the process of a mark has ended; of another machine's, nobody knows from here."""
    machine, _, process = mark.partition(" ")
    if not process or machine != _machine():
        return False
    number, _, started = process.partition(" ")
    return _started(int(number)) != started


def is_left(mark: str, begun: float, most: float) -> bool:
    """Tell whether what a process made at a time is nobody's: it is gone, or, of another machine's, too long ago.

    Args:
        begun: as `time.time()`.
        most: seconds after which another machine's process is taken for dead.
    """
    if mark.partition(" ")[0] == _machine():
        return is_gone(mark)
    return time.time() - begun > most


def _started(number: int) -> str:
    """Return when a process started, in hundredths of a second since boot; empty where there is none.

    Counted from the boot, since the time of day may be set while it runs.
    """
    try:
        process = psutil.Process(number)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return ""
        return str(round(100 * (process.create_time() - psutil.boot_time())))
    except psutil.Error:
        return ""


@functools.cache
def _machine() -> str:
    """Return a mark of this boot of this machine, or of this container: process numbers mean nothing outside."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return fingerprint([socket.gethostname(), boot, os.readlink(PROC / "self/ns/pid")])
    except OSError:
        return "unknown"
