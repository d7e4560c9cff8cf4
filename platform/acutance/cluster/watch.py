"""Ends a process with a clear error when its Ray cluster is gone.

Without this (Ray 2.60), a process whose raylet has ended waits for ever, and one whose head node has ended is ended
after a minute with no message that a user understands.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from acutance.cluster.probe import host_and_port
from acutance.console import say
from acutance.errors import LostError

POLL_SECONDS = 5.0

HEAD_SECONDS = 30.0
"""How long a head may not answer: its cluster waits for a restarted one. Ray gives up after 60 s."""

END_SECONDS = 20.0
"""How long this process may take to end in order; Ray can delay that."""

FIX = "run the same command again: it goes on from the last checkpoint"


@contextmanager
def watched(disconnect: Callable[[], object]) -> Iterator[None]:
    """Watch the Ray that this process is connected to, for the length of a `with` block; then disconnect.

    Raises:
        LostError: when it is gone, in the main thread; where Ray blocks, the process is ended.
    """
    left, ended, gone = threading.Event(), threading.Event(), list[str]()
    main = threading.current_thread() is threading.main_thread()
    threading.Thread(target=_watch, args=(left, ended, gone, main), name="Ray's watch", daemon=True).start()
    try:
        yield
    except BaseException:
        if gone:
            raise LostError(gone[0], fix=FIX) from None
        raise
    finally:
        left.set()
        disconnect()
        ended.set()


def _watch(left: threading.Event, ended: threading.Event, gone: list[str], main: bool) -> None:
    import ray

    context = ray.get_runtime_context()
    host, port = host_and_port(context.gcs_address)
    node, answered = context.get_node_id(), time.monotonic()
    while not left.wait(POLL_SECONDS):
        if _answers(host, port):
            answered = time.monotonic()
            if _is_alive(node):
                continue
            gone.append("Ray's process on this machine (its raylet) is gone, and with it what was running")
        elif time.monotonic() - answered > HEAD_SECONDS:
            gone.append(f"the head of the Ray cluster at {context.gcs_address} is gone, and with it what was running")
        else:
            continue
        if main:
            os.kill(os.getpid(), signal.SIGINT)
            if ended.wait(END_SECONDS):
                return
        say(f"error: {gone[0]}\n  to do: {FIX}")
        os._exit(1)


def _is_alive(node: str) -> bool:
    import ray

    try:
        return bool({each["NodeID"]: each["Alive"] for each in ray.nodes()}.get(node, True))
    except Exception:  # it is disconnecting, or the head is ending: the next poll shows which
        return True


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=POLL_SECONDS).close()
    except OSError:
        return False
    return True
