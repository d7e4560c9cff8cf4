"""Leases: one process at a time does a piece of work, on whatever machine.

A lease record says which process does the work and when it last renewed the record. Records are written by compare and
swap. So of two processes that begin at the same moment one gets the lease, and a process that was stopped until another
one took its work over finds that out before it continues. A `LeaseStore` keeps the record: in a file, in an object of a
bucket or in a study. gs:// and abfs:// have no compare and swap (see `lease_stores`).
"""

from __future__ import annotations

import math
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from acutance.console import say
from acutance.errors import ConfigError, LostError
from acutance.process import is_gone, this_process

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
"""After so long without renewal the process is taken for dead. On its own machine that is known at once."""

POLL_SECONDS = 2.0

LeaseRecord = dict[str, Any]


class LeaseStore(Protocol):
    """Where a lease record lies."""

    def read(self) -> LeaseRecord | None:
        """Return the record, None where there is none."""

    def compare_and_swap(self, old: LeaseRecord | None, new: LeaseRecord | None) -> bool:
        """Replace `old` by `new` atomically if the record is `old`; return whether it was."""


class Lease:
    """The right to do some work, renewed every few seconds from a thread of its own."""

    def __init__(self, place: LeaseStore, what: str) -> None:
        now = time.time()
        self.place, self.what, self.lost = place, what, False
        self.record: LeaseRecord = {
            "id": uuid.uuid4().hex,
            "process": this_process(),
            "machine": socket.gethostname(),
            "pid": os.getpid(),
            "since": now,
            "heartbeat": now,
        }
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.renewed = time.monotonic()

    def acquire(self) -> LeaseRecord | None:
        """Acquire the lease; return None, or the record of the process that holds it."""
        while True:
            current = self.place.read()
            if current and _is_active(current):
                return current
            self.record |= {"since": time.time(), "heartbeat": time.time()}
            if self.place.compare_and_swap(current, self.record):
                self.renewed = time.monotonic()
                return None

    def held(self) -> bool:
        """Return whether this process still holds it; renew first where the last renewal is long ago."""
        if not self.lost and time.monotonic() - self.renewed > 2 * HEARTBEAT_SECONDS:
            with suppress(Exception):  # the store does not answer: no other process can take it either
                self.renew()
        return not self.lost

    def require(self) -> None:
        """Raise where another process has taken the work over.

        Raises:
            LostError: naming that process.
        """
        if not self.held():
            by = holder_text(current) if (current := self.place.read()) else "another process, which has ended since"
            what = f"{self.what} was taken over by {by}, while this one stood still"
            raise LostError(what, fix="let that one go on")

    def renew(self) -> None:
        """Renew the record, or find out that another process has taken it over."""
        with self.lock:
            renewed_record = {**self.record, "heartbeat": time.time()}
            if self.lost or self.place.compare_and_swap(self.record, renewed_record):
                self.record = renewed_record
            elif (current := self.place.read()) and current["id"] == self.record["id"]:
                self.record = current  # the write succeeded, and its answer was lost
            else:
                self.lost = True
            self.renewed = time.monotonic()

    def keep_renewing(self, interrupt: bool) -> None:
        """Renew it until it is released; where it is lost, interrupt this process."""
        while not self.ended.wait(HEARTBEAT_SECONDS):
            with suppress(Exception):
                self.renew()
            if self.lost:
                if interrupt:
                    os.kill(os.getpid(), signal.SIGINT)
                return

    def release(self) -> None:
        """Release the lease."""
        self.ended.set()
        with self.lock, suppress(Exception):  # if this fails, the record becomes stale soon
            if not self.lost:
                self.place.compare_and_swap(self.record, None)


@contextmanager
def exclusive(place: LeaseStore, what: str, where: str, *, until: Callable[[], bool] | None = None) -> Iterator[Lease]:
    """Hold a lease for the length of a `with` block: no other process does the same work meanwhile.

    Args:
        what: the work, as the beginning of a sentence.
        until: wait for another process until it ends or until this returns True: then nothing is left to do. Without
            it, another process is an error.

    Raises:
        ConfigError: when another process does it. The lease of a killed process is free at once on its own machine,
            after a minute on others.
        LostError: when another process has taken it over, since this one was stopped for a minute.
    """
    lease, announced = Lease(place, what), False
    while other := lease.acquire():
        if until is None:
            raise ConfigError(
                f"{what} is running already: {holder_text(other)}", where=where, fix="wait for it, or end that process"
            )
        if not announced:
            say(f"{what} is under way already: {holder_text(other)}; waiting for it")
            announced = True
        if until():
            lease.renewed = math.inf  # the work is done: there is nothing to take over
            yield lease
            return
        time.sleep(POLL_SECONDS)
    main = threading.current_thread() is threading.main_thread()
    thread = threading.Thread(target=lease.keep_renewing, args=(main,), name="lease", daemon=True)
    thread.start()
    try:
        yield lease
    except BaseException:
        if lease.lost:
            lease.require()
        raise
    finally:
        lease.release()
        thread.join()


def holder_text(record: LeaseRecord) -> str:
    """Return which process holds a lease and since when, as text."""
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record["since"]))
    return f"process {record['pid']} on {record['machine']}, since {since}"


def _is_active(record: LeaseRecord) -> bool:
    return not is_gone(record["process"]) and time.time() - record["heartbeat"] < STALE_SECONDS
