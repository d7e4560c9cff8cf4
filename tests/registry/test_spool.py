"""Metrics on their way: training never waits, what an outage holds up arrives, once; what does not arrive is kept."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from acutance.errors import UnreachableError
from acutance.registry import spool
from acutance.registry.spool import KEPT, Spool, record_kept
from acutance.registry.tracker import StageTracker
from acutance.storage import patience

GONE = UnreachableError("the tracking server does not answer")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What is said; pauses are short, and files lie in a folder of the test's own."""
    told: list[str] = []
    monkeypatch.setattr(spool, "say", told.append)
    monkeypatch.setattr(spool, "scratch", lambda: tmp_path)
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(patience, "LONGEST_PAUSE", 0.1)
    return told


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """While it is set, the store does not answer."""
    away, record = threading.Event(), StageTracker.record

    def recorded(self: StageTracker, points: Any) -> None:
        if away.is_set():
            raise GONE
        record(self, points)

    monkeypatch.setattr(StageTracker, "record", recorded)
    return away


def steps(client: MlflowClient, run: str, metric: str = "loss") -> list[int]:
    return [each.step for each in client.get_metric_history(run, metric)]


def test_an_outage_holds_up_neither_training_nor_any_metric(
    client: MlflowClient, run_id: str, tmp_path: Path, said: list[str], outage: threading.Event
) -> None:
    tracker = Spool(StageTracker(client.tracking_uri, run_id), str(tmp_path))
    tracker.metrics([(1, {"loss": 1.0})])
    outage.set()
    began = time.monotonic()
    for step in range(2, 502):
        tracker.metrics([(step, {"loss": float(step)})])
    assert time.monotonic() - began < 2
    time.sleep(0.2)
    outage.clear()
    tracker.close()
    assert steps(client, run_id) == list(range(1, 502))
    assert [text.partition(";")[0] for text in said] == [
        "the tracking server does not answer",
        "the tracking server answers again, and gets the metrics",
    ]
    assert not list(tmp_path.rglob("*.jsonl"))


def test_what_cannot_be_delivered_is_kept_for_the_next_run(
    client: MlflowClient, run_id: str, tmp_path: Path, said: list[str], outage: threading.Event
) -> None:
    tracker = Spool(StageTracker(client.tracking_uri, run_id), str(tmp_path))
    outage.set()
    tracker.metrics([(step, {"loss": float(step)}) for step in range(5)])
    tracker.close(seconds=0.2)
    assert (tmp_path / KEPT).exists()
    assert "6 rows of metrics could not be recorded" in said[-1]
    outage.clear()
    for _ in range(2):
        record_kept(client.tracking_uri, str(tmp_path))
    assert steps(client, run_id) == list(range(5))
    assert not (tmp_path / KEPT).exists()


def test_a_killed_process_leaves_its_file_to_the_next(
    client: MlflowClient, run_id: str, tmp_path: Path, said: list[str], outage: threading.Event
) -> None:
    outage.set()
    child = os.fork()
    if child == 0:
        killed = Spool(StageTracker(client.tracking_uri, run_id), str(tmp_path))
        killed.metrics([(step, {"loss": float(step)}) for step in range(8)])
        os._exit(0)
    os.waitpid(child, 0)
    outage.clear()
    resumed = Spool(StageTracker(client.tracking_uri, run_id), str(tmp_path))
    resumed.metrics([(step, {"loss": float(step)}) for step in range(6, 12)])  # from a checkpoint at 5
    resumed.close()
    assert steps(client, run_id) == list(range(12))


def test_a_lost_answer_leaves_no_second_value(
    client: MlflowClient, run_id: str, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record, lost = StageTracker.record, [True]

    def recorded(self: StageTracker, points: Any) -> None:
        record(self, points)
        if lost.pop() if lost else False:
            self._last.clear()
            raise GONE

    monkeypatch.setattr(StageTracker, "record", recorded)
    tracker = Spool(StageTracker(client.tracking_uri, run_id), str(tmp_path))
    tracker.metrics([(1, {"loss": 1.0}), (2, {"loss": 2.0})])
    tracker.close()
    assert steps(client, run_id) == [1, 2]


def test_a_run_that_is_gone_does_not_end_the_training(client: MlflowClient, tmp_path: Path, said: list[str]) -> None:
    tracker = Spool(StageTracker(client.tracking_uri, "f" * 32), str(tmp_path))
    tracker.metrics([(1, {"loss": 1.0})])
    tracker.close()
    assert said[0].startswith("metrics are not recorded any more: ")
