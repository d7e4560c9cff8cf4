"""Tracking over a server that keeps files in S3; who writes has no keys to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from made_at_once import WRITERS, write_twice
from made_for_servers import free_port, mlflow_server
from moto.server import ThreadedMotoServer

from acutance.fingerprint import file_sha256
from acutance.registry.address import connect
from acutance.registry.package import log_model
from acutance.registry.resolve import resolve_model
from acutance.registry.tracking import pipeline_run

pytestmark = [pytest.mark.e2e, pytest.mark.long]

BUCKET = "acutance-tracking"
KEYS = {"AWS_ACCESS_KEY_ID": "of-the-server", "AWS_SECRET_ACCESS_KEY": "alone"}


@pytest.fixture(scope="module")
def s3() -> Iterator[tuple[str, Any]]:
    """An S3 endpoint's address, and a client with the server's keys."""
    endpoint = ThreadedMotoServer(port=0)
    endpoint.start()
    host, port = endpoint.get_host_and_port()
    address = f"http://{host}:{port}"
    keys = {key.lower(): value for key, value in KEYS.items()}
    bucket = boto3.client("s3", endpoint_url=address, region_name="us-east-1", **keys)
    bucket.create_bucket(Bucket=BUCKET)
    yield address, bucket
    endpoint.stop()


@pytest.fixture(scope="module")
def address(s3: tuple[str, Any], tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "mlflow.db").write_bytes(empty_database.read_bytes())
    backend, there = f"sqlite:///{folder}/mlflow.db", f"s3://{BUCKET}/mlflow"
    with mlflow_server(free_port(), folder, backend, there, MLFLOW_S3_ENDPOINT_URL=s3[0], **KEYS) as found:
        yield found


def test_runs_files_and_models_in_s3(
    address: str,
    s3: tuple[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    model_file: Any,
    picture: np.ndarray,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    for key in [*KEYS, "AWS_ENDPOINT_URL", "MLFLOW_S3_ENDPOINT_URL"]:
        monkeypatch.delenv(key, raising=False)
    client = connect(str(tmp_path))
    write_twice(client, str(tmp_path))
    run = pipeline_run(client, "restorers", "quickstart", "a" * 16)
    log_model(client, run, model_file(1), "in-s3", picture)
    path = resolve_model("models:/in-s3@candidate", str(tmp_path))
    assert file_sha256(path) == file_sha256(model_file(1))
    kept = [each["Key"] for each in s3[1].list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert all(key.startswith("mlflow/") for key in kept)
    assert sum(key.endswith("sheet.png") for key in kept) == WRITERS
    assert sum(key.endswith("model.safetensors") for key in kept) == 1
