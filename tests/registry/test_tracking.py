from __future__ import annotations

import copy
import json
import math
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from made_at_once import write_twice
from mlflow import MlflowClient
from mlflow.utils.validation import _validate_metric_name

from acutance.errors import UserError
from acutance.registry.address import connect
from acutance.registry.flatten import flatten
from acutance.registry.provenance import git_commit
from acutance.registry.tracker import metric_name
from acutance.registry.tracking import (
    NON_FINITE,
    StageTracker,
    finish,
    log_file,
    log_json,
    log_table,
    pipeline_run,
    stage_run,
)

MARK, OTHER = "0123456789abcdef", "fedcba9876543210"


def steps(client: MlflowClient, run_id: str, metric: str) -> list[int]:
    return [entry.step for entry in client.get_metric_history(run_id, metric)]


def test_run_continues_in_a_new_process_with_the_same_fingerprint(storage: str) -> None:
    first = connect(storage)
    run = pipeline_run(first, "restorers", "quickstart", MARK, {"note": "first"})
    finish(first, run, "KILLED")
    second = connect(storage)
    assert pipeline_run(second, "restorers", "quickstart", MARK, {"note": "second"}) == run
    found = second.get_run(run)
    assert (found.info.status, found.data.tags["note"]) == ("RUNNING", "second")
    assert pipeline_run(second, "restorers", "quickstart", OTHER) != run
    finish(second, run)
    assert second.get_run(run).info.status == "FINISHED"


def test_run_of_another_kind_is_another_run_and_continues(client: MlflowClient) -> None:
    pipeline = pipeline_run(client, "restorers", "quickstart", MARK)
    campaigns = {pipeline_run(client, "restorers", "search", MARK, {"acutance.kind": "campaign"}) for _ in range(3)}
    assert len(campaigns) == 1
    assert pipeline not in campaigns


def test_stage_lies_below_its_pipeline_and_continues(client: MlflowClient) -> None:
    parent, other = (pipeline_run(client, "restorers", "quickstart", mark) for mark in (MARK, OTHER))
    stage = stage_run(client, parent, "gan", MARK, {"optimiser": {"betas": [0.9, 0.999]}})
    assert stage != parent
    assert client.get_run(stage).data.tags["mlflow.parentRunId"] == parent
    assert stage_run(client, parent, "gan", MARK, {"optimiser": {"betas": [0.5, 0.9]}, "steps": 3}) == stage
    assert client.get_run(stage).data.params == {"optimiser.betas": "[0.9, 0.999]", "steps": "3"}
    assert stage_run(client, other, "gan", MARK) != stage


def test_files_lie_beside_the_database(client: MlflowClient, storage: str, run_id: str, tmp_path: Path) -> None:
    (tmp_path / "sheet.png").write_bytes(b"picture")
    log_file(client, run_id, tmp_path / "sheet.png", "sheets")
    log_json(client, run_id, "config.json", {"scale": 4})
    kept = {path.name: path for path in (Path(storage) / "mlartifacts").rglob("*") if path.is_file()}
    assert set(kept) == {"sheet.png", "config.json"}
    assert json.loads(kept["config.json"].read_text()) == {"scale": 4}


def test_table_is_replaced_not_appended_to(client: MlflowClient, run_id: str) -> None:
    rows = [{"picture": "a", "psnr_y": 30.5}, {"picture": "b", "psnr_y": math.nan, "niqe": None}]
    log_table(client, run_id, "per_picture.json", [{"picture": "old"}])
    log_table(client, run_id, "per_picture.json", rows)
    table = pd.read_json(client.download_artifacts(run_id, "per_picture.json"), orient="split")
    assert list(table.columns) == ["picture", "psnr_y", "niqe"]
    assert table["picture"].tolist() == ["a", "b"]
    assert table["psnr_y"].tolist()[0] == 30.5
    assert math.isnan(table["psnr_y"].tolist()[1])
    assert json.loads(client.get_run(run_id).data.tags["mlflow.loggedArtifacts"]) == [
        {"path": "per_picture.json", "type": "table"}
    ]


def test_deleted_experiment_says_how_to_bring_it_back(client: MlflowClient) -> None:
    run = pipeline_run(client, "gone", "quickstart", MARK)
    experiment = client.get_run(run).info.experiment_id
    client.delete_experiment(experiment)
    with pytest.raises(UserError, match=f"restore --experiment-id {experiment}"):
        pipeline_run(client, "gone", "quickstart", MARK)


def test_settings_become_dotted_keys() -> None:
    settings = {
        "network": {"type": "dsrgan", "init": {".": "fidelity"}},
        "objective": [{"name": "pixel", "weight": 0.2}, {"name": "gan", "weight": 5e-3}],
        "doubled": [{"type": "pixel"}, {"type": "pixel"}],
        "milestones": [1, 2],
        "ema": None,
        "augment": True,
        "empty": {},
    }
    assert flatten(settings) == {
        "network.type": "dsrgan",
        "network.init..": "fidelity",
        "objective.pixel.name": "pixel",
        "objective.pixel.weight": "0.2",
        "objective.gan.name": "gan",
        "objective.gan.weight": "0.005",
        "doubled.0.type": "pixel",
        "doubled.1.type": "pixel",
        "milestones": "[1, 2]",
        "ema": "null",
        "augment": "true",
        "empty": "{}",
    }


def test_many_long_and_odd_parameters_fit(client: MlflowClient, run_id: str) -> None:
    parent = client.get_run(run_id).data.tags["mlflow.parentRunId"]
    settings = {"many": {f"p{i}": i for i in range(250)}, "long": "x" * 9000, "a/b?c": {"ü": 1}, "k" * 300: 1}
    params = client.get_run(stage_run(client, parent, "odd", OTHER, settings)).data.params
    assert len(params) == 253
    assert len(params["long"]) == 6000
    assert params["a_b_c.ü"] == "1"


def test_more_metrics_than_a_call_takes(client: MlflowClient, run_id: str) -> None:
    rows = [(step, {f"m{i}": step + i / 10 for i in range(7)}) for step in range(1, 401)]
    StageTracker(client.tracking_uri, run_id).metrics(rows)
    for i in (0, 6):
        assert steps(client, run_id, f"m{i}") == list(range(1, 401))
    assert client.get_run(run_id).data.metrics["m3"] == 400.3


def test_values_that_are_not_finite_are_counted(client: MlflowClient, run_id: str) -> None:
    tracker = StageTracker(client.tracking_uri, run_id)
    tracker.metrics([(1, {"loss": 1.0}), (2, {"loss": math.nan, "other": math.inf}), (3, {"loss": 3.0})])
    assert steps(client, run_id, "loss") == [1, 3]
    assert steps(client, run_id, "other") == []
    assert [(m.step, m.value) for m in client.get_metric_history(run_id, NON_FINITE)] == [(2, 2.0)]


@given(st.text(max_size=300) | st.text(alphabet="a/.: ", max_size=9))
@example("psnr_y on s3://bucket/a")
@example("psnr_y on ./photographs (2024), selected")
@example("..")
@example("/a")
def test_every_name_of_a_metric_reaches_the_store_and_stays_another(name: str) -> None:
    if name:
        _validate_metric_name(metric_name(name))
        assert metric_name(name) != metric_name(f"{name}?")


def test_plain_names_of_metrics_stay() -> None:
    for name in ("psnr_y on Set5", "psnr_y on ./a", "psnr_y on /photographs/é", "validation.loss", "system/cpu"):
        assert metric_name(name) == name


def test_tracker_neither_starts_nor_ends_a_run(client: MlflowClient, run_id: str) -> None:
    finish(client, run_id)
    StageTracker(client.tracking_uri, run_id).metrics([(1, {"loss": 1.0})])
    assert client.get_run(run_id).info.status == "FINISHED"
    experiment = client.get_run(run_id).info.experiment_id
    assert len(client.search_runs([experiment])) == 2


def test_tracker_travels_without_what_it_remembers_and_hides_its_address(client: MlflowClient, run_id: str) -> None:
    tracker = StageTracker(client.tracking_uri, run_id)
    tracker.metrics([(5, {"loss": 1.0})])
    StageTracker(client.tracking_uri, run_id).metrics([(6, {"loss": 1.0})])
    arrived = copy.copy(tracker)
    assert arrived == tracker
    arrived.metrics([(6, {"loss": 9.0}), (7, {"loss": 2.0})])
    assert steps(client, run_id, "loss") == [5, 6, 7]
    assert "secret" not in repr(StageTracker("http://me:secret@host", run_id))


def test_metric_that_starts_late_is_not_taken_for_a_repetition(client: MlflowClient, run_id: str) -> None:
    tracker = StageTracker(client.tracking_uri, run_id)
    tracker.metrics([(step, {"loss": 1.0}) for step in range(10)])
    StageTracker(client.tracking_uri, run_id).metrics([(3, {"loss": 1.0, "psnr_y": 20.0})])
    assert steps(client, run_id, "psnr_y") == [3]
    assert steps(client, run_id, "loss") == list(range(10))


def test_processes_write_at_once_and_go_on_after_a_kill(client: MlflowClient, storage: str) -> None:
    write_twice(client, storage)


def test_commit_is_known_in_a_checkout_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("acutance.registry.provenance.__file__", str(tmp_path / "provenance.py"))
    assert git_commit() is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "__init__.py").write_text("")
    subprocess.run([*git, "init", "--quiet"], check=True)
    assert git_commit() is None, "the file lies in a checkout that does not know it"
    subprocess.run([*git, "add", "__init__.py"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "x"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert git_commit() == head
    (tmp_path / "__init__.py").write_text("changed")
    assert git_commit() == f"{head}-dirty"
