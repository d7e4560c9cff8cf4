"""Identifies processes, and tells whether one still runs: a killed process leaves runs, folders and leases behind."""

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
    """Return the key of this process: machine, process id and start time; empty where the start is unknown."""
    started = _started(os.getpid())
    return f"{_machine()} {os.getpid()} {started}" if started else ""


def is_gone(process_key: str) -> bool:
    """Return whether the process of a key has ended; False for one of another machine, of which nothing is known."""
    machine, _, process = process_key.partition(" ")
    if not process or machine != _machine():
        return False
    number, _, started = process.partition(" ")
    return _started(int(number)) != started


def is_abandoned(process_key: str, begun: float, most: float) -> bool:
    """Return whether what a process made is abandoned: the process has ended or, on another machine, it was long ago.

    Args:
        begun: as `time.time()`.
        most: seconds after which another machine's process is taken for dead.
    """
    if process_key.partition(" ")[0] == _machine():
        return is_gone(process_key)
    return time.time() - begun > most


def _started(number: int) -> str:
    """Return when a process started, in hundredths of a second since boot; empty where there is no such process.

    From the boot, since the time of day may be changed while it runs.
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
    """Return the key of this boot of this machine or container: process ids are unique within it only."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return fingerprint([socket.gethostname(), boot, os.readlink(PROC / "self/ns/pid")])
    except OSError:
        return "unknown"
