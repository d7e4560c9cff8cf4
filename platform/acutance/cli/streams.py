"""Standard output and error that never end the work: closed, full, a pipe that nobody reads, a terminal that is gone.

Whoever loses what is printed has not lost what was done. What can no longer be written goes nowhere, for everyone in
this process, and the command says at its end whether its result was among it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys


class _Output(io.FileIO):
    """A file that is written to as long as it takes anything; after that its bytes go nowhere."""

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
    """Open standard streams that are closed, lest a database get their numbers, and make the others unable to fail.

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
    """Return why something of standard output could not be written; None when all was, or nobody wanted the rest."""
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
