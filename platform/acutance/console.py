"""Messages and progress bars on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from acutance.redact import redacted

if TYPE_CHECKING:
    from rich.progress import Progress

QUIET_SECONDS = 10.0
"""Without a terminal (in a job's log), the least time between two progress lines."""

# Without emoji: rich would print one in place of `:train:` in `CIFAR10:train:`.
stderr = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
_WIDTH = None if sys.stdout and sys.stdout.isatty() else 110
stdout = Console(highlight=False, soft_wrap=True, emoji=False, width=_WIDTH)

Update = Callable[[int, str], None]
"""Called with the number of items done and a note about the last one."""


_sink: Callable[[str], object] = stderr.print


def say(text: str) -> None:
    """Print a message, without any passwords in it."""
    _sink(redacted(text))


def say_through(sink: Callable[[str], object]) -> None:
    """Send this process's messages to a function: what a worker prints is not shown."""
    global _sink  # noqa: PLW0603 - one sink for each process
    _sink = sink


@contextmanager
def copied_to(log: Callable[[str], object]) -> Iterator[None]:
    """Also hand the messages of the block to a function, as plain text."""
    shown = _sink

    def both(text: str) -> None:
        shown(text)
        log(Text.from_markup(text).plain)

    say_through(both)
    try:
        yield
    finally:
        say_through(shown)


@contextmanager
def progress(title: str, total: int, *, alike: bool = True) -> Iterator[Update]:
    """Show progress; yields `update(done, note)`.

    Args:
        alike: whether all items take equally long, so that the time left can be estimated.
    """
    if stderr.is_terminal:
        with _bar(alike) as bar:
            task = bar.add_task(title, total=total, note="")

            def advance(done: int, note: str) -> None:
                bar.update(task, completed=done, note=note)

            yield advance
        return
    started = last = time.monotonic()
    stderr.print(f"{title} ...")

    def update(done: int, note: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= QUIET_SECONDS and done < total:
            last = now
            stderr.print(f"{title}: {done}/{total} {note}")

    yield update
    stderr.print(f"{title}: done in {time.monotonic() - started:.0f} s")


def clock(seconds: float) -> str:
    """Return a duration as 1:02:10, or 2:10."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _bar(alike: bool) -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        *([TimeRemainingColumn(compact=True)] if alike else []),
        TextColumn("{task.fields[note]}", style="dim"),
        console=stderr,
    )
