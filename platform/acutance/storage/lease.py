"""One process at a time on work that lasts, on whatever machine: a sign says who does it, and when it last said so.

A sign is set, renewed and taken over by exchanges that no other process can come between. So of two that begin at the
same moment one gets it, and a process that was stopped until another one took its work over finds that out before it
goes on. Where the sign lies, a file, an object of a bucket or a study, is a `Place`. On gs:// and abfs:// there is no
such exchange (see `places`).
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

BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
"""After so long without a beat a process is taken for dead; where it was on this machine, that is known at once."""

LOOK_SECONDS = 2.0

Sign = dict[str, Any]


class Place(Protocol):
    """Where a sign lies."""

    def read(self) -> Sign | None:
        """Return the sign, None where there is none."""

    def swap(self, old: Sign | None, new: Sign | None) -> bool:
        """Put `new` in place of `old` if that is what lies there, in one; tell whether it was."""


class Lease:
    """The right to do some work, renewed every few seconds from a thread of its own."""

    def __init__(self, place: Place, what: str) -> None:
        now = time.time()
        self.place, self.what, self.lost = place, what, False
        self.sign: Sign = {
            "id": uuid.uuid4().hex,
            "process": this_process(),
            "machine": socket.gethostname(),
            "pid": os.getpid(),
            "since": now,
            "beat": now,
        }
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.renewed = time.monotonic()

    def begin(self) -> Sign | None:
        """Take it; return the sign of another process where that one has it."""
        while True:
            there = self.place.read()
            if there and _works(there):
                return there
            self.sign |= {"since": time.time(), "beat": time.time()}
            if self.place.swap(there, self.sign):
                self.renewed = time.monotonic()
                return None

    def held(self) -> bool:
        """Tell whether this process still has it; asked for anew where it could not say so for a while."""
        if not self.lost and time.monotonic() - self.renewed > 2 * BEAT_SECONDS:
            with suppress(Exception):  # a store that is away: nobody else can take it from there either
                self.renew()
        return not self.lost

    def require(self) -> None:
        """Refuse to go on with what another process has taken over.

        Raises:
            LostError: naming that process.
        """
        if not self.held():
            by = told(there) if (there := self.place.read()) else "another process, which has ended since"
            what = f"{self.what} was taken over by {by}, while this one stood still"
            raise LostError(what, fix="let that one go on")

    def renew(self) -> None:
        """Say that this process is still at work, or find out that another one is."""
        with self.lock:
            fresh = {**self.sign, "beat": time.time()}
            if self.lost or self.place.swap(self.sign, fresh):
                self.sign = fresh
            elif (there := self.place.read()) and there["id"] == self.sign["id"]:
                self.sign = there  # it was exchanged, and the answer was lost on its way
            else:
                self.lost = True
            self.renewed = time.monotonic()

    def beat(self, interrupt: bool) -> None:
        """Renew it until it ends; where it is lost, interrupt this process."""
        while not self.ended.wait(BEAT_SECONDS):
            with suppress(Exception):
                self.renew()
            if self.lost:
                if interrupt:
                    os.kill(os.getpid(), signal.SIGINT)
                return

    def end(self) -> None:
        """Let go of it."""
        self.ended.set()
        with self.lock, suppress(Exception):  # else it is stale soon, or its process is gone
            if not self.lost:
                self.place.swap(self.sign, None)


@contextmanager
def alone(place: Place, what: str, where: str, *, until: Callable[[], bool] | None = None) -> Iterator[Lease]:
    """Be the only one to do some work for the length of a `with` block.

    Args:
        what: the work, as the beginning of a sentence.
        until: another process that does it is waited for until it ends, or until this is so: then nothing is left to
            do. Where it is left out, another process is an error.

    Raises:
        ConfigError: when another process does it. One that was killed gives way at once where this machine can tell,
            and after a minute where it was on another.
        LostError: when another process has taken it over, since this one was stopped for a minute.
    """
    lease, said = Lease(place, what), False
    while other := lease.begin():
        if until is None:
            raise ConfigError(
                f"{what} is running already: {told(other)}", where=where, fix="wait for it, or end that process"
            )
        if not said:
            say(f"{what} is under way already: {told(other)}; waiting for it")
            said = True
        if until():
            lease.renewed = math.inf  # there is nothing that could be taken over
            yield lease
            return
        time.sleep(LOOK_SECONDS)
    main = threading.current_thread() is threading.main_thread()
    thread = threading.Thread(target=lease.beat, args=(main,), name="lease", daemon=True)
    thread.start()
    try:
        yield lease
    except BaseException:
        if lease.lost:
            lease.require()
        raise
    finally:
        lease.end()
        thread.join()


def told(sign: Sign) -> str:
    """Return who has a lease and since when, in words."""
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(sign["since"]))
    return f"process {sign['pid']} on {sign['machine']}, since {since}"


def _works(sign: Sign) -> bool:
    return not is_gone(sign["process"]) and time.time() - sign["beat"] < STALE_SECONDS
