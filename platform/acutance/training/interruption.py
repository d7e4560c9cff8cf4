"""Ctrl-C and SIGTERM: the workers write a checkpoint before the command leaves."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any

import ray

from acutance.console import say

POLL_SECONDS = 1.0
"""How often worker 0 asks whether it is to stop."""


class Interruption:
    """Whether trainings are to stop, and the groups of workers that have to be told.

    Attributes:
        asked: whether the user asked for it.
    """

    def __init__(self) -> None:
        self.asked = False
        self.groups: list[Any] = []

    def tell(self, messages: Any) -> None:
        """Have a group of workers told, by its `Messages` actor: now, if the user asked for it already."""
        self.groups.append(messages)
        if self.asked:
            messages.request_stop.remote()

    def ask(self) -> None:
        """Tell all groups of workers to write a checkpoint and to stop."""
        self.asked = True
        for messages in self.groups:
            messages.request_stop.remote()


def run_interruptibly(work: Callable[[], None], interruption: Interruption, grace: float) -> None:
    """Do some work in a thread; at Ctrl-C or SIGTERM let its workers write a checkpoint first.

    A second Ctrl-C leaves at once.

    Args:
        grace: seconds that they get.

    Raises:
        KeyboardInterrupt: after the checkpoint was written, or when the time is over.
    """
    ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def do() -> None:
        try:
            work()
        except BaseException as error:
            ended.put(error)
        else:
            ended.put(None)

    threading.Thread(target=do, name="train", daemon=True).start()  # it ends with the connection to Ray
    try:
        error = ended.get()
    except KeyboardInterrupt:
        interruption.ask()
        say(f"stopping: a checkpoint is written first, for {grace:g} s at most; Ctrl-C again leaves at once")
        try:
            ended.get(timeout=grace)
        except queue.Empty:
            say(f"no checkpoint was written within {grace:g} s; the training goes on from the one before")
        raise
    if error:
        raise error


def stop_requested(messages: Any) -> Callable[[], bool]:
    """Return a function that says, without waiting, whether a worker's group is to stop."""
    asked = threading.Event()

    def poll() -> None:
        while not asked.wait(POLL_SECONDS):
            with contextlib.suppress(Exception):  # Ray ends, and the worker with it
                if ray.get(messages.is_stop_requested.remote()):
                    asked.set()

    threading.Thread(target=poll, name="stop", daemon=True).start()
    return asked.is_set
