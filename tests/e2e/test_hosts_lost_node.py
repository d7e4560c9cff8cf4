"""Training over several hosts: workers find one another unaided, and a host that is lost changes no bit."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from cluster_up import Node, Team, missing, team
from cluster_up_hosts import hosts, missing_for_hosts
from cluster_up_process import session, wait_for

from command_line import REPOSITORY, environment

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1500)]

COMMAND = (
    "train",
    "pipelines/quickstart.yaml",
    "--profile=smoke",
    "--stage=fidelity",
    "stages.fidelity.steps=200",
    "stages.fidelity.optimiser.schedule.milestones=[150]",
    "stages.fidelity.checkpoint_every=5",
    "stages.fidelity.report_every=5",
)


@pytest.fixture(scope="module")
def running() -> Iterator[Team]:
    """A head and two workers with a CPU each, on three hosts; training takes two of the three."""
    if reason := missing() or missing_for_hosts():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="ach-", dir="/tmp"))
    folder.chmod(0o755)  # Postgres runs as another user
    try:
        with (
            hosts(3) as (here, (first, *others)),
            team(folder, servers=here, head=first, workers=others, head_cpus=1) as up,
        ):
            yield up
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def network_of(pid: int) -> str:
    """Return which network namespace a process is in; nothing where it has just ended."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return ""


def trainers(team: Team) -> dict[int, Node]:
    """Return the processes that train, and the node of each."""
    found = {}
    for node in (team.head, *team.workers):
        for pid in session(node.process.pid):
            try:
                name = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if b"RayTrainWorker" in name:
                found[pid] = node
    return found


@contextmanager
def submitted(team: Team) -> Iterator[subprocess.Popen[str]]:
    """Submit the training; end the following of its log with the block."""
    words = ["jobs", "submit", "--address", team.dashboard, "--storage", "s3://acutance/outputs", "--", *COMMAND]
    job = subprocess.Popen(
        [sys.executable, "-m", "acutance", *words],
        cwd=REPOSITORY,
        env=environment(**team.submitter()),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield job
    finally:
        job.kill()
        job.wait()


def client(team: Team) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=team.s3,
        region_name="us-east-1",
        aws_access_key_id=team.secrets["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=team.secrets["AWS_SECRET_ACCESS_KEY"],
    )


def stored(team: Team, pattern: str) -> list[str]:
    pages = client(team).get_paginator("list_objects_v2").paginate(Bucket="acutance", Prefix="outputs/stages/")
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    return [key for key in keys if re.search(pattern, key)]


def taken_away(team: Team) -> bytes:
    """Return the trained model, and delete all that the stage has left: the shards stay."""
    (model,) = stored(team, r"/model\.safetensors$")
    content = client(team).get_object(Bucket="acutance", Key=model)["Body"].read()
    for key in stored(team, ""):
        client(team).delete_object(Bucket="acutance", Key=key)
    return content


def lose(node: Node) -> None:
    """Kill a node's raylet; all the rest of the node goes down with it."""
    pids = [pid for pid in session(node.process.pid) if b"/raylet\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(pids) == 1
    os.kill(pids[0], signal.SIGKILL)


def test_a_host_that_is_lost_changes_no_bit(running: Team) -> None:
    with submitted(running) as job:
        wait_for(lambda: bool(stored(running, r"/step-\d+")) or job.poll() is not None, "the first checkpoint", 400)
        undisturbed = trainers(running)
        printed, _ = job.communicate(timeout=400)
    assert job.returncode == 0, printed
    assert len({network_of(node.process.pid) for node in undisturbed.values()}) == 2, "two workers on two hosts"
    whole = taken_away(running)

    with submitted(running) as job:
        wait_for(lambda: bool(stored(running, r"/step-\d+")) or job.poll() is not None, "the first checkpoint", 400)
        assert job.poll() is None, job.communicate()[0]
        before = trainers(running)
        lost = next(node for node in before.values() if node is not running.head)
        began = time.monotonic()
        lose(lost)
        wait_for(lambda: lost.process.poll() is not None and not session(lost.process.pid), "the node's end", 60)
        wait_for(lambda: len(trainers(running).keys() - before.keys()) == 2, "two new workers", 400)
        print(json.dumps({"seconds until two workers train again": round(time.monotonic() - began)}))
        assert lost not in trainers(running).values()
        printed, _ = job.communicate(timeout=600)
    assert job.returncode == 0, printed
    assert taken_away(running) == whole
