"""Standard output and error whose failure stops no command: closed, a full disk, a broken pipe, a lost terminal.

What can no longer be written is discarded, for every writer in this process, and the command goes on. At its end it
says whether its result was lost.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys


class _Output(io.FileIO):
    """A file that discards all that is written to it after its first failed write."""

    failure: OSError | None = None

    def write(self, content: object, /) -> int:
        try:
            return super().write(content)  # type: ignore[arg-type]
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.EINTR}:
                raise
            self.failure = error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return len(memoryview(content))  # type: ignore[arg-type]


def secure() -> None:
    """Open closed standard streams, so that no database file gets their numbers, and let the others never fail.

    Streams that somebody else has put in place stay as they are.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is sys.__stdout__:
        sys.stdout = _stream(1, getattr(sys.stdout, "encoding", "utf-8"))
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(2, getattr(sys.stderr, "encoding", "utf-8"))


def lost_output() -> OSError | None:
    """Return why standard output lost something; None if nothing, or if a pipe was closed early."""
    with contextlib.suppress(ValueError):
        sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    failure = raw.failure if isinstance(raw, _Output) else None
    return None if failure is None or failure.errno == errno.EPIPE else failure


def _stream(number: int, encoding: str) -> io.TextIOWrapper:
    """Return a text stream; characters that its encoding lacks are written as escapes."""
    raw = _Output(number, "w", closefd=False)
    lines = number == 2 or raw.isatty()
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=lines)
