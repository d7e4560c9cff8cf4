"""A store that fails for some seconds in the middle of a training costs it some seconds."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest
from cluster_up_process import wait_for

from command_line import REPOSITORY, environment
from made_buckets import Bucket

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1500)]

COMMAND = (
    "train",
    "pipelines/quickstart.yaml",
    "--profile=smoke",
    "--stage=highpass",
    "stages.highpass.steps=400",
    "stages.highpass.checkpoint_every=10",
    "stages.highpass.report_every=10",
)


@pytest.mark.parametrize("fault", ["503 SlowDown", "cut"])
def test_a_training_outlives_an_outage_of_its_store(bucket: Bucket, tmp_path: Path, fault: str) -> None:
    store = boto3.client("s3", region_name="us-east-1")

    def checkpoints() -> bool:
        listed = store.list_objects_v2(Bucket=bucket.uri.removeprefix("s3://"), Prefix="out/quickstart/")
        return any("checkpoints/step" in item["Key"] for item in listed.get("Contents", []))

    with open(tmp_path / "log", "w+") as log:
        training = subprocess.Popen(
            [sys.executable, "-m", "acutance", *COMMAND, "--storage", f"{bucket.uri}/out"],
            cwd=REPOSITORY,
            env=environment(MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db"),
            stdout=log,
            stderr=log,
        )
        try:
            wait_for(lambda: checkpoints() or training.poll() is not None, "the first checkpoint", 600)
            bucket.fails(fault)
            time.sleep(15)
            bucket.failing = 0
            assert training.wait(timeout=600) == 0, (tmp_path / "log").read_text()
        finally:
            training.kill()
            training.wait()
    said = (tmp_path / "log").read_text()
    assert f"the storage {bucket.uri} does not answer (" in said
    assert f"the storage {bucket.uri} answers again, after " in said
    assert "training starts again" not in said
