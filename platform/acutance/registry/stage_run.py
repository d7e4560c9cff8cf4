"""The MLflow run of a stage: it begins and ends with the stage's training, in the process that trains it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from acutance.errors import UnreachableError
from acutance.registry.address import client_of
from acutance.registry.runs import finish, linked, stage_run
from acutance.registry.spool import Spool
from acutance.registry.tracker import StageTracker


@dataclass
class StageRun:
    """Records a stage in a run below its pipeline's; plain data until it begins.

    Attributes:
        parent: id of the pipeline's run.
        params: nested settings, as for `stage_run`.
        folder: URI of the stage's folder, for metrics that cannot be delivered.
    """

    uri: str = field(repr=False)  # it may hold a password
    parent: str
    name: str
    fingerprint: str
    params: dict[str, Any]
    tags: dict[str, str]
    folder: str
    spool: Spool | None = field(default=None, init=False)

    def begin(self) -> None:
        """Open the run, or go on with the one that this work had before.

        Raises:
            UnreachableError: when the store does not answer as long as patience lasts.
        """
        client, tags = client_of(self.uri), {**self.tags, **linked(self.folder)}
        run = stage_run(client, self.parent, self.name, self.fingerprint, self.params, tags=tags)
        self.spool = Spool(StageTracker(self.uri, run), self.folder)

    def metrics(self, rows: list[tuple[int, dict[str, float]]]) -> None:
        """Record (step, losses) rows, without making training wait."""
        if self.spool:
            self.spool.metrics(rows)

    def picture(self, name: str, content: bytes) -> None:
        """Record the bytes of a picture's file, without making training wait."""
        if self.spool:
            self.spool.picture(name, content)

    def close(self) -> None:
        """See to it that all is recorded, and end the run; where the store is away, its pipeline's end ends it."""
        if self.spool and self.spool.close():
            with suppress(UnreachableError):
                finish(client_of(self.uri), self.spool.tracker.run_id)
        self.spool = None
