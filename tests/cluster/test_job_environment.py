"""The environment of a job: names by an allow-list, addresses without passwords, paths that hold anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from acutance.cluster.job_environment import ALLOWED, environment, refuse_secret_words
from acutance.errors import UserError

SECRET_NAMES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SESSION_TOKEN",
    "RAY_AUTH_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "PGPASSWORD",
)
WITH_PASSWORD = (
    "http://me:s3cr3t@mlflow.example",
    "https://s3cr3t@mlflow.example",
    "postgresql://me:s3cr3t@db/mlflow",
    "postgresql+psycopg2://me:s3/cr#3t?s3cr3t@db/mlflow",
    "postgresql://db/mlflow?user=me&password=s3cr3t",
    "postgresql://db/mlflow?sslpassword=s3cr3t",
    "https://bucket.example/key?X-Amz-Signature=s3cr3t",
)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ALLOWED:
        monkeypatch.delenv(name, raising=False)


def test_outputs_and_runs_go_along_and_no_secret_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in SECRET_NAMES:
        monkeypatch.setenv(name, "s3cr3t")
    monkeypatch.setenv("ACUTANCE_DATA", "/not/asked/for")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///runs/mlflow.db")
    variables = environment("outputs")
    assert variables["ACUTANCE_STORAGE"] == str(tmp_path / "outputs")
    assert variables["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert variables["RAY_USAGE_STATS_ENABLED"] == "0"
    assert "ACUTANCE_DATA" not in variables, "a path of this machine would hide the nodes' own"
    assert "s3cr3t" not in str(variables)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    variables = environment("s3://bucket/outputs", ["MLFLOW_TRACKING_URI=http://mlflow:5000"])
    assert variables["ACUTANCE_STORAGE"] == "s3://bucket/outputs"
    assert variables["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"


def test_variables_that_are_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://s3.example:7070")
    given = [
        "AWS_ENDPOINT_URL",
        "ACUTANCE_DATA=pictures",
        f"ACUTANCE_WEIGHTS=/mnt/a{os.pathsep}b",
        "ACUTANCE_STUDIES=postgresql+psycopg2://me@db/studies",
    ]
    variables = environment("outputs", given)
    assert variables["AWS_ENDPOINT_URL"] == "http://s3.example:7070"
    assert variables["ACUTANCE_DATA"] == str(tmp_path / "pictures")
    assert variables["ACUTANCE_WEIGHTS"] == f"/mnt/a{os.pathsep}{tmp_path}/b"
    assert variables["ACUTANCE_STUDIES"] == "postgresql+psycopg2://me@db/studies"
    relative = environment("outputs", ["ACUTANCE_STUDIES=sqlite:///studies.db"])
    assert relative["ACUTANCE_STUDIES"] == f"sqlite:///{tmp_path}/studies.db"
    journal = environment("outputs", ["ACUTANCE_STUDIES=studies.journal"])
    assert journal["ACUTANCE_STUDIES"] == f"{tmp_path}/studies.journal"


@pytest.mark.parametrize("name", [*SECRET_NAMES, "HOME", "PYTHONPATH", "LD_PRELOAD", "HTTPS_PROXY"])
def test_a_variable_that_may_hold_a_secret_is_refused_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "s3cr3t")
    for text in (name, f"{name}=s3cr3t"):
        with pytest.raises(UserError, match="may not go into a job") as refused:
            environment("outputs", [text])
        assert refused.value.where == f"--env {name}"
        assert "environment of the cluster's nodes" in str(refused.value.fix)
        assert "s3cr3t" not in str(refused.value)


def test_a_near_name_and_a_name_without_value() -> None:
    with pytest.raises(UserError, match="did you mean ACUTANCE_DATA"):
        environment("outputs", ["ACUTANCE_DATE=/x"])
    for empty in ("ACUTANCE_DATA", "ACUTANCE_DATA=", "ACUTANCE_DATA= "):
        with pytest.raises(UserError, match="no value here"):
            environment("outputs", [empty])


@pytest.mark.parametrize("address", WITH_PASSWORD)
def test_an_address_with_a_password_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    with pytest.raises(UserError, match="environment of the cluster's nodes") as refused:
        environment("outputs", [f"ACUTANCE_STUDIES={address}"])
    assert "s3cr3t" not in str(refused.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(UserError, match="MLFLOW_TRACKING_PASSWORD") as refused:
        environment("outputs")
    assert "s3cr3t" not in str(refused.value)
    for word in (address, f"data.train={address}"):
        with pytest.raises(UserError, match="word 2 of the command") as refused:
            refuse_secret_words(["run", word])
        assert "s3cr3t" not in str(refused.value)


def test_harmless_words_and_addresses_pass() -> None:
    harmless = (
        "models:/sr@champion",
        "models:/sr-x4@candidate",
        "s3://bucket/a@b",
        "http://mlflow:5000",
        "postgresql+psycopg2://me@db:5432/studies?passfile=/home/me/.pgpass",
        "stages.gan.objective.adversarial.weight=0.01",
        "evaluate.on=[Set5, Set14]",
        "",
    )
    refuse_secret_words(harmless)
    environment("outputs", [f"ACUTANCE_STUDIES={harmless[4]}"])


@pytest.mark.parametrize("storage", ["s3://key:s3cr3t@bucket/x", "ftp://host/x"])
def test_a_storage_no_job_can_use(storage: str) -> None:
    with pytest.raises(UserError) as refused:
        environment(storage)
    assert "s3cr3t" not in str(refused.value)
