"""The RayJob that `jobs manifest` prints: the same command, every secret by name, nothing a cluster would refuse."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from acutance.cluster.manifest import SECRETS, Pods, rayjob
from acutance.errors import UserError
from command_line import REPOSITORY

TRACKED = ("MLFLOW_TRACKING_URI=http://mlflow:5000",)
COMMAND = ["run", "pipelines/quickstart.yaml", "stages.gan.steps=7", "evaluate.on=[a, b]"]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)


def text_of(command: list[str] = COMMAND, pods: Pods | None = None, **more: Any) -> str:
    settings = {"storage": "s3://bucket/outputs", "given": TRACKED, "working_dir": REPOSITORY, **more}
    return rayjob(command, pods or Pods("acutance:1"), **settings)


def job(command: list[str] = COMMAND, pods: Pods | None = None, **more: Any) -> dict[str, Any]:
    manifest: dict[str, Any] = YAML(typ="safe").load(text_of(command, pods, **more))
    return manifest


def groups(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    spec = manifest["spec"]["rayClusterSpec"]
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]


def containers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [container for group in groups(manifest) for container in group["template"]["spec"]["containers"]]


def test_it_runs_the_command_word_by_word_with_token_authentication() -> None:
    manifest = job()
    assert shlex.split(manifest["spec"]["entrypoint"]) == ["python", "-m", "acutance", *COMMAND]
    assert manifest["metadata"]["name"] == "run-quickstart"
    assert "namespace" not in manifest["metadata"]
    cluster = manifest["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert tuple(map(int, cluster["rayVersion"].split("."))) >= (2, 52, 0), "KubeRay refuses tokens before that"


def test_no_word_of_a_command_adds_to_the_job() -> None:
    words = ["run", "pipelines/quickstart.yaml", 'a="b": {c: d}\n  e: ü # f']
    assert shlex.split(job(words)["spec"]["entrypoint"])[3:] == words
    assert job(words).keys() == job().keys()


def test_pods_are_as_asked() -> None:
    manifest = job(pods=Pods("here/acutance:2", workers=3, cpus=6, gpus=1, memory="20Gi"), namespace="lab", name="true")
    assert manifest["metadata"] | {"labels": {}} == {"name": "true", "namespace": "lab", "labels": {}}
    head, workers = groups(manifest)
    assert head["rayStartParams"] == {"num-cpus": "0"}
    assert {workers[key] for key in ("replicas", "minReplicas", "maxReplicas")} == {3}
    worker = containers(manifest)[1]
    wanted = {"cpu": "6", "memory": "20Gi", "nvidia.com/gpu": "1"}
    assert worker["resources"] == {"requests": wanted, "limits": wanted}
    assert {container["image"] for container in containers(manifest)} == {"here/acutance:2"}
    assert "nvidia.com/gpu" not in containers(job())[1]["resources"]["limits"]
    for container in containers(manifest):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert all(group["template"]["spec"]["securityContext"]["runAsNonRoot"] for group in groups(manifest))


def test_secrets_are_named_and_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SECRETS, "RAY_AUTH_TOKEN", "MLFLOW_TRACKING_TOKEN", "HF_TOKEN"):
        monkeypatch.setenv(name, "s3cr3t")
    manifest = job(secret="keys")
    assert "s3cr3t" not in text_of(secret="keys")
    for container in containers(manifest):
        plain = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
        assert plain == {"ACUTANCE_STORAGE": "s3://bucket/outputs", "MLFLOW_TRACKING_URI": "http://mlflow:5000"}
        taken = {
            entry["name"]: entry["valueFrom"]["secretKeyRef"] for entry in container["env"] if "value" not in entry
        }
        assert taken == {name: {"name": "keys", "key": name, "optional": True} for name in SECRETS}


def test_a_variable_that_is_given_is_not_taken_from_the_secret() -> None:
    studies = "postgresql+psycopg2://acutance@db/studies"
    for container in containers(job(given=[*TRACKED, f"ACUTANCE_STUDIES={studies}"])):
        named = [entry for entry in container["env"] if entry["name"] == "ACUTANCE_STUDIES"]
        assert named == [{"name": "ACUTANCE_STUDIES", "value": studies}]


def test_the_tracking_server_of_this_machine_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    assert "http://mlflow.example:5000" in text_of(given=[])


@pytest.mark.parametrize(
    ("command", "more", "said"),
    [
        (COMMAND, {"storage": "outputs"}, "pods share no folder"),
        (COMMAND, {"given": []}, "pods need a tracking server"),
        (COMMAND, {"name": "Über"}, "no name for a RayJob"),
        (COMMAND, {"name": "x" * 48}, "no name for a RayJob"),
        ([], {}, "there is no command"),
        (["run", "pipelines/quickstrat.yaml"], {}, "no such file"),
        (["run", "infra/prometheus.yaml"], {}, "the image would not have this file"),
        (["tune", "x", "--storage", "s3://key:s3cr3t@bucket/x"], {}, "password may not go into a job's command"),
    ],
)
def test_what_could_not_run_is_refused(command: list[str], more: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as refused:
        job(command, **more)
    assert said in str(refused.value)
    assert "s3cr3t" not in str(refused.value)


def test_names_are_made_of_any_command(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / f"My_{'long ' * 20}.yaml").write_text("x: 1")
    name = job(["run", f"pipelines/My_{'long ' * 20}.yaml"], working_dir=tmp_path)["metadata"]["name"]
    assert name.startswith("run-my-long-long")
    assert len(name) <= 47
    assert job(["doctor"])["metadata"]["name"] == "doctor"
