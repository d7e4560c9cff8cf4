"""Processes of a test's own: started in a session each, waited for, and ended with all that they started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

UP_SECONDS = 180
DOWN_SECONDS = 15


@dataclass(frozen=True)
class Host:
    """Where a node runs: its address, and the words that come before a command to run it there."""

    address: str = "127.0.0.1"
    enter: Sequence[str] = ()


@contextmanager
def process(
    command: Sequence[str], log: Path, host: Host, environment: Mapping[str, str], user: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in a session of its own; end it, and whatever it started, with the block."""
    inherited = {name: os.environ[name] for name in ("HOME", "LANG", "PYTHONPATH") if name in os.environ}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with open(log, "wb") as output:
        started = subprocess.Popen(
            [*host.enter, *command],
            cwd=log.parent,
            env={**inherited, "PATH": path, "RAY_USAGE_STATS_ENABLED": "0", **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user,
        )
    try:
        yield started
    except Exception as error:
        error.add_note(f"{log.name} ends: {log.read_text(errors='replace')[-1500:]}")
        raise
    finally:
        end(started)


def end(leader: subprocess.Popen[bytes]) -> None:
    """End a process and its session: asked first, then killed."""
    if leader.poll() is None:
        leader.terminate()
    limit = time.monotonic() + DOWN_SECONDS
    while session(leader.pid) and time.monotonic() < limit:
        leader.poll()
        time.sleep(0.1)
    for pid in session(leader.pid):
        _kill(pid)
    leader.wait()


def session(leader: int) -> list[int]:
    """Return the living processes of a session, by the id of its leader."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait_for(condition: Callable[[], bool], what: str, seconds: float = UP_SECONDS) -> None:
    """Return as soon as a condition holds; fail with the name of what did not come."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError(f"{what} did not come within {seconds:.0f} s")
        time.sleep(0.2)


def free_port() -> int:
    """Return a port that nothing listens on just now."""
    with socket.create_server(("", 0)) as probe:
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Tell whether anything answers over HTTP, whatever it says."""
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
