"""Where a training records what a person looks at: losses, validations, pictures."""

from __future__ import annotations

from typing import Protocol


class Tracker(Protocol):
    """Records a training; it never makes the training wait."""

    def metrics(self, rows: list[tuple[int, dict[str, float]]]) -> None:
        """Record (step, name -> value) rows."""

    def picture(self, name: str, content: bytes) -> None:
        """Record a picture as the file `name`, in place of the one of that name."""

    def close(self) -> None:
        """Wait until all is recorded; no more will come."""
