"""The metrics that the Grafana dashboard shows are those that a running Ray offers to Prometheus."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.request

import pytest
from made_for_cluster import Head
from test_infra_files import metrics

from command_line import REPOSITORY, environment

pytestmark = pytest.mark.e2e

LATER = {"ray_tasks", "ray_actors"}
"""There once a job has run, and none may have run yet."""


TRAINING = """
import sys, time
from types import SimpleNamespace as Made
from acutance.cluster.connect import connect
from acutance.training.dashboard import show_report

with connect(sys.argv[1]):
    figures = {"images_per_second": 80.0, "waiting_for_data": 0.1, "learning_rate": 1e-4}
    learner = Made(skipped_steps=2)
    show_report("gan", 0, Made(step=7, losses={"pixel": 0.5, "total": 0.5}, figures=figures, learner=learner))
    time.sleep(120)
"""
"""Stands for a worker of a training on this cluster, which has reported once."""


def test_a_head_offers_what_the_dashboard_shows(head: Head) -> None:
    training = subprocess.Popen([sys.executable, "-c", TRAINING, head.address], env=environment(), cwd=REPOSITORY)
    wanted = {name for name in metrics() - LATER if not re.search(r"_gpus_|_gram_", name)}
    assert any(name.startswith("ray_acutance_") for name in wanted)
    limit = time.monotonic() + 100
    try:
        while not wanted <= (found := offered(head)) and time.monotonic() < limit:
            time.sleep(1)
    finally:
        training.kill()
        training.wait()
    assert wanted <= found


def offered(head: Head) -> set[str]:
    (listed,) = json.loads((head.folder / "ray" / "prom_metrics_service_discovery.json").read_text())
    pages = []
    for target in listed["targets"]:
        with (
            contextlib.suppress(OSError),  # not there yet
            urllib.request.urlopen(f"http://{target}/metrics", timeout=10) as answer,
        ):
            pages.append(answer.read().decode())
    return set(re.findall(r"^# TYPE (\w+)", "\n".join(pages), re.MULTILINE))
