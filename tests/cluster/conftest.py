"""One real Ray head, started as a user starts it: by infra/local-cluster.sh."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from made_for_cluster import Head, processes

from command_line import REPOSITORY, environment


@pytest.fixture(scope="session")
def head() -> Iterator[Head]:
    port, dashboard, client = _free_ports(3)
    folder = Path(tempfile.mkdtemp(prefix="acr-", dir="/tmp"))
    settings = {
        "CPUS": "2",
        "PORT": str(port),
        "DASHBOARD_PORT": str(dashboard),
        "CLIENT_PORT": str(client),
        "CLUSTER_DIR": str(folder),
        "PYTHON": sys.executable,
    }
    script = [str(REPOSITORY / "infra" / "local-cluster.sh")]
    try:
        started = subprocess.run(
            script, env=environment(**settings), capture_output=True, text=True, timeout=240, check=False
        )
        assert started.returncode == 0, started.stderr
        yield Head(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", started.stdout, folder)
    finally:
        _end(folder)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def _end(folder: Path) -> None:
    """Stop the head as its own output says, then make sure that nothing is left."""
    noted = folder / "head.pid"
    if noted.is_file():
        leader = int(noted.read_text())
        for deed in (signal.SIGTERM, signal.SIGKILL):
            for pid in [leader] if deed is signal.SIGTERM else processes(leader):
                _signal(pid, deed)
            limit = time.monotonic() + 20
            while processes(leader) and time.monotonic() < limit:
                time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


def _signal(pid: int, deed: signal.Signals) -> None:
    try:
        os.kill(pid, deed)
    except ProcessLookupError:
        return
