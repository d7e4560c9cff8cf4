"""The command line as a user runs it: subprocesses in the repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent


def environment(**more: str) -> dict[str, str]:
    """Return the user's environment without what would lead a test elsewhere."""
    astray = {"RAY_ADDRESS", "MLFLOW_TRACKING_URI", "ACUTANCE_STORAGE", "ACUTANCE_WEIGHTS", "ACUTANCE_DATA"}
    return {**{name: value for name, value in os.environ.items() if name not in astray}, **more}


def acutance(*arguments: str, timeout: float = 400, **more: str) -> subprocess.CompletedProcess[str]:
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
    """A finished quickstart run: its storage and what it printed."""

    def __init__(self, root: Path, result: dict[str, Any], messages: str) -> None:
        self.root, self.result, self.messages = root, result, messages

    def mean(self, candidate: str, metric: str) -> float:
        rows = self.result["evaluation"]["rows"]
        return next(row["metrics"][metric] for row in rows if row["candidate"] == candidate)
