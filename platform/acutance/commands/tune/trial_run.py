"""The MLflow run of a trial, below its campaign's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from acutance.fingerprint import fingerprint
from acutance.registry import tracking
from acutance.training.loop import Losses


@dataclass(frozen=True)
class OpenTrialRun:
    """Opens a trial's MLflow run in the trial's own process, below the campaign's."""

    uri: str
    parent: str
    study: str

    def __call__(self, number: int, values: dict[str, Any], folder: str) -> TrialRun:
        client = tracking.client_of(self.uri)
        mark = fingerprint([self.study, number])
        tags = {"acutance.trial": f"{self.study}/{number}", **tracking.linked(folder)}
        run = tracking.stage_run(client, self.parent, f"trial {number}", mark, values, tags=tags)
        return TrialRun(run, tracking.Spool(tracking.StageTracker(self.uri, run), folder))


@dataclass(frozen=True)
class TrialRun:
    """Where a trial's losses and scores go."""

    run: str
    spool: tracking.Spool

    def metrics(self, rows: list[tuple[int, Losses]]) -> None:
        """Record (step, losses or scores) rows."""
        self.spool.metrics(rows)

    def picture(self, name: str, content: bytes) -> None:
        """Record the bytes of a picture's file."""
        self.spool.picture(name, content)

    def close(self, seconds: float | None = None) -> None:
        """Wait until all is recorded, for so many seconds or `patience.limit`."""
        self.spool.close(seconds)
