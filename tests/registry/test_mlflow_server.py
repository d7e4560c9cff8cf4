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
from typing import NamedTuple

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
def process(command: list[str], log: Path, ready: str, seconds: float = 240) -> Iterator[None]:
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


class Server(NamedTuple):
    """A tracking server, and where it keeps files that go through it, as they would to S3."""

    address: str
    files: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Server]:
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    (folder / "mlflow.db").write_bytes(empty_database.read_bytes())
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    address = f"http://127.0.0.1:{port}"
    ready = f"{address}/api/2.0/mlflow/experiments/get?experiment_id=0"
    with process(command, folder / "server.log", ready):
        yield Server(address, folder / "artifacts")


def test_everything_over_a_server_and_served(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    model_file: ModelFile,
    picture: np.ndarray,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
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


def test_files_that_a_server_lost_and_a_server_that_went_away(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    model_file: ModelFile,
    picture: np.ndarray,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    client = connect(str(tmp_path))
    run = pipeline_run(client, "restorers", "quickstart", "c" * 16)
    log_model(client, run, model_file(9), "lost", picture)
    for file in server.files.rglob("model.safetensors"):
        file.unlink()
    with pytest.raises(ModelError, match="files of this version are gone"):
        resolve_model("models:/lost@candidate", str(tmp_path))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UnreachableError) as caught:
        StageTracker(f"http://me:secret@127.0.0.1:{free_port()}", run).metrics([(1, {"loss": 1.0})])
    assert "secret" not in str(caught.value)
