"""What the tests of clusters share: a head's addresses, Python in a process of its own, who is alive."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from command_line import REPOSITORY, environment


@dataclass(frozen=True)
class Head:
    """A running Ray head: addresses of the cluster and of its dashboard, what its script printed, its folder."""

    address: str
    dashboard: str
    printed: str
    folder: Path


def python(code: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run Python code to its end: Ray keeps one connection a process, and other tests may hold this one's."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def processes(session: int) -> dict[int, str]:
    """Return pid and command line of the living processes of a session, by the id of its leader."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            name = stat.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[3]) == session and fields[0] != "Z" and name:
            found[int(stat.parent.name)] = name
    return found
