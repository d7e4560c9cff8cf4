"""What every test may ask for."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from made_buckets import Bucket, opened, served

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    torch.set_num_threads(1)
    # A shell starts what it puts into the background deaf to Ctrl-C, and tests press it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def same_path() -> Iterator[None]:
    """MLflow puts a loaded model's own copy of the code first, where processes started later would find it."""
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of benchmark pictures, parameter files and weights; tests that need it skip where it is absent."""
    root = Path(os.environ.get("ACUTANCE_DATA") or REPOSITORY.parent / "shared" / "data")
    if not root.is_dir():
        pytest.skip("no benchmark data: set ACUTANCE_DATA")
    return root


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
