"""The registry over a real `mlflow server`, and a package under a real `mlflow models serve`."""

from __future__ import annotations

import json
import math
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_for_servers import Server, answers, free_port, process

from acutance.errors import ModelError, UnreachableError
from acutance.fingerprint import file_sha256
from acutance.inference.restore import restore
from acutance.models.model_file import load_model
from acutance.registry.address import connect
from acutance.registry.gate import Measurements
from acutance.registry.package import log_model
from acutance.registry.promotion import history, promote, rollback
from acutance.registry.resolve import resolve_model
from acutance.registry.tracking import StageTracker, finish, log_table, pipeline_run, stage_run
from acutance.registry.versions import listing

pytestmark = pytest.mark.e2e

NAME = "sr-x2-served"

ModelFile = Callable[[int], Path]


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
    assert client.get_run(run).data.params == {"network.type": "rrdbnet", "acutance.chosen": "yes"}

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

    def measure(*files: Path | None) -> Measurements:
        seen.append([file_sha256(file) for file in files if file])
        return Measurements({"a": {"psnr_y": 27.0}}, {"a": {"psnr_y": 27.0}}, {"psnr_y": 0.0})

    client.set_registered_model_alias(NAME, "champion", "1")
    decision = promote(client, NAME, measure=measure, who="ada")
    assert (decision.accepted, decision.before) == (True, "1")
    assert seen == [[file_sha256(model_file(2)), file_sha256(model_file(1))]]
    assert listing(client)[0].aliases == {"candidate": "2", "champion": "2"}
    assert rollback(client, NAME, who="ada").after == "1"
    assert [decision.outcome for decision in history(client, NAME)] == ["moved outside", "accepted", "rolled back"]
    with pytest.raises(ModelError, match="versions 1, 2"):
        resolve_model(f"models:/{NAME}/3", storage)

    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{NAME}@candidate"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "-p", str(port)]
    with process(command, tmp_path / "serve.log", lambda: answers(f"http://127.0.0.1:{port}/ping")):
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
