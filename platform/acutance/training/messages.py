"""What workers send to the driver: progress, messages for the screen, and the error that ends a training."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from acutance.console import say
from acutance.errors import AcutanceError
from acutance.training.pace import Figures

POLL_SECONDS = 0.5

REPEAT_SECONDS = 30.0
"""The same message is shown again only after this time: all workers send it at about the same moment."""

Losses = dict[str, float]

OnProgress = Callable[[str, int, Losses, Figures], None]
"""Called with the stage, its steps done, its newest losses, and how fast it is."""


class Messages:
    """Collects what workers send; an actor. It also counts how often the workers were started."""

    def __init__(self) -> None:
        self.progress: list[tuple[str, int, Losses, Figures]] = []
        self.texts: list[str] = []
        self.sent: dict[str, float] = {}
        self.error: AcutanceError | None = None
        self.checkpoint: str | None = None
        self.starts = 0
        self.restart_reason = ""
        self.stop = False

    def add_progress(self, stage: str, step: int, losses: Losses, figures: Figures) -> None:
        """Add how far a stage has come, and how fast it is."""
        self.progress.append((stage, step, losses, figures))

    def add_text(self, text: str) -> None:
        """Add a message for the screen, unless the same one was sent within `REPEAT_SECONDS`."""
        now = time.monotonic()
        if now - self.sent.get(text, -REPEAT_SECONDS) >= REPEAT_SECONDS:
            self.texts.append(text)
        self.sent[text] = now

    def set_error(self, error: AcutanceError) -> None:
        """Keep an error that a restart would not cure; the first one counts."""
        self.error = self.error or error

    def set_restart_reason(self, reason: str) -> None:
        """Keep why the workers will have to start again; the first reason counts, the others follow from it."""
        self.restart_reason = self.restart_reason or reason

    def count_start(self, checkpoint: str) -> tuple[int, str]:
        """Count a start of the workers from a checkpoint.

        Returns:
            How many starts from this checkpoint came before, and the reason of this one.
        """
        reason, self.restart_reason = self.restart_reason, ""
        if self.checkpoint is not None:
            self.add_text(f"training starts again from its last checkpoint: {reason or 'a worker was lost'}")
        self.starts = self.starts + 1 if checkpoint == self.checkpoint else 0
        self.checkpoint = checkpoint
        return self.starts, reason

    def take(self) -> tuple[list[tuple[str, int, Losses, Figures]], list[str]]:
        """Return progress and messages since the last call."""
        taken = self.progress, self.texts
        self.progress, self.texts = [], []
        return taken

    def request_stop(self) -> None:
        """Have the workers write a checkpoint and stop."""
        self.stop = True

    def is_stop_requested(self) -> bool:
        """Return whether the workers are to stop."""
        return self.stop

    def get_error(self) -> AcutanceError | None:
        """Return the first error that a restart would not cure."""
        return self.error


def open_messages() -> Any:
    """Return a `Messages` actor on the driver's node: it is lost only together with the driver."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0)(Messages).options(scheduling_strategy=here).remote()


@contextlib.contextmanager
def shown(messages: Any, on_progress: OnProgress | None = None) -> Iterator[None]:
    """While the block runs, show the workers' messages on the screen and pass their progress to `on_progress`."""
    ended = threading.Event()

    def show() -> None:
        progress, texts = ray.get(messages.take.remote())
        for text in texts:
            say(text)
        for one in progress:
            if on_progress:
                on_progress(*one)

    def poll() -> None:
        while not ended.wait(POLL_SECONDS):
            with contextlib.suppress(Exception):
                show()

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
        show()
    finally:
        ended.set()
        thread.join()
