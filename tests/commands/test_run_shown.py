"""What a run shows of itself while it works, where there is no terminal."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from acutance import console
from acutance.commands import prepare, train
from acutance.console import clock


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "QUIET_SECONDS", 0.0)


def test_durations() -> None:
    assert [clock(seconds) for seconds in (0.4, 59.6, 130, 3599, 3730)] == ["0:00", "1:00", "2:10", "59:59", "1:02:10"]


def test_the_time_left_is_that_of_the_stage_and_what_follows_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(train.time, "monotonic", lambda: now[0])
    plans = [
        SimpleNamespace(name=name, stage=SimpleNamespace(steps=steps)) for name, steps in (("cheap", 100), ("dear", 10))
    ]
    with train._shown(plans) as on_progress:
        for stage, step, seconds in (("cheap", 20, 50.0), ("cheap", 60, 54.0), ("dear", 2, 100.0), ("dear", 4, 200.0)):
            now[0] = seconds
            on_progress(stage, step, {"total": 0.25})
    assert capsys.readouterr().err.splitlines()[1:-1] == [
        "train: 0/110 starting the workers",
        "train: 20/110 cheap 20/100 loss 0.25, then dear",
        "train: 60/110 cheap 60/100 loss 0.25, 0:04 left, then dear",
        "train: 62/110 dear 2/10 loss 0.25",
        "train: 64/110 dear 4/10 loss 0.25, 5:00 left",
    ]


def test_no_bar_where_nothing_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    with prepare._shown_if_any("prepare"):
        pass
    assert capsys.readouterr().err == ""
    with prepare._shown_if_any("prepare") as on_progress:
        on_progress(0, 8, "2 shards to make")
        on_progress(8, 8, "made shard 1")
    assert capsys.readouterr().err.startswith("prepare ...\nprepare: 0/8 2 shards to make\nprepare: done in ")
