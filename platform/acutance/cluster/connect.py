"""Connects to Ray: the cluster that is named, a job's own, or a fresh one on this machine."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from acutance.cluster.job_environment import quiet_environment
from acutance.cluster.package import copy_code
from acutance.cluster.probe import PORT, check_cluster, check_port, dashboard_answers, in_job
from acutance.cluster.session import require_loopback, session_folder
from acutance.cluster.tokens import create_token, use_token
from acutance.cluster.watch import watched
from acutance.console import say
from acutance.errors import UnreachableError, UserError
from acutance.memory import total_memory
from acutance.parts.sources import allow_package, allowed_packages, known_sources, register
from acutance.silence import stay_silent

LOCAL = "local"
STORE_SHARE, STORE_LEAST, STORE_MOST = 8, 256 << 20, 8 << 30
"""The object store of a local Ray: an eighth of the memory within these bounds (bytes). Ray itself takes 30 %, but
other programs need memory too. What does not fit is spilled to disk."""

ATTEMPTS = 4
"""How often a Ray is started here before it is given up."""


@dataclass(frozen=True)
class Cluster:
    """What a connection reached.

    Attributes:
        address: "local", or the cluster's address.
        nodes, cpus, gpus: what it has, all jobs together.
    """

    address: str
    nodes: int
    cpus: float
    gpus: float


@contextmanager
def connect(address: str | None = None, *, num_cpus: int | None = None) -> Iterator[Cluster]:
    """Connect this process to Ray for the length of a `with` block.

    Where it is connected already, that connection is used and stays.

    Args:
        address: HOST:PORT of a cluster that this machine is a node of, "auto" for the one running here,
            "local" for a fresh one; default: RAY_ADDRESS (which Ray sets inside a job), else a fresh one.
            A fresh one ends with the block, and with this process even if that is killed.
        num_cpus: CPUs of a fresh one; default: all that this process may use.

    Raises:
        UserError: when the address is of a kind that does not serve.
        UnreachableError: when no cluster answers there within seconds, or it refuses the token.
        LostError: when Ray is gone while the block runs.
    """
    import ray

    if ray.is_initialized():
        yield _reached(address or "connected")
        return
    target = address or os.environ.get("RAY_ADDRESS") or LOCAL
    with session_folder() if target == LOCAL else nullcontext() as folder:
        if folder:
            _start(folder, num_cpus)
        else:
            _attach(target, named=bool(address))
        stay_silent()  # Ray sets the levels of its loggers when it starts
        with watched(ray.shutdown):
            yield _reached(target)


def _start(folder: Path, num_cpus: int | None) -> None:
    """Start a Ray for this process alone, with temporary files in the folder.

    Ray gives up when its processes have not connected within 30 s, which can happen on a busy machine.
    """
    require_loopback()
    create_token()
    store = min(max(total_memory() // STORE_SHARE, STORE_LEAST), STORE_MOST)
    options = {"num_cpus": num_cpus, "include_dashboard": False, "object_store_memory": store, **_with_sources({})}
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _init(address=LOCAL, _temp_dir=str(folder), **options)
            return
        except Exception as error:
            if "timed out" not in str(error) or attempt == ATTEMPTS:
                raise UnreachableError(
                    f"Ray did not start on this machine: {_first_line(error)}",
                    fix=f"look into {folder}/session_latest/logs; ACUTANCE_DEBUG=1 shows more",
                ) from error
            say("Ray did not start within its 30 s, as on a machine that is busy; trying again")
            _end_processes(folder)


def _end_processes(folder: Path) -> None:
    """End the processes that were started for the folder: after a failed start, Ray leaves them running."""
    import ray

    ray.shutdown()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any(str(folder) in word for word in process.cmdline()):
                process.kill()


def _attach(address: str, named: bool) -> None:
    """Join a cluster: one that the user named, or that of RAY_ADDRESS, which Ray sets inside a job."""
    _refuse_url(address)
    use_token()
    try:
        if named or not in_job():
            _check(address)
        _join(address)
    except UnreachableError as error:
        if named or in_job():
            raise
        fix = f"{error.fix}; or unset RAY_ADDRESS, and Ray starts on this machine"
        raise UnreachableError(error.what, where=f"{address} (RAY_ADDRESS)", fix=fix) from error
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise UnreachableError(
            f"the Ray cluster cannot be joined: {_first_line(error)}",
            where=address,
            fix="run it on a node of the cluster, or from elsewhere: acutance jobs submit -- COMMAND",
        ) from error


def _check(address: str) -> None:
    if address != "auto":
        check_port(address)
        if dashboard_answers(f"http://{address}"):
            raise UserError("this is a cluster's dashboard, not the cluster", where=address, fix=PORT)
    check_cluster(address)


def _join(address: str) -> None:
    """Join and send this package along, since a node may have another version or none; a job has sent its own."""
    if in_job():
        _init(address=address, **_with_sources({}))
        return
    with tempfile.TemporaryDirectory(prefix="acutance-code-") as folder:
        copy_code(Path(folder))
        modules = [str(Path(folder) / "acutance")]
        _init(address=address, **_with_sources({"py_modules": modules, "env_vars": quiet_environment()}))


def _with_sources(environment: dict[str, Any]) -> dict[str, Any]:
    """Return Ray's option for the environment of workers, which registers the user's files of parts there."""
    sources, packages = known_sources(), allowed_packages()
    if sources or packages:

        def register_sources() -> None:
            for source in sources:
                register(source.name, source.text)
            for package in packages:
                allow_package(package)

        environment = {**environment, "worker_process_setup_hook": register_sources}
    return {"runtime_env": environment} if environment else {}


def _refuse_url(address: str) -> None:
    if "://" not in address:
        return
    raise UserError(
        "a URL names a cluster's dashboard or Ray Client, and training runs over neither",
        where=address,
        fix="on a node of the cluster give HOST:PORT (6379 by default); from elsewhere: "
        "acutance jobs submit --address http://HOST:8265 -- COMMAND",
    )


def _init(**options: Any) -> None:
    import ray
    from ray._private import worker

    debug = bool(os.environ.get("ACUTANCE_DEBUG"))
    # Even without `log_to_driver`, Ray prints errors of nodes to standard output, amid our JSON.
    worker._worker_logs_enabled = debug
    with _same_sigterm_handler():
        ray.init(log_to_driver=debug, logging_level=logging.INFO if debug else logging.ERROR, **options)


@contextmanager
def _same_sigterm_handler() -> Iterator[None]:
    """Keep this process's handler of SIGTERM: Ray replaces it, ends at once and prints the stack of its C++."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as end:
        if end.code == signal.SIGTERM and callable(handler):  # Ray was asked while it started
            handler(signal.SIGTERM, None)
        raise
    if callable(handler) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _reached(address: str) -> Cluster:
    import ray

    resources = ray.cluster_resources()
    alive = sum(node["Alive"] for node in ray.nodes())
    return Cluster(address, alive, resources.get("CPU", 0.0), resources.get("GPU", 0.0))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
