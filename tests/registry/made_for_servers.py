"""Servers of a test: each is a process of its own group, awaited until it answers and ended with its children."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import glob
from pathlib import Path
from typing import NamedTuple

import pytest

STORE_ANSWERS = "/api/2.0/mlflow/experiments/get?experiment_id=0"


class Server(NamedTuple):
    """A tracking server, and where it keeps files that go through it, as they would to S3."""

    address: str
    files: Path


@contextmanager
def process(command: list[str], log: Path, ready: Callable[[], bool], **environment: str) -> Iterator[None]:
    """Run a command until it is ready; end it and its children afterwards."""
    folder = str(Path(sys.executable).parent)
    settings = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": "", **environment}
    with open(log, "ab") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, env=settings, cwd=log.parent, start_new_session=True)
    try:
        ends = time.monotonic() + 240
        while not ready():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < ends, log.read_text()
            time.sleep(0.2)
        yield
    finally:
        with suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@contextmanager
def mlflow_server(port: int, folder: Path, backend: str, artifacts: str, **environment: str) -> Iterator[str]:
    """Run a tracking server, without its queue of background jobs; files go through it."""
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", backend, "--artifacts-destination", artifacts]
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **environment}
    with process(command, folder / "server.log", lambda: answers(address + STORE_ANSWERS), **environment):
        yield address


@contextmanager
def postgres() -> Iterator[str]:
    """Run a Postgres of the test's own, without a port; yield the URL of an empty database. Skip where it cannot be."""
    folders = [
        os.path.dirname(found) for found in [shutil.which("initdb"), *glob("/usr/lib/postgresql/*/bin/initdb")] if found
    ]
    if not folders:
        pytest.skip("no Postgres here: initdb is missing (Debian: apt-get install postgresql)")
    pytest.importorskip("psycopg2", reason="MLflow reaches Postgres through psycopg2, which is not installed")
    programs, folder = os.path.realpath(folders[-1]), tempfile.mkdtemp(prefix="acpg-", dir="/tmp")
    try:
        someone = _not_root(folder)
        subprocess.run(
            [*someone, f"{programs}/initdb", "-D", f"{folder}/data", "-U", "acutance", "-A", "trust", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=folder,
        )
        command = [*someone, f"{programs}/postgres", "-D", f"{folder}/data", "-k", folder]
        command += ["-c", "listen_addresses=", "-c", "fsync=off"]
        where = ["-h", folder, "-U", "acutance"]

        def ready() -> bool:
            done = subprocess.run([f"{programs}/pg_isready", *where], check=False, capture_output=True)
            return done.returncode == 0

        with process(command, Path(folder) / "postgres.log", ready):
            subprocess.run([f"{programs}/createdb", *where, "mlflow"], check=True, capture_output=True, cwd=folder)
            yield f"postgresql+psycopg2://acutance@/mlflow?host={folder}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _not_root(folder: str) -> list[str]:
    """Return what to put before a command, for Postgres refuses to run as root; give the folder to who runs it."""
    if os.getuid() != 0:
        return []
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("Postgres does not run as root, and there is no user postgres")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return ["runuser", "-u", "postgres", "--"]


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
