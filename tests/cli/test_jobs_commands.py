"""The commands of `acutance jobs`: an example in each one's help, and mistakes that are found before a cluster is."""

from __future__ import annotations

import json
import re

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from acutance.cli import app
from acutance.cli import jobs as commands
from acutance.errors import UserError
from command_line import Here

NAMES = [command.name for command in commands.app.registered_commands]


@pytest.mark.parametrize("name", NAMES)
def test_help_has_an_example(name: str) -> None:
    shown = CliRunner().invoke(app, ["jobs", name, "--help"], env={"COLUMNS": "160"}).output
    assert re.search(rf"^\s*acutance jobs {name} \S+", shown, re.MULTILINE), shown


def test_the_commands_are_these() -> None:
    assert sorted(NAMES) == ["list", "logs", "manifest", "status", "stop", "submit"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--env", "AWS_SECRET_ACCESS_KEY", "--", "doctor"], "may not go into a job"),
        (["--env", "ACUTANCE_STUDIES=postgresql://me:s3cr3t@db/x", "--", "doctor"], "address with a password"),
        (["--", "run", "../nowhere.yaml"], "no such file"),
    ],
)
def test_a_manifest_or_a_job_that_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        CliRunner().invoke(app, ["jobs", "manifest", "--storage", "s3://b/x", *words], catch_exceptions=False)
    assert "s3cr3t" not in str(refused.value)


def test_a_mistake_exits_with_2_and_a_manifest_is_all_of_standard_output(here: Here) -> None:
    options = ("--storage", "s3://b/x", "--env", "MLFLOW_TRACKING_URI=http://mlflow:5000", "--workers", "3")
    done = here("jobs", "manifest", *options, "--", "tune", "search_spaces/quickstart.yaml")
    assert done.returncode == 0, done.stderr
    assert YAML(typ="safe").load(done.stdout)["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"] == 3
    assert "--resume" in done.stderr
    wrong = here("jobs", "submit", "--env", "HOME", "--", "doctor", RAY_ADDRESS="127.0.0.1:1")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "--env HOME" in wrong.stderr
    assert "Traceback" not in json.dumps(wrong.stderr)
