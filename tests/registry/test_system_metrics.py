from __future__ import annotations

import sys
import time
from collections import namedtuple
from types import SimpleNamespace

import psutil
import pytest
from mlflow import MlflowClient

from acutance.registry.system_metrics import cpu_seconds, usage
from acutance.registry.tracking import StageTracker

HOST = {
    "system/cpu_utilization_percentage",
    "system/system_memory_usage_megabytes",
    "system/system_memory_usage_percentage",
    "system/process_memory_megabytes",
}


def test_each_report_carries_what_the_machine_does(shared: MlflowClient, shared_run: str) -> None:
    tracker = StageTracker(shared.tracking_uri, shared_run)
    for step in (10, 20):
        ends = time.monotonic() + 0.1
        while time.monotonic() < ends:
            continue
        tracker.metrics([(step - 1, {"loss": 1.0}), (step, {"loss": 0.5})])
    again = StageTracker(shared.tracking_uri, shared_run)  # a resumed worker that repeats a step
    again.metrics([(20, {"loss": 0.5})])
    metrics = shared.get_run(shared_run).data.metrics
    assert metrics.keys() >= HOST
    for name in HOST:
        assert [entry.step for entry in shared.get_metric_history(shared_run, name)] == [10, 20], name
    assert 0 < metrics["system/cpu_utilization_percentage"] <= 100
    assert 0 < metrics["system/system_memory_usage_percentage"] < 100
    resident = metrics["system/process_memory_megabytes"]
    assert 50 < resident < metrics["system/system_memory_usage_megabytes"]


def test_the_share_of_the_cpu_is_counted_from_the_last_report(monkeypatch: pytest.MonkeyPatch) -> None:
    share = "system/cpu_utilization_percentage"
    fields = namedtuple("fields", "user nice system idle iowait irq softirq steal guest guest_nice")

    def passed(user: float, idle: float, waiting: float) -> None:
        monkeypatch.setattr(psutil, "cpu_times", lambda: fields(user, 0, 0, idle, waiting, 0, 0, 0, user, 0))

    passed(1.0, 1.0, 0.0)
    since = cpu_seconds()
    passed(1.3, 1.6, 0.1)
    assert usage(since)[share] == pytest.approx(30)
    passed(1.4, 1.6, 0.1)
    assert usage(since)[share] == pytest.approx(100)
    assert share not in usage(since), "no time has passed"


@pytest.mark.parametrize("told", [True, False])
def test_the_gpu_that_is_trained_on(monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    def utilization(index: int) -> int:
        if not told:
            raise ModuleNotFoundError("pynvml")
        return 87

    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        current_device=lambda: 1,
        mem_get_info=lambda index: (60_000_000_000, 80_000_000_000),
        utilization=utilization,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    expected = {"system/gpu_1_memory_usage_megabytes": 20_000.0, "system/gpu_1_memory_usage_percentage": 25.0}
    found = {name: value for name, value in usage({}).items() if "gpu" in name}
    assert found == {**expected, **({"system/gpu_1_utilization_percentage": 87.0} if told else {})}
