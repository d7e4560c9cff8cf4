"""A pipeline submitted to a cluster from the command line, followed to its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_for_cluster import Head

from command_line import acutance

pytestmark = pytest.mark.e2e


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_pipeline_runs_as_a_job_and_its_log_is_followed(head: Head, tmp_path: Path) -> None:
    storage = ("--storage", str(tmp_path))
    address = ("--address", head.dashboard)
    smoke = ("run", "pipelines/quickstart.yaml", "--profile", "smoke")
    done = acutance("jobs", "submit", *address, *storage, "--", *smoke)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "train: done" in done.stdout
    assert "models:/quickstart-x4-smoke/1" in done.stdout
    assert "SUCCEEDED" in done.stdout
    jobs = json.loads(acutance("jobs", "list", *address, "--json").stdout)["jobs"]
    assert "run pipelines/quickstart.yaml --profile smoke" in [job["command"] for job in jobs]
    # what the job made is where the same command finds it done
    again = acutance(*smoke, *storage, "--json")
    assert "everything is done already" in again.stderr
