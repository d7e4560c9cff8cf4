"""Ctrl-C and SIGTERM: a checkpoint is written first, and nothing is lost."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from test_loop import Noise, job_in

from acutance.models.model_file import load_model
from acutance.training import checkpoint, loop
from acutance.training.interruption import Interruption, run_interruptibly


class Group:
    """Stands for the actor through which a group of workers is told."""

    def __init__(self) -> None:
        self.told = threading.Event()

    @property
    def request_stop(self) -> Any:
        return type("Method", (), {"remote": staticmethod(self.told.set)})


def press_ctrl_c_after(seconds: float) -> None:
    main = threading.main_thread().ident
    threading.Timer(seconds, signal.pthread_kill, (main, signal.SIGINT)).start()


def test_a_training_that_is_asked_to_stop_writes_a_checkpoint_and_goes_on_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_stream", lambda *_: Noise())
    whole, cut = job_in(tmp_path / "whole"), job_in(tmp_path / "cut")
    loop.train_stage(whole)
    said: list[str] = []
    asked = iter([False, False, True])
    loop.train_stage(cut, stop=lambda: next(asked), on_message=said.append)
    assert not cut.done()
    assert checkpoint.steps(cut.checkpoints)[-1] == 3
    assert "fidelity stops at step 3 of" in said[-1]
    loop.train_stage(cut)
    one, other = (load_model(plan.model)[0].state_dict() for plan in (whole, cut))
    assert all(bool((one[name] == other[name]).all()) for name in one)


def test_a_slow_training_writes_a_checkpoint_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_stream", lambda *_: Noise())
    plan = job_in(tmp_path, "stages.fidelity.checkpoint_every=1000", "stages.fidelity.checkpoint_seconds=1e-9")
    next(report for report in loop.training_reports(plan, also_at=[2]) if report.step == 2)
    assert checkpoint.steps(plan.checkpoints) == [1, 2]


def test_the_command_leaves_when_the_checkpoint_is_written() -> None:
    interruption, group = Interruption(), Group()
    interruption.tell(group)
    written: list[bool] = []

    def train() -> None:
        assert group.told.wait(20)
        written.append(True)

    press_ctrl_c_after(0.1)
    with pytest.raises(KeyboardInterrupt):
        run_interruptibly(train, interruption, grace=20)
    assert written == [True]


def test_it_waits_no_longer_than_the_grace_and_a_second_ctrl_c_leaves_at_once() -> None:
    def train() -> None:
        time.sleep(30)

    began = time.monotonic()
    press_ctrl_c_after(0.1)
    with pytest.raises(KeyboardInterrupt):
        run_interruptibly(train, Interruption(), grace=0.2)
    press_ctrl_c_after(0.1)
    press_ctrl_c_after(0.4)
    with pytest.raises(KeyboardInterrupt):
        run_interruptibly(train, Interruption(), grace=25)
    assert time.monotonic() - began < 15


def test_an_error_of_the_training_is_raised_as_it_is() -> None:
    with pytest.raises(ValueError, match="no such thing"):
        run_interruptibly(lambda: (_ for _ in ()).throw(ValueError("no such thing")), Interruption(), grace=1)


def test_a_group_that_starts_while_the_others_stop_is_told_at_once() -> None:
    interruption, group = Interruption(), Group()
    interruption.ask()
    interruption.tell(group)
    assert group.told.is_set()
