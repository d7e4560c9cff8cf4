"""Who descends from a process; a process of another's number."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from acutance.process import this_process


def family(parent: int) -> dict[int, str]:
    """Return pid and command line of the processes that a process started, and of those that they did."""
    started: dict[int, str] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            above = int(stat.read_text().rpartition(")")[2].split()[1])
            name = stat.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended meanwhile
            continue
        if above == parent:
            started |= {int(stat.parent.name): name, **family(int(stat.parent.name))}
    return started


def alive(pids: Iterable[int]) -> list[int]:
    """Return those of some processes that run; one that has ended and was not waited for does not."""
    return [pid for pid in pids if _state(pid) not in ("", "Z", "X")]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@contextmanager
def another_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Another process, and its mark as it would make it."""
    with subprocess.Popen(["sleep", "600"]) as child:
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: child.pid)
            mark = this_process()
        try:
            yield mark, child
        finally:
            child.kill()
