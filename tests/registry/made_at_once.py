"""Processes that use a registry at the same moment: `python made_at_once.py write|promote COUNT STORAGE` forks them."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from made_for_registry import NAME, measure
from mlflow import MlflowClient

from acutance.registry.address import connect
from acutance.registry.promotion import promote
from acutance.registry.tracking import (
    StageTracker,
    finish,
    finish_children,
    log_file,
    log_table,
    pipeline_run,
    stage_run,
)

WRITERS = 4
STEPS, KILLED_AT = 60, 40
LOSSES = [f"loss/{number}" for number in range(3)]
SETTINGS = {"optimiser": {"betas": [0.9, 0.999]}, **{f"setting {number}": number for number in range(120)}}


def at_once(kind: str, count: int, storage: str) -> list[Any]:
    """Start the processes; return what each of them said."""
    done = subprocess.run(
        [sys.executable, __file__, kind, str(count), storage],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def write_twice(client: MlflowClient, storage: str) -> None:
    """Let processes write at once, of whom every second one is killed; let all go on; check what is recorded."""
    said = at_once("write", WRITERS, storage)
    assert sorted(number for number, _ in said[: WRITERS // 2]) == list(range(0, WRITERS, 2))
    assert sorted(number for number, _ in said[WRITERS // 2 :]) == list(range(WRITERS))
    assert len({run for _, run in said}) == WRITERS
    parent = pipeline_run(client, "together", "quickstart", "0" * 16)
    finish_children(client, parent)
    finish(client, parent)
    _check_written(client, parent)


def _check_written(client: MlflowClient, parent: str) -> None:
    experiment = client.get_experiment_by_name("together")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert Counter(run.info.run_name for run in runs) == {
        "quickstart": 1, "shared": 1, **{f"stage {number}": 1 for number in range(WRITERS)},
    }  # fmt: skip
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        if run.info.run_name == "quickstart":
            continue
        assert run.data.tags["mlflow.parentRunId"] == parent
        assert run.data.params.keys() >= {"optimiser.betas", *(f"setting {number}" for number in range(120))}
        if run.info.run_name == "shared":
            continue
        for name in (*LOSSES, "non_finite"):
            kept = {entry.step: entry.value for entry in client.get_metric_history(run.info.run_id, name)}
            assert len(client.get_metric_history(run.info.run_id, name)) == STEPS
            assert kept == {step: 1.0 if name == "non_finite" else step / 2 for step in range(STEPS)}, name
        assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"pictures.json", "sheet.png"}
        sheet = Path(client.download_artifacts(run.info.run_id, "sheet.png")).read_bytes()
        assert sheet == run.info.run_name.encode() * 1000


def _write(number: int, storage: str, told: Any) -> None:
    client = connect(storage)
    parent = pipeline_run(client, "together", "quickstart", "0" * 16)
    stage_run(client, parent, "shared", "1" * 16, SETTINGS)
    run = stage_run(client, parent, f"stage {number}", f"{number:016x}", SETTINGS)
    tracker = StageTracker(client.tracking_uri, run)
    first = not tracker.metrics([]) and not client.get_run(run).data.metrics
    for start in range(0 if first else KILLED_AT - 20, STEPS, 20):  # who goes on repeats what follows its checkpoint
        if first and number % 2 and start == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)
        rows = [(step, {**dict.fromkeys(LOSSES, step / 2), "odd": float("nan")}) for step in range(start, start + 20)]
        tracker.metrics(rows)
    log_table(client, run, "pictures.json", [{"picture": "coffee", "psnr_y": 27.0}])
    sheet = Path(storage) / f"{number}" / "sheet.png"
    sheet.parent.mkdir(parents=True, exist_ok=True)
    sheet.write_bytes(f"stage {number}".encode() * 1000)
    log_file(client, run, sheet)
    finish(client, run)
    told.put([number, run])


def _promote(number: int, storage: str, told: Any) -> None:
    """Two processes try each version: a candidate may find that it is the champion already."""
    decision = promote(connect(storage), f"{NAME}/{number // 2 + 1}", measure=measure, who=f"process {number}")
    told.put(decision.to_json())


def _started(work: Callable[[int, str, Any], None], count: int, storage: str) -> None:
    context = multiprocessing.get_context("fork")
    told, gate = context.SimpleQueue(), context.Barrier(count)

    def child(number: int) -> None:
        gate.wait()
        work(number, storage, told)

    processes = [context.Process(target=child, args=(number,)) for number in range(count)]
    for each in processes:
        each.start()
    for each in processes:
        each.join()
    assert {each.exitcode for each in processes} <= {0, -signal.SIGKILL}
    while not told.empty():
        print(json.dumps(told.get()))


if __name__ == "__main__":
    kind, number, root = sys.argv[1:]
    for module in ("tracking.sqlalchemy_store", "model_registry.sqlalchemy_store", "tracking.rest_store"):
        importlib.import_module(f"mlflow.store.{module}")  # once, not in each child
    if kind == "promote":
        _started(_promote, int(number), root)
    else:
        _started(_write, int(number), root)
        _started(_write, int(number), root)
