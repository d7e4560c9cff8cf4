"""What a run shows of itself while it works, where there is no terminal."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from acutance import console
from acutance.commands import prepare, training_shown
from acutance.config.pipeline import Compute
from acutance.console import clock, say

FIGURES = {"images_per_second": 81.23, "learning_rate": 2e-4, "waiting_for_data": 0.034}
SPEED = "81.2 images/s, learning rate 0.0002, 3% waiting for data"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "QUIET_SECONDS", 0.0)


def test_durations() -> None:
    assert [clock(seconds) for seconds in (0.4, 59.6, 130, 3599, 3730)] == ["0:00", "1:00", "2:10", "59:59", "1:02:10"]


def test_the_time_left_is_that_of_the_stage_and_what_follows_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now, log = [0.0], tmp_path / "quickstart" / "log.txt"
    monkeypatch.setattr(training_shown.time, "monotonic", lambda: now[0])
    plans = [
        SimpleNamespace(name=name, stage=SimpleNamespace(steps=steps)) for name, steps in (("cheap", 100), ("dear", 10))
    ]
    with training_shown.training_shown(plans, Compute(price_per_hour=36), str(log)) as on_progress:
        for stage, step, seconds in (("cheap", 20, 50.0), ("cheap", 60, 54.0), ("dear", 2, 100.0), ("dear", 4, 200.0)):
            now[0] = seconds
            on_progress(stage, step, {"pixel": 0.5, "total": 0.25}, FIGURES)
        say("cheap: validation at step 60: psnr_y on Set5 31.2")
    assert capsys.readouterr().err.splitlines()[1:-1] == [
        "train: 0/110 starting the workers",
        f"train: 20/110 cheap 20/100 loss 0.25, {SPEED}, then dear",
        f"train: 60/110 cheap 60/100 loss 0.25, {SPEED}, 0:04 left, 0.04 to pay for it, then dear",
        f"train: 62/110 dear 2/10 loss 0.25, {SPEED}",
        f"train: 64/110 dear 4/10 loss 0.25, {SPEED}, 5:00 left, 3.00 to pay for it",
        "cheap: validation at step 60: psnr_y on Set5 31.2",
    ]
    lines = [line[21:] for line in log.read_text().splitlines()]
    assert lines[1] == f"cheap 60/100: pixel 0.5, total 0.25, {SPEED}, 0:04 left, 0.04 to pay for it"
    assert lines[-1] == "cheap: validation at step 60: psnr_y on Set5 31.2"


def test_no_bar_where_nothing_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    with prepare._shown_if_any("prepare"):
        pass
    assert capsys.readouterr().err == ""
    with prepare._shown_if_any("prepare") as on_progress:
        on_progress(0, 8, "2 shards to make")
        on_progress(8, 8, "made shard 1")
    assert capsys.readouterr().err.startswith("prepare ...\nprepare: 0/8 2 shards to make\nprepare: done in ")
