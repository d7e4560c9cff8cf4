"""Runs from end to end: two of the very same work at the same time, and one that fails at its end."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from acutance import storage
from acutance.commands import run, train
from acutance.errors import FullError
from acutance.storage import lease
from acutance.storage.done import Done, is_done, note_of, write
from acutance.storage.outputs import stage_folder


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(lease, "say", told.append)
    monkeypatch.setattr(lease, "POLL_SECONDS", 0.01)
    return told


def test_two_identical_runs_do_the_work_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    note, done = str(tmp_path / "runs" / "mark.json"), []

    def slowly(*_: Any) -> str:
        time.sleep(0.2)
        storage.write_json(note, {"version": "1"})
        done.append("registered")
        return "made"

    monkeypatch.setattr(run, "_run", slowly)
    monkeypatch.setattr(run, "_receipt_file", lambda _: note)
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
    mark, trained = "0123456789abcdef", list[str]()

    def planned(group: str) -> Any:
        folder = stage_folder(str(tmp_path), group, "fidelity", mark)
        return SimpleNamespace(
            name="fidelity", fingerprint=mark, folder=folder, done=lambda: is_done("stage", folder, mark)
        )

    def train_once(_: Any, todo: list[Any], *__: Any) -> None:
        time.sleep(0.2)
        trained.append(todo[0].folder)
        write(note_of("stage", todo[0].folder), Done("stage", mark, 1, {}))

    monkeypatch.setattr(train, "_train_stages", train_once)
    monkeypatch.setattr(train, "require_accepted", lambda _: None)
    monkeypatch.setattr(train, "_require_validation", lambda *_: None)
    monkeypatch.setattr(train.tracking, "record_kept", lambda *_: None)
    works: list[Any] = [
        SimpleNamespace(root=str(tmp_path), plans=lambda _, group=group: [planned(group)])
        for group in ("srgan", "esrgan")
    ]
    ended: list[Any] = []
    threads = [threading.Thread(target=lambda work=work: ended.extend(train.train_stages(work))) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(trained) == 1
    assert [job.folder for job in ended] == trained * 2
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
