"""Jobs on a whole cluster: a head and two workers, MLflow over Postgres, everything stored on S3, nothing open."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from cluster_up import Team, missing, team

from command_line import Done, acutance

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1200)]

STORAGE = ("--storage", "s3://acutance/outputs")


@pytest.fixture(scope="module")
def running() -> Iterator[Team]:
    if reason := missing():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="act-", dir="/tmp"))
    folder.chmod(0o755)  # Postgres runs as another user
    try:
        with team(folder) as up:
            yield up
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def submit(team: Team, *command: str) -> Done:
    """Submit a command as one who knows Ray's token and nothing else, and follow it to its end."""
    done = acutance(
        "jobs", "submit", "--address", team.dashboard, *STORAGE, "--", *command, timeout=900, **team.submitter()
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert_no_secret(team, done.stdout + done.stderr)
    return done


def assert_no_secret(team: Team, text: str) -> None:
    held = [name for name, value in team.secrets.items() if "USERNAME" not in name and value in text]
    assert held == []


def keys(team: Team, bucket: str) -> list[str]:
    client = boto3.client(
        "s3",
        endpoint_url=team.s3,
        region_name="us-east-1",
        aws_access_key_id=team.secrets["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=team.secrets["AWS_SECRET_ACCESS_KEY"],
    )
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [item["Key"] for page in pages for item in page.get("Contents", [])]


def test_nothing_answers_without_its_secret(running: Team) -> None:
    for address in (f"{running.dashboard}/api/jobs/", f"{running.tracking}/api/2.0/mlflow/experiments/search"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(address)
        assert refused.value.code == 401
    stranger = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "wrong"}
    done = acutance("jobs", "list", "--address", running.dashboard, **stranger)
    assert done.returncode == 2
    assert "refuses the token" in done.stderr


def test_the_quickstart_as_a_job_with_everything_on_s3(running: Team) -> None:
    done = submit(running, "run", "pipelines/quickstart.yaml", "--profile", "smoke")
    assert "models:/quickstart-x4-smoke/1" in done.stdout
    stored = keys(running, "acutance")
    models = [key for key in stored if re.fullmatch(r"outputs/quickstart/\w+-\w{8}/model\.safetensors", key)]
    assert len(models) == 3, stored
    assert any(re.fullmatch(r"outputs/shards/photographs-\w{8}/manifest\.json", key) for key in stored), stored
    assert not [key for key in stored if key.startswith("outputs/ray/train-")], "Ray's own files are gone with the run"
    assert any(key.endswith("model.safetensors") for key in keys(running, "mlflow")), "the package goes through MLflow"
    # whoever may read finds it: the run, the model, a second run with nothing to do
    listed = acutance("models", "list", *STORAGE, "--json", **running.reader())
    assert listed.returncode == 0, listed.stderr
    assert "quickstart-x4-smoke" in listed.stdout
    again = submit(running, "run", "pipelines/quickstart.yaml", "--profile", "smoke")
    assert "everything is done already" in again.stdout


def test_a_campaign_of_six_trials_as_a_job(running: Team) -> None:
    space = ("search_spaces/quickstart.yaml", "profile=smoke", "budget.steps=40", "scheduler.first_rung=1")
    submit(running, "tune", *space, "--trials", "6")
    planned = acutance("tune", *space, "--trials", "6", *STORAGE, "--json", **running.reader())
    assert planned.returncode == 0, planned.stderr
    assert "everything is done already" in planned.stderr, "the study is in Postgres, for whoever asks next"
    outcome = json.loads(planned.stdout)
    assert [trial["number"] for trial in outcome["trials"]] == list(range(6))
    assert {trial["state"] for trial in outcome["trials"]} <= {"complete", "stopped"}
    assert outcome["winner"] in outcome["front"]
    assert outcome["picture"].startswith("s3://acutance/outputs/campaigns/")
    assert all(trial["model"].startswith("s3://acutance/outputs/campaigns/quickstart-") for trial in outcome["trials"])
    assert outcome["picture"].removeprefix("s3://acutance/") in keys(running, "acutance")


def test_what_the_dashboard_shows_of_a_job_holds_no_secret(running: Team) -> None:
    request = urllib.request.Request(
        f"{running.dashboard}/api/jobs/", headers={"Authorization": f"Bearer {running.secrets['RAY_AUTH_TOKEN']}"}
    )
    with urllib.request.urlopen(request) as answer:
        shown = answer.read().decode()
    assert "ACUTANCE_STORAGE" in shown
    assert_no_secret(running, shown)
