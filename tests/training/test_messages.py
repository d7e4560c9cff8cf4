"""What workers post, and how their starts are counted."""

from __future__ import annotations

from typing import Any

import pytest

from acutance.errors import TrainingError
from acutance.training import launch
from acutance.training import messages as module
from acutance.training.messages import Messages


def test_what_all_workers_say_is_said_once_and_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    messages, now = Messages(), [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    for text in ("the storage is away", "the storage is away", "it is back"):
        messages.add_text(text)
    assert messages.take()[1] == ["the storage is away", "it is back"]
    now[0] += module.REPEAT_SECONDS
    messages.add_text("the storage is away")
    assert messages.take()[1] == ["the storage is away"]


class Plan:
    """A stage whose newest checkpoint is at a step."""

    def __init__(self) -> None:
        self.step = 0
        self.checkpoints = "none"

    def done(self) -> bool:
        return False


def test_starts_count_as_long_as_no_checkpoint_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    messages, plan = Messages(), Plan()

    class Remote:
        """The actor."""

        class count_start:  # noqa: N801
            remote = staticmethod(messages.count_start)

    plans: Any = [plan]
    monkeypatch.setattr(launch.ray, "get", lambda value: value)
    monkeypatch.setattr(launch.storage, "names", lambda _: [f"step-{plan.step:08d}.safetensors"])
    for _ in range(4 * launch.RESTARTS):  # each start ends in a loss, after a checkpoint
        launch._count_starts(plans, Remote)
        plan.step += 5
    for _ in range(launch.RESTARTS + 1):
        launch._count_starts(plans, Remote)
        messages.set_restart_reason("CUDA out of memory")
        messages.set_restart_reason("Connection closed by peer")
    with pytest.raises(TrainingError, match=r"workers failed 6 times in a row .*: CUDA out of memory"):
        launch._count_starts(plans, Remote)
    texts = messages.take()[1]
    assert texts[0] == "training starts again from its last checkpoint: a worker was lost"
    assert texts[-1] == "training starts again from its last checkpoint: CUDA out of memory"
