"""Retries calls to a store, a server or a database that does not answer for some minutes.

Only what has answered before is waited for. Where the first call of a command fails, the address is more likely wrong
than the network, so that is an error at once. A Ray worker waits from its first call on, since its driver had an
answer. A refusal (`RefusedError`) is never retried.
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
"""How long an outage is waited for where the variable is not set."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""Seconds between two attempts; each pause is twice the one before, give or take a half."""

REMINDER = 60.0
"""Seconds between two messages about one outage."""

Result = TypeVar("Result")


class GivenUpError(UnreachableError):
    """It was waited for already, for as long as `limit`."""


@dataclass
class _Targets:
    """Keys of stores, servers and databases: those that have answered, and those that do not answer now."""

    answered: set[str] = field(default_factory=set)
    away: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


_targets = _Targets()


def limit() -> float:
    """Return the longest wait for an outage, in seconds.

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
        key: identifies it; a key that has answered before is waited for.

    Raises:
        UnreachableError: of the last attempt, where it had never answered or `limit` is over.
    """
    try:
        result = attempt()
    except GivenUpError:
        raise
    except UnreachableError as error:
        if key not in _targets.answered and not is_worker():
            raise
        result = _waited(what, key, attempt, error)
    _targets.answered.add(key)
    return result


def pauses() -> Callable[[], float]:
    """Return a function that returns the next pause, in seconds."""
    longest = FIRST_PAUSE
    random = secrets.SystemRandom()  # not the generators of training, whose draws must not depend on outages

    def next_pause() -> float:
        nonlocal longest
        pause, longest = longest * random.uniform(0.5, 1.5), min(2 * longest, LONGEST_PAUSE)
        return pause

    return next_pause


def is_worker() -> bool:
    """Return whether this process is a Ray worker."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return False
    return bool(ray._private.worker.global_worker.mode == ray.WORKER_MODE)


def _waited(what: str, key: str, attempt: Callable[[], Result], error: UnreachableError) -> Result:
    began, longest_wait, pause = time.monotonic(), limit(), pauses()
    last_message = began
    first = _set_away(key, away=True)
    if first:
        say(f"{what} does not answer ({_brief(error)}); waiting, up to {_minutes(longest_wait)}")
    while True:
        waited = time.monotonic() - began
        left = longest_wait - waited
        if left <= 0:
            _set_away(key, away=False)
            raise GivenUpError(
                f"{error.what} (waited for {_minutes(longest_wait)})",
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
            if first and time.monotonic() - last_message >= REMINDER:
                last_message = time.monotonic()
                say(f"{what} still does not answer, after {_minutes(last_message - began)} of {_minutes(longest_wait)}")
            continue
        except BaseException:  # it answers with another error, or the user interrupts
            _set_away(key, away=False)
            raise
        if _set_away(key, away=False):
            say(f"{what} answers again, after {time.monotonic() - began:.0f} s")
        return result


def _set_away(key: str, *, away: bool) -> bool:
    """Record whether a key is away; return whether that is a change."""
    with _targets.lock:
        if (key in _targets.away) == away:
            return False
        (_targets.away.add if away else _targets.away.discard)(key)
        return True


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes"


def _brief(error: UnreachableError) -> str:
    return error.what.partition(": ")[2] or error.what
