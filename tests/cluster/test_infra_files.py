"""infra/: its files load, refer to what is there, open nothing unasked, and hold no secret."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from acutance.cli import app
from acutance.training.dashboard import NAMES
from command_line import REPOSITORY, environment

INFRA = REPOSITORY / "infra"
ALONE = {"MLFLOW_TRACKING_URI": "", "MLFLOW_REGISTRY_URI": "", "ACUTANCE_STORAGE": ""}


def loaded(name: str) -> Any:
    return YAML(typ="safe").load(INFRA / name)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return loaded("compose.yaml")


def schema(name: str) -> Any:
    """Return a published schema, which is not ours to keep; ACUTANCE_SCHEMAS names a folder that has it."""
    file = Path(os.environ.get("ACUTANCE_SCHEMAS", "")) / name
    if not file.is_file():
        pytest.skip(f"no {name}: put it into a folder and set ACUTANCE_SCHEMAS")
    return YAML(typ="safe", pure=False).load(file)


def crd(name: str) -> dict[str, Any]:
    """Return the schema of a custom resource, strict: Kubernetes would drop a field it does not know."""
    versions = schema(name)["spec"]["versions"]
    return strict(next(version["schema"]["openAPIV3Schema"] for version in versions if version["name"] == "v1"))


def strict(node: dict[str, Any]) -> dict[str, Any]:
    closed = {key: strict(value) if isinstance(value, dict) else value for key, value in node.items()}
    if "properties" in closed and closed.get("type") == "object":
        closed["additionalProperties"] = False
    if closed.pop("x-kubernetes-int-or-string", False):
        closed.pop("type", None)
    return closed


# --- Kubernetes


def test_rayjob_is_what_the_command_in_it_prints() -> None:
    text = (INFRA / "rayjob.yaml").read_text()
    comment = "".join(re.findall(r"^# +(.*)\n", text, re.MULTILINE))
    command = re.search(
        r"acutance jobs manifest.*-- run pipelines/quickstart\.yaml", re.sub(r"\s*--env", " --env", comment)
    )
    assert command, "the file says how it was made"
    result = CliRunner().invoke(app, shlex.split(command[0])[1:], env=ALONE)
    assert result.exit_code == 0, result.output
    assert re.sub(r"^#.*\n", "", text, flags=re.MULTILINE) == result.stdout


def test_the_cluster_that_stays_is_like_the_one_of_a_job() -> None:
    assert loaded("raycluster.yaml")["spec"] == loaded("rayjob.yaml")["spec"]["rayClusterSpec"]


@pytest.mark.long  # the schemas have 25,000 lines
@pytest.mark.parametrize("name", ["rayjob", "raycluster"])
def test_kuberay_knows_every_field(name: str) -> None:
    check = jsonschema.Draft202012Validator(crd(f"ray.io_{name}s.yaml"))
    manifest = loaded(f"{name}.yaml")
    check.validate(manifest)
    manifest["spec"]["rayVersionn"] = "2.60.0"
    assert not check.is_valid(manifest), "a field that KubeRay does not know would be found"


# --- compose


def test_compose_is_valid(compose: dict[str, Any]) -> None:
    jsonschema.validate(compose, schema("compose-spec.json"))


def test_compose_refers_to_files_and_volumes_that_are_there(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = re.sub(r"\$\{\w+:-(\w+)\}", r"\1", volume).split(":")[0]
            there = (INFRA / source).exists() if source.startswith(".") else source in compose["volumes"]
            assert there, f"{name}: {volume}"
        if "build" in service:
            assert (INFRA / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        for other in service.get("depends_on", []):
            assert other in compose["services"]


def test_gpus_are_reserved_for_one_worker(compose: dict[str, Any]) -> None:
    (name, service), *others = loaded("compose.gpu.yaml")["services"].items()
    assert name in compose["services"]
    assert not others
    assert service["deploy"]["replicas"] == 1, "each Ray node counts all the GPUs that it sees"
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


def test_compose_publishes_on_this_machine_alone(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 4
    assert all(port.startswith("${BIND:-127.0.0.1}:") for port in ports), ports
    assert not any(service.get("network_mode") or service.get("privileged") for service in compose["services"].values())


def test_compose_starts_nothing_without_passwords(compose: dict[str, Any]) -> None:
    text = (INFRA / "compose.yaml").read_text()
    needed = set(re.findall(r"\$\{(\w+):\?", text))
    example = (INFRA / ".env.example").read_text()
    assert needed == set(re.findall(r"^(\w+)=$", example, re.MULTILINE)), "each is in .env.example, and empty"
    assert not re.findall(r"^\w+=.+$", example, re.MULTILINE)
    secret = re.compile(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY")
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if secret.search(variable):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), f"{name}: {variable}"


def test_compose_asks_everyone_who_they_are(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name in ("head", "worker"):
        assert services[name]["environment"]["RAY_AUTH_MODE"] == "token"
    assert "--app-name=basic-auth" in services["mlflow"]["command"]
    assert "scram-sha-256" in services["postgres"]["environment"]["POSTGRES_INITDB_ARGS"]
    assert "ports" not in services["postgres"]
    assert "ports" not in services["prometheus"], "it asks nobody who they are"


def test_jobs_have_accounts_of_their_own(compose: dict[str, Any]) -> None:
    known = compose["services"]["head"]["environment"]
    assert known == compose["services"]["worker"]["environment"]
    assert (
        known["MLFLOW_TRACKING_USERNAME"] != compose["services"]["mlflow"]["environment"]["MLFLOW_AUTH_ADMIN_USERNAME"]
    )
    administrator = {"POSTGRES_PASSWORD", "MLFLOW_PASSWORD", "MLFLOW_SECRET_KEY"}
    assert not administrator & {name for value in known.values() for name in re.findall(r"\$\{(\w+)", value)}
    assert compose["services"]["head"]["depends_on"] == {"accounts": {"condition": "service_completed_successfully"}}


def test_images_have_versions(compose: dict[str, Any]) -> None:
    images = {re.sub(r"\$\{\w+:-(.*)\}", r"\1", service["image"]) for service in compose["services"].values()}
    assert all(re.search(r":v?\d", image) for image in images), images


def test_make_env_fills_every_line_with_a_secret_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    script = [str(INFRA / "make-env.sh"), str(file)]
    subprocess.run(script, check=True, capture_output=True)
    found = dict(re.findall(r"^(\w+)=(.*)$", file.read_text(), re.MULTILINE))
    assert len(found) == 9
    assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in found.values())
    assert len(set(found.values())) == 9
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_text()
    again = subprocess.run(script, check=False, capture_output=True, text=True)
    assert (again.returncode, file.read_text()) == (2, before)
    assert "there already" in again.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_git_ignores_the_secrets() -> None:
    ignored = subprocess.run(["git", "check-ignore", "-q", "infra/.env"], cwd=REPOSITORY, check=False)
    assert ignored.returncode == 0


# --- the script of one machine

USUAL = {"PORT": 6379, "DASHBOARD_PORT": 8265, "CLIENT_PORT": 10001}
EXAMPLES = re.findall(r"^#   (.*)infra/local-cluster\.sh", (INFRA / "local-cluster.sh").read_text(), re.MULTILINE)


def starts(**settings: str) -> str:
    """Return what the script says, with a Python that has no Ray, before which it looks at the ports."""
    done = subprocess.run(
        [str(INFRA / "local-cluster.sh")],
        env=environment(**settings, PYTHON="/bin/false"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    return done.stderr


def taken_by_ray(ports: dict[str, int]) -> bool:
    from ray._private.parameter import RayParams

    params = RayParams(
        redis_port=ports["PORT"],
        dashboard_port=ports["DASHBOARD_PORT"],
        ray_client_server_port=ports["CLIENT_PORT"],
        min_worker_port=10002,  # as `ray start` has them
        max_worker_port=19999,
    )
    try:
        params.update_pre_selected_port()
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_of_the_script_are_taken(example: str) -> None:
    settings = dict(re.findall(r"(\w+)=(\S+)", example))
    assert "has no ray[default]" in starts(**settings)
    assert taken_by_ray(USUAL | {name: int(port) for name, port in settings.items() if name in USUAL})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"CLIENT_PORT": 10400}, "CLIENT_PORT=10400 is a port that Ray gives to workers; to do: choose none of 10002"),
        ({"PORT": 19999}, "PORT=19999 is a port that Ray gives to workers"),
        ({"DASHBOARD_PORT": 6379}, "are 6379, 6379 and 10001; to do: choose three ports"),
    ],
)
def test_the_script_refuses_the_ports_that_ray_refuses(settings: dict[str, int], message: str) -> None:
    assert message in starts(**{name: str(port) for name, port in settings.items()})
    assert not taken_by_ray(USUAL | settings)


@pytest.mark.parametrize("port", ["0", "80", "65536", "six"])
def test_the_script_refuses_what_is_no_port(port: str) -> None:
    assert f"PORT={port} is no port" in starts(PORT=port)


# --- the image


def test_the_image_takes_locked_packages_and_no_more_of_the_checkout() -> None:
    text = (INFRA / "Containerfile").read_text()
    assert "--require-hashes" in text
    assert re.search(r"apt-get install .* g\+\+ ", text), "Triton and torch.compile call a compiler"
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["1000"], "a number, or KubeRay cannot tell it is not root"
    allowed = re.findall(r"^!(.*)$", (INFRA / "Containerfile.dockerignore").read_text(), re.MULTILINE)
    assert (INFRA / "Containerfile.dockerignore").read_text().split("\n")[1] == "*"
    for words in re.findall(r"^COPY (.*)$", text, re.MULTILINE):
        *sources, _ = words.split()
        for source in sources:
            assert (REPOSITORY / source).exists(), source
            assert any(f"{entry}/".startswith(f"{source}/") for entry in allowed), source


def test_the_images_packages_are_those_that_are_tested() -> None:
    locks = {name: (REPOSITORY / "requirements" / f"{name}.txt").read_text() for name in ("image", "lock")}
    image, lock = (dict(re.findall(r"^([\w.-]+)==([^ ;]+)", text, re.MULTILINE)) for text in locks.values())
    assert {"ray", "torch", "mlflow", "psycopg2-binary", "flask-wtf", "hatchling"} <= image.keys()
    assert {name: version for name, version in image.items() if lock.get(name) != version} == {}
    assert not {"pytest", "moto", "mypy", "ruff"} & image.keys()


# --- a cloud, metrics


def test_ray_up_takes_the_cloud_file() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = loaded("aws.yaml")
    validate_config(prepare_config(config))
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert any(path.endswith("/.ray/auth_token") for path in config["file_mounts"])
    for kind in config["available_node_types"].values():
        assert kind["node_config"]["SecurityGroupIds"], "Ray's own group lets everyone try SSH"
    (started,) = (command for command in config["head_start_ray_commands"] if "ray start" in command)
    assert "--dashboard-host=127.0.0.1" in started


def metrics() -> set[str]:
    text = " ".join(
        target["expr"]
        for panel in json.loads((INFRA / "grafana" / "ray.json").read_text())["panels"]
        for target in panel["targets"]
    )
    return set(re.findall(r"\bray_\w+", text))


def test_the_dashboard_asks_for_metrics_that_this_ray_has() -> None:
    import ray.dashboard.modules.metrics.dashboards as panels
    from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

    of_nodes = {f"ray_{name}" for name in METRICS_GAUGES}
    shown = " ".join(file.read_text() for file in Path(panels.__file__).parent.glob("*.py"))
    ours = {f"ray_acutance_{name}" for name in NAMES}
    unknown = {name for name in metrics() - of_nodes - ours if not re.search(rf"\b{name}\b", shown)}
    assert unknown <= {"ray_running_jobs"}, "the head's own page is looked at in test_infra_metrics"


def test_prometheus_scrapes_the_nodes_of_compose(compose: dict[str, Any]) -> None:
    (job,) = loaded("prometheus.yaml")["scrape_configs"]
    (names,) = job["dns_sd_configs"]
    for name in names["names"]:
        assert f"--metrics-export-port={names['port']}" in compose["services"][name]["command"]


def test_grafana_finds_its_source_and_its_dashboard(compose: dict[str, Any]) -> None:
    (source,) = loaded("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    (provider,) = loaded("grafana/provisioning/dashboards/ray.yaml")["providers"]
    dashboard = json.loads((INFRA / "grafana" / "ray.json").read_text())
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["uid"]}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    mounted = [volume.split(":")[1] for volume in compose["services"]["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/ray.json" in mounted
