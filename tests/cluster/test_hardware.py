"""How many GPUs a worker gets, by what a cluster has and by what its autoscaler may start."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from acutance.cluster import hardware
from acutance.cluster.compilers import missing_compiler
from acutance.cluster.hardware import Capacity, NodeType, device_of, gpus_per_worker, node_types
from acutance.errors import ConfigError, TrainingError
from command_line import REPOSITORY

HEAD = NodeType({"CPU": 0}, 1)
CPUS, GPU_NODE = NodeType({"CPU": 8}, 1), NodeType({"CPU": 2, "GPU": 1}, 1)
FROM_ZERO = Capacity((HEAD,), (NodeType({"CPU": 2, "GPU": 1}, 4),))


def decided(requested: Any, cluster: Capacity, workers: int = 1, cpus: int = 1) -> float:
    return gpus_per_worker(requested, cluster, workers=workers, cpus=cpus, setting="compute.gpus")


def test_auto_counts_gpus_that_can_be_started() -> None:
    assert decided("auto", FROM_ZERO) == 1
    assert decided("auto", FROM_ZERO, workers=4) == 1
    assert decided("auto", Capacity((GPU_NODE,))) == 1
    assert decided("auto", Capacity((CPUS,)), workers=8) == 0
    assert decided(0, FROM_ZERO, workers=8) == 0
    assert decided(0.5, Capacity((GPU_NODE,)), workers=2) == 0.5


def test_what_asks_for_nothing_has_room_on_any_node() -> None:
    assert decided(0, Capacity((HEAD,)), workers=8, cpus=0) == 0
    assert decided("auto", Capacity((CPUS,)), workers=8, cpus=0) == 0


@pytest.mark.parametrize(
    ("requested", "cluster", "workers", "said"),
    [
        (1, Capacity((CPUS,)), 1, "1 worker with 1 CPU and 1 GPU: the cluster has 1 node of 8 CPU"),
        ("auto", Capacity((GPU_NODE, CPUS)), 8, "8 workers with 1 CPU and 1 GPU each"),
        ("auto", FROM_ZERO, 5, "its autoscaler can add 4 nodes of 2 CPU, 1 GPU"),
        (2, FROM_ZERO, 1, "compute.gpus=0"),
        ("auto", Capacity((NodeType({"CPU": 1}, 1),)), 2, "ask for 1 worker or less"),
    ],
)
def test_what_no_node_can_give_is_an_error(requested: Any, cluster: Capacity, workers: int, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decided(requested, cluster, workers)
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_the_cloud_file_starts_up_to_four_workers() -> None:
    with open(REPOSITORY / "infra" / "aws.yaml") as file:
        content = yaml.safe_load(file)
    content["available_node_types"]["worker"]["resources"] = {"CPU": 8, "GPU": 1}  # as `ray up` fills it in
    assert node_types(content) == [NodeType({"CPU": 8.0, "GPU": 1.0}, 4)]


def test_the_configuration_is_that_of_this_clusters_autoscaler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil
    import ray  # brings psutil along

    assert ray
    files = {}
    for name in ("ours", "another"):
        files[name] = tmp_path / f"{name}.yaml"
        files[name].write_text(yaml.safe_dump({"cluster_name": name}))

    class Process:
        def __init__(self, cluster: str, file: Path) -> None:
            words = [sys.executable, "monitor.py", f"--gcs-address={cluster}", f"--autoscaling-config={file}"]
            self.info = {"cmdline": words}

    running = [Process("h:2", files["another"]), Process("h:1", files["ours"])]
    monkeypatch.setattr(psutil, "process_iter", lambda _: iter(running))
    assert hardware._configuration("h:1") == {"cluster_name": "ours"}
    assert hardware._configuration("h:3") is None


def test_a_kuberay_cluster_that_grows_is_asked_for_its_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.autoscaler._private.kuberay.node_provider import KubernetesHttpApiClient

    def group(gpus: int) -> dict[str, Any]:
        container = {"resources": {"limits": {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": str(gpus)}}}
        return {"template": {"spec": {"containers": [container]}}, "rayStartParams": {}}

    workers = {**group(1), "groupName": "gpus", "replicas": 0, "minReplicas": 0, "maxReplicas": 3}
    spec = {"headGroupSpec": group(0), "workerGroupSpecs": [workers], "enableInTreeAutoscaling": True}
    cluster = {"metadata": {"name": "c", "namespace": "n"}, "spec": spec}
    (tmp_path / "namespace").write_text("n\n")
    monkeypatch.setattr(hardware, "KUBERNETES_ACCOUNT", tmp_path)
    monkeypatch.setenv("RAY_CLUSTER_NAME", "c")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setattr(KubernetesHttpApiClient, "__init__", lambda self, namespace: None)
    monkeypatch.setattr(KubernetesHttpApiClient, "get", lambda self, path: cluster)
    (kind,) = node_types(hardware._of_kuberay() or {})
    assert (kind.resources["CPU"], kind.resources["GPU"], kind.count) == (4, 1, 3)
    spec["enableInTreeAutoscaling"] = False
    assert hardware._of_kuberay() is None


def test_a_promised_gpu_that_torch_does_not_see_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of(0) == "cpu"
    with pytest.raises(TrainingError, match=r"gave this process 0\.25 GPU, and torch sees none"):
        device_of(0.25)


def test_a_machine_without_compilers_is_found_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from acutance.commands.doctor import _compiler

    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no C compiler" in missing_compiler("cuda:0")
    assert "no C++ compiler" in missing_compiler("cpu")
    found = _compiler()
    assert found.state == "missing"
    assert "compile: true is refused" in found.note
    for name in ("gcc", "g++"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert not missing_compiler("cuda:0") + missing_compiler("cpu")
    assert _compiler().state == "ok"
