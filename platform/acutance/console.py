"""What the user sees while work goes on: sentences and progress bars, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from acutance.redact import redacted

QUIET_SECONDS = 10.0
"""Where there is no terminal (a job's log), a progress line at most this often."""

# Without emoji, which would make a tram of the end of `CIFAR10:train:`.
stderr = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
_WIDTH = None if sys.stdout and sys.stdout.isatty() else 110
stdout = Console(highlight=False, soft_wrap=True, emoji=False, width=_WIDTH)

Update = Callable[[int, str], None]
"""Called with what is done so far and a word about it."""


_sink: Callable[[str], object] = stderr.print


def say(text: str) -> None:
    """Print a sentence about the work, without the passwords that it may hold."""
    _sink(redacted(text))


def say_through(sink: Callable[[str], object]) -> None:
    """Have this process's sentences go elsewhere: nobody sees what a worker prints."""
    global _sink  # noqa: PLW0603 - a process has one voice
    _sink = sink


@contextmanager
def progress(title: str, total: int, *, alike: bool = True) -> Iterator[Update]:
    """Show progress; yields `update(done, note)`.

    Args:
        alike: what is counted takes equally long, so that the time left can be told from what is done.
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
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        *([TimeRemainingColumn(compact=True)] if alike else []),
        TextColumn("{task.fields[note]}", style="dim"),
        console=stderr,
    )
