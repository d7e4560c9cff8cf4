"""What workers post, and how their starts are counted."""

from __future__ import annotations

from typing import Any

import pytest

from acutance.errors import TrainingError
from acutance.training import launch
from acutance.training import messages as boards
from acutance.training.messages import Board


def test_what_all_workers_say_is_said_once_and_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    board, now = Board(), [100.0]
    monkeypatch.setattr(boards.time, "monotonic", lambda: now[0])
    for text in ("the storage is away", "the storage is away", "it is back"):
        board.note(text)
    assert board.take()[1] == ["the storage is away", "it is back"]
    now[0] += boards.SAME_SECONDS
    board.note("the storage is away")
    assert board.take()[1] == ["the storage is away"]


class Job:
    """A stage whose newest checkpoint is at a step."""

    def __init__(self) -> None:
        self.step = 0
        self.checkpoints = "none"

    def done(self) -> bool:
        return False


def test_starts_count_as_long_as_no_checkpoint_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    board, job = Board(), Job()

    class Remote:
        """The board's actor."""

        class begun:  # noqa: N801
            remote = staticmethod(board.begun)

    jobs: Any = [job]
    monkeypatch.setattr(launch.ray, "get", lambda value: value)
    monkeypatch.setattr(launch.storage, "names", lambda _: [f"step-{job.step:08d}.safetensors"])
    for _ in range(4 * launch.RESTARTS):  # each start ends in a loss, after a checkpoint
        launch._count_starts(jobs, Remote)
        job.step += 5
    for _ in range(launch.RESTARTS + 1):
        launch._count_starts(jobs, Remote)
        board.stumbled("CUDA out of memory")
        board.stumbled("Connection closed by peer")
    with pytest.raises(TrainingError, match=r"workers failed 6 times in a row .*: CUDA out of memory"):
        launch._count_starts(jobs, Remote)
    notes = board.take()[1]
    assert notes[0] == "training starts again from its last checkpoint: a worker was lost"
    assert notes[-1] == "training starts again from its last checkpoint: CUDA out of memory"
