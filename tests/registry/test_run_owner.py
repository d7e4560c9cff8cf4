from __future__ import annotations

import pytest
from mlflow import MlflowClient

from acutance.process import this_process
from acutance.registry.runs import finish, pipeline_run, stage_run
from process_family import another_process


def test_what_a_killed_process_left_running_is_ended_by_the_next_one(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with another_process(monkeypatch) as (mark, _):
        with monkeypatch.context() as patch:
            patch.setattr("acutance.registry.runs.this_process", lambda: mark)
            killed = pipeline_run(client, "restorers", "killed", "d" * 16)
            stage_run(client, killed, "gan", "e" * 16)
        pipeline_run(client, "restorers", "of this process", "a" * 16)
        mine = pipeline_run(client, "restorers", "another of it", "b" * 16)
        assert client.get_run(killed).info.status == "RUNNING"
    pipeline_run(client, "other pipelines", "elsewhere", "b" * 16)
    assert client.get_run(killed).info.status == "RUNNING", "experiments do not tidy up in one another"
    assert pipeline_run(client, "restorers", "another of it", "b" * 16) == mine
    place = client.get_run(killed).info.experiment_id
    states = {run.info.run_name: run.info.status for run in client.search_runs([place])}
    assert states == {"killed": "KILLED", "gan": "KILLED", "of this process": "RUNNING", "another of it": "RUNNING"}
    assert pipeline_run(client, "restorers", "killed", "d" * 16) == killed
    assert client.get_run(killed).info.status == "RUNNING"
    assert len(client.search_runs([place])) == 4


@pytest.mark.parametrize("status", ["FINISHED", "FAILED"])
def test_ended_runs_stay_as_they_ended(client: MlflowClient, status: str) -> None:
    run = pipeline_run(client, "restorers", "ended", "d" * 16)
    stage = stage_run(client, run, "gan", "e" * 16)
    for each in (stage, run):
        finish(client, each, status)  # type: ignore[arg-type]
        client.set_tag(each, "acutance.process", this_process() + "1")
    pipeline_run(client, "restorers", "next", "a" * 16)
    assert {client.get_run(each).info.status for each in (stage, run)} == {status}
