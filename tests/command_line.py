"""The command line as a user runs it, in the repository: as a process of its own, or in that of the test."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


DATA = Path(os.environ["ACUTANCE_DATA"]) if os.environ.get("ACUTANCE_DATA") else None
"""The developer's folder of benchmark pictures, parameter files and weights."""

ASTRAY = {"RAY_ADDRESS", "MLFLOW_TRACKING_URI", "ACUTANCE_STORAGE", "ACUTANCE_WEIGHTS", "ACUTANCE_DATA"}
"""What in a developer's environment would lead a test elsewhere."""

Done = subprocess.CompletedProcess[str]
Here = Callable[..., Done]
"""Runs a command in the test's own process."""


def environment(**more: str) -> dict[str, str]:
    """Return the user's environment without what would lead a test elsewhere."""
    return {**{name: value for name, value in os.environ.items() if name not in ASTRAY}, **more}


def acutance(*arguments: str, timeout: float = 400, **more: str) -> Done:
    """Run a command to its end; `more` are environment variables."""
    return subprocess.run(
        [sys.executable, "-m", "acutance", *arguments],
        cwd=REPOSITORY,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def in_this_process(*arguments: str, **more: str) -> Done:
    """Run a command in the test's own process: what is slow about a command is mostly its imports."""
    from acutance.cli import main

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name in ASTRAY:
            patch.delenv(name, raising=False)
        for name, value in more.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["acutance", *arguments])
        patch.chdir(REPOSITORY)
        with pytest.raises(SystemExit) as end:
            main()
    printed = [stream.buffer.getvalue().decode() for stream in (out, err)]
    return Done(arguments, int(end.value.code or 0), *printed)


class Quickstart:
    """A finished quickstart run: its storage, what it printed, its command, and what that changed."""

    def __init__(
        self, root: Path, result: dict[str, Any], messages: str, command: tuple[str, ...], overrides: dict[str, Any]
    ) -> None:
        self.root, self.result, self.messages = root, result, messages
        self.command, self.overrides = command, overrides

    def mean(self, candidate: str, metric: str) -> float:
        evaluation = self.result["evaluation"]
        rows = [*evaluation["rows"], *evaluation["truth"]]
        return next(row["metrics"][metric] for row in rows if row["candidate"] == candidate)
