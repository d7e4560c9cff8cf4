"""When a stage's run begins and ends, and where it is opened."""

from __future__ import annotations

import copy
import time
from pathlib import Path

from mlflow import MlflowClient

from acutance.registry import pipeline_run
from acutance.registry.stage_run import StageRun


def stage(client: MlflowClient, parent: str, name: str, folder: Path) -> StageRun:
    made = StageRun(client.tracking_uri, parent, name, f"{name} of a test", {"steps": 1}, {"note": name}, str(folder))
    return copy.deepcopy(made)  # by the protocol of pickle, as it travels to a worker


def test_a_run_begins_and_ends_with_the_training_of_its_stage(client: MlflowClient, tmp_path: Path) -> None:
    parent = pipeline_run(client, "restorers", "quickstart", "a" * 16)
    stages = [stage(client, parent, name, tmp_path) for name in ("fidelity", "gan")]
    assert len(client.search_runs(["1"])) == 1, "none has begun"
    began = []
    for one in stages:
        time.sleep(0.05)
        began.append(time.time_ns() // 1_000_000)
        one.begin()
        one.metrics([(1, {"loss": 1.0})])
        one.close()
    first, second = sorted(
        (run for run in client.search_runs(["1"]) if run.info.run_id != parent), key=lambda run: run.info.start_time
    )
    assert [run.info.run_name for run in (first, second)] == ["fidelity", "gan"]
    assert began[0] <= first.info.start_time <= first.info.end_time <= began[1] <= second.info.start_time
    assert (second.info.status, second.data.metrics["loss"], second.data.tags["note"]) == ("FINISHED", 1.0, "gan")


def test_a_run_that_was_cut_short_goes_on(client: MlflowClient, tmp_path: Path) -> None:
    parent = pipeline_run(client, "restorers", "quickstart", "a" * 16)
    for _ in range(2):
        again = stage(client, parent, "gan", tmp_path)
        again.begin()
    [run] = [run for run in client.search_runs(["1"]) if run.info.run_id != parent]
    assert run.info.status == "RUNNING"
    again.close()
    assert client.get_run(run.info.run_id).info.status == "FINISHED"
