"""The command line as a user runs it: subprocesses in the repository."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
