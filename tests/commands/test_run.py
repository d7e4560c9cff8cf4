"""Runs from end to end: two of the very same work at the same time, and one that fails at its end."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from acutance import storage
from acutance.commands import run
from acutance.errors import FullError
from acutance.storage import lease


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(lease, "say", told.append)
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.01)
    return told


def test_two_identical_runs_do_the_work_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    note, done = str(tmp_path / "runs" / "mark.json"), []

    def slowly(*_: Any) -> str:
        time.sleep(0.2)
        storage.write_json(note, {"version": "1"})
        done.append("registered")
        return "made"

    monkeypatch.setattr(run, "_run", slowly)
    monkeypatch.setattr(run, "_receipt", lambda _: note)
    monkeypatch.setattr(run, "finished", lambda _: "found" if storage.exists(note) else None)
    monkeypatch.setattr(run.tracking, "connect", lambda _: None)
    outcomes: list[Any] = []
    work: Any = SimpleNamespace(root=str(tmp_path))
    threads = [threading.Thread(target=lambda: outcomes.append(run.run(work))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["found", "made"]
    assert done == ["registered"]
    assert said[0].startswith("this very run is under way already: process ")


def test_a_stage_that_another_pipeline_trains_is_not_trained_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    folder, trained = tmp_path / "stages" / "f", []
    job: Any = SimpleNamespace(
        name="fidelity", fingerprint="f", folder=str(folder), lease=str(folder / "lease.json"),
        done=(folder / "done.json").exists,
    )  # fmt: skip

    def train(*_: Any) -> None:
        time.sleep(0.2)
        trained.append(1)
        storage.write_json(str(folder / "done.json"), {})

    monkeypatch.setattr(run, "_train_stages", train)
    monkeypatch.setattr(run, "require_accepted", lambda _: None)
    monkeypatch.setattr(run.tracking, "record_kept", lambda *_: None)
    work: Any = SimpleNamespace(root=str(tmp_path), jobs=lambda _: [job])
    threads = [threading.Thread(target=run.train_stages, args=(work,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trained == [1]
    assert said[0].startswith("the training of fidelity is under way already: process ")


@pytest.mark.parametrize("reachable", [True, False])
def test_a_registration_that_fails_ends_the_run_as_failed(monkeypatch: pytest.MonkeyPatch, reachable: bool) -> None:
    ended: list[tuple[str, str]] = []

    def finish(_: Any, name: str, how: str) -> None:
        if not reachable:
            raise FullError("the database is on that disk, too")
        ended.append((name, how))

    def register() -> None:
        with run._ended(None, "r"):  # type: ignore[arg-type]
            raise FullError("there is no room for the model")

    monkeypatch.setattr(run.tracking, "finish", finish)
    with pytest.raises(FullError, match="for the model"):
        register()
    assert ended == ([("r", "FAILED")] if reachable else [])
