"""Killing any process at any moment is a normal event: the run ends with the weights of an undisturbed one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from command_line import REPOSITORY, acutance, environment

pytestmark = pytest.mark.e2e

PIPELINE = (
    "pipelines/quickstart.yaml",
    "stages.fidelity.steps=60",
    "stages.gan.steps=60",
    "stages.fidelity.checkpoint_every=7",
    "stages.gan.checkpoint_every=7",
    "stages.fidelity.report_every=5",
    "stages.gan.report_every=5",
)


def processes(mark: str, words: str) -> Iterator[int]:
    """Yield the processes that inherited a mark in their environment and have these words in their name."""
    for folder in Path("/proc").iterdir():
        try:
            marked = f"ACUTANCE_TEST={mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
            if marked and words.encode() in (folder / "cmdline").read_bytes():
                yield int(folder.name)
        except (OSError, ValueError):
            continue


def wait_for(condition: object, seconds: float) -> None:
    limit = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < limit, "what was waited for did not come"
        time.sleep(0.05)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_killed_worker_and_a_killed_driver_change_no_bit(tmp_path: Path) -> None:
    whole, disturbed = tmp_path / "whole", tmp_path / "disturbed"
    command = ["train", *PIPELINE, "--profile", "smoke", "--json"]
    done = acutance(*command, "--storage", str(whole))
    assert done.returncode == 0, done.stderr
    stages = json.loads(done.stdout)["stages"]
    folders = {stage["name"]: disturbed / Path(stage["model"]).parent.relative_to(whole) for stage in stages}
    shutil.copytree(whole / "shards", disturbed / "shards")

    mark = uuid.uuid4().hex
    driver = subprocess.Popen(
        [sys.executable, "-m", "acutance", *command, "--storage", str(disturbed)],
        cwd=REPOSITORY,
        env=environment(ACUTANCE_TEST=mark),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def checkpoints(stage: str) -> int:
        return len(list((folders[stage] / "checkpoints").glob("step-*.safetensors")))

    try:
        wait_for(lambda: checkpoints("fidelity") >= 1, 180)
        workers = list(processes(mark, "RayTrainWorker"))
        assert len(workers) == 2
        os.kill(workers[1], signal.SIGKILL)
        wait_for(lambda: checkpoints("gan") >= 1, 300)
        driver.kill()
        for worker in processes(mark, "RayTrainWorker"):  # or they might end the stage before Ray ends them
            os.kill(worker, signal.SIGKILL)
        driver.wait()
    finally:
        driver.kill()
        wait_for(lambda: not list(processes(mark, "RayTrain")), 30)  # nothing goes on training for a dead driver
    assert not (folders["gan"] / "done.json").exists()

    assert acutance(*command, "--storage", str(disturbed)).returncode == 0
    for stage in stages:
        theirs = Path(stage["model"]).read_bytes()
        assert (folders[stage["name"]] / "model.safetensors").read_bytes() == theirs, stage["name"]

    client = MlflowClient(f"sqlite:///{disturbed}/mlflow.db")
    experiment = client.get_experiment_by_name("quickstart")
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 4, "a run that was killed is continued, not begun anew"
    assert {run.info.status for run in runs if "mlflow.parentRunId" in run.data.tags} == {"FINISHED"}
    gan = next(run for run in runs if run.info.run_name == "gan")
    steps = [point.step for point in client.get_metric_history(gan.info.run_id, "total")]
    assert steps == list(range(1, 61))
