"""The metrics that the Grafana dashboard shows are those that a running Ray offers to Prometheus."""

from __future__ import annotations

import contextlib
import json
import re
import time
import urllib.request

import pytest
from made_for_cluster import Head
from test_infra_files import metrics

pytestmark = pytest.mark.e2e

LATER = {"ray_tasks", "ray_actors"}
"""There once a job has run, and none may have run yet."""


def test_a_head_offers_what_the_dashboard_shows(head: Head) -> None:
    wanted = {name for name in metrics() - LATER if not re.search(r"_gpus_|_gram_", name)}
    limit = time.monotonic() + 60
    while not wanted <= (found := offered(head)) and time.monotonic() < limit:
        time.sleep(1)
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
