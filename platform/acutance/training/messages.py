"""Where workers post what the driver shows: their progress, their sentences, the error that ends them."""

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

POLL_SECONDS = 0.5

SAME_SECONDS = 30.0
"""What was said so recently is not said again."""

Losses = dict[str, float]

OnProgress = Callable[[str, int, Losses], None]


class Board:
    """What workers have posted, and how it stands with their starts."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, int, Losses]] = []
        self.notes: list[str] = []
        self.said: dict[str, float] = {}
        self.failure: AcutanceError | None = None
        self.mark: str | None = None
        self.starts = 0
        self.stumble = ""

    def post(self, stage: str, step: int, losses: Losses) -> None:
        """Take progress."""
        self.posts.append((stage, step, losses))

    def note(self, text: str) -> None:
        """Take a sentence; when all workers say the same at about the same time, it is said once."""
        now = time.monotonic()
        if now - self.said.get(text, -SAME_SECONDS) >= SAME_SECONDS:
            self.notes.append(text)
        self.said[text] = now

    def fail(self, error: AcutanceError) -> None:
        """Take an error that would come again."""
        self.failure = self.failure or error

    def stumbled(self, what: str) -> None:
        """Take why workers will have to start again; the first to say so knows."""
        self.stumble = self.stumble or what

    def begun(self, mark: str) -> tuple[int, str]:
        """Take a start from `mark`; return how many there were from it before, and why there is another one."""
        why, self.stumble = self.stumble, ""
        again = self.mark is not None
        self.mark, self.starts = mark, self.starts + 1 if mark == self.mark else 0
        if again:
            self.note(f"training starts again from its last checkpoint: {why or 'a worker was lost'}")
        return self.starts, why

    def take(self) -> tuple[list[tuple[str, int, Losses]], list[str]]:
        """Give what was posted since the last time."""
        taken = self.posts, self.notes
        self.posts, self.notes = [], []
        return taken

    def why(self) -> AcutanceError | None:
        """Give the first error that would come again."""
        return self.failure


def open_board() -> Any:
    """Return a board as an actor on the driver's node, with which alone it can be lost."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0)(Board).options(scheduling_strategy=here).remote()


@contextlib.contextmanager
def relayed(board: Any, on_progress: OnProgress | None = None) -> Iterator[None]:
    """Show what is on a board while the block runs: sentences on the screen, progress by `on_progress`."""
    ended = threading.Event()

    def relay() -> None:
        posts, notes = ray.get(board.take.remote())
        for note in notes:
            say(note)
        for post in posts:
            if on_progress:
                on_progress(*post)

    def watch() -> None:
        while not ended.wait(POLL_SECONDS):
            with contextlib.suppress(Exception):
                relay()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
        relay()
    finally:
        ended.set()
        thread.join()
