"""What may come back is waited for: a store, a server or a database that stops to answer for some minutes.

Waiting is for what had answered before. Where a command's very first contact fails, the address is more likely wrong
than the network, and the user is told at once. A worker that others started is patient from its start: they had been
answered. What is refused (`RefusedError`) is never waited for.
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from acutance.console import say
from acutance.errors import UnreachableError, UserError

VARIABLE = "ACUTANCE_PATIENCE"
MINUTES = 10.0
"""How long an outage is waited for where the variable says nothing."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""Seconds between two attempts; each pause is twice the one before, give or take a half."""

REMINDER = 60.0
"""Seconds after which it is said again that something is waited for."""

Result = TypeVar("Result")


class GivenUpError(UnreachableError):
    """It has been waited for already, as long as patience lasts."""


@dataclass
class _Known:
    """What this process knows of the things it waits for."""

    answered: set[str] = field(default_factory=set)
    away: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


_known = _Known()


def limit() -> float:
    """Return for how many seconds an outage is waited for.

    Raises:
        UserError: when the variable holds no number of minutes.
    """
    given = os.environ.get(VARIABLE, "").strip()
    try:
        minutes = float(given) if given else MINUTES
    except ValueError:
        minutes = -1
    if not 0 <= minutes < float("inf"):
        raise UserError(f"{given!r} is no number of minutes", where=VARIABLE, fix="set it to 10, say, or 0 not to wait")
    return 60 * minutes


def patiently(what: str, key: str, attempt: Callable[[], Result]) -> Result:
    """Return what `attempt` returns, trying again as long as it raises UnreachableError.

    Args:
        what: what is waited for, in words.
        key: by which it is known whether it has answered before.

    Raises:
        UnreachableError: of the last attempt, when it had never answered or `limit` is over.
    """
    try:
        result = attempt()
    except GivenUpError:
        raise
    except UnreachableError as error:
        if key not in _known.answered and not is_worker():
            raise
        result = _waited(what, key, attempt, error)
    _known.answered.add(key)
    return result


def pauses() -> Callable[[], float]:
    """Return a function that gives one pause after the other, in seconds."""
    longest = FIRST_PAUSE
    draw = secrets.SystemRandom()  # training's own random numbers must not know of outages

    def following() -> float:
        nonlocal longest
        pause, longest = longest * draw.uniform(0.5, 1.5), min(2 * longest, LONGEST_PAUSE)
        return pause

    return following


def is_worker() -> bool:
    """Tell whether Ray started this process as a worker."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return False
    return bool(ray._private.worker.global_worker.mode == ray.WORKER_MODE)


def _waited(what: str, key: str, attempt: Callable[[], Result], error: UnreachableError) -> Result:
    began, most, pause = time.monotonic(), limit(), pauses()
    said = began
    first = _note(key, away=True)
    if first:
        say(f"{what} does not answer ({_brief(error)}); waiting, up to {_minutes(most)}")
    while True:
        waited = time.monotonic() - began
        left = most - waited
        if left <= 0:
            _note(key, away=False)
            raise GivenUpError(
                f"{error.what} (waited for {_minutes(most)})",
                where=error.where,
                fix=f"{error.fix}; {VARIABLE} waits longer",
            ) from error
        time.sleep(min(pause(), left))
        try:
            result = attempt()
        except UnreachableError as again:
            if isinstance(again, GivenUpError):
                raise
            error = again
            if first and time.monotonic() - said >= REMINDER:
                said = time.monotonic()
                say(f"{what} still does not answer, after {_minutes(said - began)} of {_minutes(most)}")
            continue
        except BaseException:  # it answers, though not as was hoped; or nobody waits any more
            _note(key, away=False)
            raise
        if _note(key, away=False):
            say(f"{what} answers again, after {time.monotonic() - began:.0f} s")
        return result


def _note(key: str, *, away: bool) -> bool:
    """Note whether something is away; tell whether that is news."""
    with _known.lock:
        if (key in _known.away) == away:
            return False
        (_known.away.add if away else _known.away.discard)(key)
        return True


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes"


def _brief(error: UnreachableError) -> str:
    return error.what.partition(": ")[2] or error.what
