"""The registry over a real `mlflow server`, and a package under a real `mlflow models serve`."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from acutance.errors import ModelError, UnreachableError
from acutance.fingerprint import file_sha256
from acutance.models.model_file import load_model
from acutance.models.restore import restore
from acutance.registry import (
    StageTracker,
    Verdict,
    connect,
    finish,
    history,
    listing,
    log_model,
    log_table,
    pipeline_run,
    promote,
    resolve_model,
    rollback,
    stage_run,
)

pytestmark = pytest.mark.e2e

NAME = "sr-x2-served"

ModelFile = Callable[[int], Path]


@contextmanager
def process(command: list[str], log: Path, ready: str, seconds: float = 120) -> Iterator[None]:
    """Run a command until its address answers; end it and its children afterwards."""
    folder = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": ""}
    with open(log, "wb") as out:
        server = subprocess.Popen(
            command, stdout=out, stderr=out, env=environment, cwd=log.parent, start_new_session=True
        )
    try:
        ends = time.monotonic() + seconds
        while not answers(ready):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < ends, log.read_text()
            time.sleep(0.2)
        yield
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[str]:
    """The address of a tracking server; its files go through it, as they would to S3."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    (folder / "mlflow.db").write_bytes(empty_database.read_bytes())
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    address = f"http://127.0.0.1:{port}"
    with process(command, folder / "server.log", f"{address}/health"):
        yield address


def test_everything_over_a_server_and_served(
    server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model_file: ModelFile, picture: np.ndarray
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    storage = str(tmp_path / "outputs")
    client = connect(storage)
    parent = pipeline_run(client, "restorers", "quickstart", "a" * 16)
    run = stage_run(client, parent, "gan", "b" * 16, {"network": {"type": "rrdbnet"}})
    assert stage_run(connect(storage), parent, "gan", "b" * 16, {"network": {"type": "other"}}) == run
    assert client.get_run(run).data.params == {"network.type": "rrdbnet"}

    for first in (1, 3):  # the second worker repeats some steps of the first
        rows = [(step, {"loss": step / 2, "bad": math.nan}) for step in range(first, first + 5)]
        StageTracker(client.tracking_uri, run).metrics(rows)
    assert [entry.step for entry in client.get_metric_history(run, "loss")] == list(range(1, 8))
    assert [entry.step for entry in client.get_metric_history(run, "non_finite")] == list(range(1, 8))
    log_table(client, run, "per_picture.json", [{"picture": "coffee", "psnr_y": 27.0}])

    versions = [log_model(client, run, model_file(seed), NAME, picture) for seed in (1, 2, 2)]
    assert [str(version.version) for version in versions] == ["1", "2", "2"]
    finish(client, run)
    path = resolve_model(f"models:/{NAME}@candidate", storage)
    assert path.is_relative_to(storage)
    assert file_sha256(path) == file_sha256(model_file(2))
    assert resolve_model(f"models:/{NAME}/2", storage) == path

    seen: list[list[str]] = []

    def judge(*files: Path | None) -> Verdict:
        seen.append([file_sha256(file) for file in files if file])
        return Verdict({"a": {"psnr_y": 27.0}}, {"a": {"psnr_y": 27.0}}, {"psnr_y": 0.0})

    client.set_registered_model_alias(NAME, "champion", "1")
    decision = promote(client, NAME, judge=judge, who="ada")
    assert (decision.accepted, decision.previous) == (True, "1")
    assert seen == [[file_sha256(model_file(2)), file_sha256(model_file(1))]]
    assert listing(client)[0].aliases == {"candidate": "2", "champion": "2"}
    assert rollback(client, NAME, who="ada").version == "1"
    assert [record.decision for record in history(client, NAME)] == ["rolled back", ""]
    with pytest.raises(ModelError, match="versions 1, 2"):
        resolve_model(f"models:/{NAME}/3", storage)

    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{NAME}@candidate"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "-p", str(port)]
    with process(command, tmp_path / "serve.log", f"http://127.0.0.1:{port}/ping"):
        served = invoke(port, picture[None])
        assert served.dtype == np.uint8
        assert np.array_equal(served[0], restore(*load_model(str(model_file(2))), picture)["image"])
        with pytest.raises(urllib.error.HTTPError, match="400"):
            invoke(port, picture)


def invoke(port: int, pictures: np.ndarray) -> np.ndarray:
    """Ask a served model to restore pictures."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        data=json.dumps({"inputs": pictures.tolist()}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        values = np.array(json.load(answer)["predictions"])
    assert values.min() >= 0
    assert values.max() <= 255
    return values.astype(np.uint8)


def test_server_that_goes_away_is_named(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    client = connect(str(tmp_path))
    run = pipeline_run(client, "restorers", "quickstart", "c" * 16)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    gone = f"http://me:secret@127.0.0.1:{free_port()}"
    with pytest.raises(UnreachableError) as caught:
        StageTracker(gone, run).metrics([(1, {"loss": 1.0})])
    assert "secret" not in str(caught.value)
