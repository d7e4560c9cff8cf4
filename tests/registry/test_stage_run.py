"""When a stage's run begins and ends, and where it is opened."""

from __future__ import annotations

import copy
import time
from pathlib import Path

from mlflow import MlflowClient

from acutance.registry.runs import linked, stage_run
from acutance.registry.stage_run import StageRun
from acutance.registry.tracking import pipeline_run


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
    assert second.data.tags["acutance.folder"] == str(tmp_path)


def test_a_run_that_was_cut_short_goes_on(client: MlflowClient, tmp_path: Path) -> None:
    parent = pipeline_run(client, "restorers", "quickstart", "a" * 16)
    for _ in range(2):
        again = stage(client, parent, "gan", tmp_path)
        again.begin()
    [run] = [run for run in client.search_runs(["1"]) if run.info.run_id != parent]
    assert run.info.status == "RUNNING"
    again.close()
    assert client.get_run(run.info.run_id).info.status == "FINISHED"


def test_a_run_leads_to_the_folder_of_its_outputs(client: MlflowClient) -> None:
    parent = pipeline_run(client, "restorers", "quickstart", "a" * 16)
    tags = linked("s3://key:hunter2@bucket/outputs/quickstart/gan-5d590f9a")
    run_id = stage_run(client, parent, "gan", "b" * 16, tags=tags)
    tags = client.get_run(run_id).data.tags
    assert tags["acutance.folder"].endswith("bucket/outputs/quickstart/gan-5d590f9a")
    assert tags["mlflow.note.content"] == f"Outputs: {tags['acutance.folder']}"
    assert "hunter2" not in str(tags)
    client.set_tag(run_id, "mlflow.note.content", "the one for the paper")
    stage_run(client, parent, "gan", "b" * 16, tags=linked("/moved/outputs/quickstart/gan-5d590f9a"))
    tags = client.get_run(run_id).data.tags
    assert (tags["acutance.folder"], tags["mlflow.note.content"]) == (
        "/moved/outputs/quickstart/gan-5d590f9a", "the one for the paper"
    )  # fmt: skip
