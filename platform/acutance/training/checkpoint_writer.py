"""Writes a training's checkpoints in the background: a step waits only where the one before is not written yet."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

from acutance.training import checkpoint
from acutance.training.distributed import rank_and_world_size
from acutance.training.learner import Learner
from acutance.training.stage_plan import StagePlan


class CheckpointWriter:
    """Writes checkpoints and deletes those that are not kept; on workers other than 0 it does nothing."""

    def __init__(self, plan: StagePlan) -> None:
        self.plan, self.written = plan, time.monotonic()
        self.thread: threading.Thread | None = None
        self.error: Exception | None = None

    def is_due(self) -> bool:
        """Return whether the newest checkpoint is older than `checkpoint_seconds`."""
        return time.monotonic() - self.written >= self.plan.stage.checkpoint_seconds

    def write(self, learner: Learner, *, best: Collection[int] = (), unmeasured: Collection[int] = ()) -> None:
        """Copy the learner's state to the memory of this machine, and write it in the background.

        Args:
            best, unmeasured: steps whose checkpoints may have to be kept, see `checkpoint.kept_steps`.

        Raises:
            AcutanceError: when the checkpoint before could not be written.
        """
        if rank_and_world_size()[0] != 0:
            return
        self.wait()
        self.written = time.monotonic()
        step, content, folder = learner.steps_done, checkpoint.captured(self.plan, learner), self.plan.checkpoints

        def work() -> None:
            try:
                checkpoint.write_captured(folder, step, content)
                there = checkpoint.steps(folder)
                kept = checkpoint.kept_steps(there, self.plan.stage.keep, best=best, unmeasured=unmeasured)
                checkpoint.delete_others(folder, kept)
            except Exception as error:
                self.error = error

        self.thread = threading.Thread(target=work, name="checkpoint", daemon=True)
        self.thread.start()

    def wait(self) -> None:
        """Wait until the newest checkpoint is written.

        Raises:
            AcutanceError: when it could not be.
        """
        self.close()
        if self.error:
            error, self.error = self.error, None
            raise error

    def close(self) -> None:
        """Wait for the thread, whatever became of it."""
        if self.thread:
            self.thread.join()
            self.thread = None
