"""A cluster that grows from zero, in the shape of infra/aws.yaml: GPUs that no living node has yet are used."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from cluster_up_process import Host, free_port, process, wait_for

from command_line import acutance

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1800)]

HEAD = "ray.head.default"
"""What Ray's provider of nodes in name calls the head's kind."""

COMMAND = ("pipelines/quickstart.yaml", "--profile=smoke", "--stage=highpass", "compute.workers=1")


@pytest.fixture
def address() -> Iterator[str]:
    """A head without CPUs, and Ray's own autoscaler, which starts nodes of this machine with a GPU in name."""
    folder = Path(tempfile.mkdtemp(prefix="aca-", dir="/tmp"))
    kinds = {
        HEAD: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {"resources": {"CPU": 2, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
    }
    port = free_port()
    commands = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
    config = {
        **{f"{when}_commands": [] for when in commands},
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        "upscaling_speed": 1,
        "file_mounts_sync_continuously": False,
        "cluster_name": "fake",
        "max_workers": 2,
        "idle_timeout_minutes": 5,
        "provider": {"type": "fake_multinode", "gcs_address": f"{ray.util.get_node_ip_address()}:{port}"},
        "available_node_types": kinds,
        "head_node_type": HEAD,
    }
    (folder / "config.json").write_text(json.dumps(config))
    command = ["ray", "start", "--head", "--block", "--num-cpus=0", f"--port={port}", f"--temp-dir={folder}/ray"]
    command += ["--include-dashboard=false", f"--autoscaling-config={folder}/config.json"]
    # A raylet gives up where its agents have not chosen their ports within 15 s, as on a busy machine.
    agents = ("dashboard-agent-grpc", "dashboard-agent-listen", "metrics-export", "runtime-env-agent")
    command += [f"--{agent}-port={free_port()}" for agent in agents]
    fake = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_AUTH_MODE": "disabled"}
    log = folder / "head.log"
    try:
        with process(command, log, Host(), fake):
            wait_for(lambda: "Ray runtime started" in log.read_text(), "the head")
            yield f"127.0.0.1:{port}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_gpus_that_can_be_started_are_started_and_used(address: str, tmp_path: Path) -> None:
    assert not ray.is_initialized()
    where = ("--address", address, "--storage", str(tmp_path / "out"))
    refused = acutance("train", *COMMAND, "compute.gpus=3", *where)
    assert refused.returncode == 2, refused.stderr
    assert "its autoscaler can add 2 nodes of 2 CPU, 1 GPU" in refused.stderr
    prepared = acutance("prepare", *COMMAND[:2], "compute.gpus=0", *where, timeout=900)
    assert prepared.returncode == 0, prepared.stderr
    trained = acutance("train", *COMMAND, *where, timeout=900)
    assert trained.returncode == 1, "there is no GPU but in name"
    assert "Ray gave this process 1 GPU, and torch sees none" in trained.stderr
    on_cpu = acutance("train", *COMMAND, "compute.gpus=0", *where, timeout=900)
    assert on_cpu.returncode == 0, on_cpu.stderr
    assert "training: 1 worker on cpu, gloo" in on_cpu.stderr
