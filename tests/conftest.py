"""What every test may ask for."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from acutance.silence import silence_libraries
from acutance.storage import patience
from command_line import ASTRAY, DATA, Here, in_this_process
from made_buckets import Bucket, name_endpoint, opened, served


def pytest_configure() -> None:
    for name in ASTRAY:  # a test asks for what it needs: it meets the same environment everywhere
        os.environ.pop(name, None)
    silence_libraries()
    torch.set_num_threads(1)
    # A shell starts what it puts into the background deaf to Ctrl-C, and tests press it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one Ray end before another starts: the shared one, that of a module, the head; idle they cost time, too."""
    order = ("own_cluster", "head")
    items.sort(key=lambda item: [name in getattr(item, "fixturenames", ()) for name in reversed(order)])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was skipped, and why: a line a reason."""
    reasons = Counter(
        re.sub(r"^Skipped: ", "", report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr))
        for report in terminalreporter.stats.get("skipped", [])
    )
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count} skipped: {reason}", yellow=True)


@pytest.fixture(autouse=True)
def same_path() -> Iterator[None]:
    """MLflow puts a loaded model's own copy of the code first, where processes started later would find it."""
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of benchmark pictures, parameter files and weights; tests that need it skip where it is absent."""
    if DATA is None or not DATA.is_dir():
        pytest.skip("no benchmark data: set ACUTANCE_DATA")
    return DATA


@pytest.fixture
def weights(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameter files are where the benchmark data is."""
    monkeypatch.setenv("ACUTANCE_WEIGHTS", str(data_root))


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No parameter file is anywhere."""
    monkeypatch.delenv("ACUTANCE_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Any]:
    """An S3 endpoint over HTTP in this process."""
    with served() as server:
        yield server


@pytest.fixture
def bucket(s3_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket of the test's own, named to this process and to all that it starts by the environment."""
    with opened(s3_server, monkeypatch) as found:
        yield found


@pytest.fixture
def here() -> Here:
    """Runs a command in the test's own process."""
    return in_this_process


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[ExitStack]:
    """Holds the connection to the Ray of `cluster`; `own_cluster` and `head` close it first."""
    with ExitStack() as connection:
        yield connection


@pytest.fixture(scope="session")
def cluster(shared_ray: ExitStack, s3_server: Any) -> None:
    """One local Ray of two CPUs for all tests that leave it whole: a start, and the imports of a worker, take seconds.

    Its workers know the S3 endpoint, and are told from those of others by ACUTANCE_TEST.
    """
    from acutance.cluster.connect import connect

    with pytest.MonkeyPatch.context() as patch:
        name_endpoint(s3_server, patch)
        patch.setenv("ACUTANCE_TEST", str(os.getpid()))
        patch.setenv("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # a process a training that waits for a cloud's notice
        shared_ray.enter_context(connect("local", num_cpus=2))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said of outages; nothing has answered yet, and pauses are short."""
    told: list[str] = []
    monkeypatch.setattr(patience, "_targets", patience._Targets())
    monkeypatch.setattr(patience, "say", told.append)
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(patience, "LONGEST_PAUSE", 0.03)
    return told


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with MLflow's tables; making them takes seconds, copying them does not."""
    from acutance.registry.address import connect

    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        connect(str(folder))
    return folder / "mlflow.db"
