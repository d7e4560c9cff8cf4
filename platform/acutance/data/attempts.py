"""Counts the workers that died while they read a picture, so that a picture is not tried without end."""

from __future__ import annotations

from acutance import storage
from acutance.errors import DamagedError

MOST = 2
"""How many workers may die over one picture."""


class Attempts:
    """A JSON file beside a shard, while it is made: the pictures that were begun and not finished.

    Args:
        note: its URI.
        run: the driver's run. Entries of another run are ignored: its workers may have been killed with it.
    """

    def __init__(self, note: str, run: str) -> None:
        self.note, self.run = note, run
        self.begun: dict[str, int] = _read(note, run)

    def are_exhausted(self, picture: str) -> bool:
        """Return whether as many workers died over a picture as may."""
        return self.begun.get(picture, 0) >= MOST

    def begin(self, picture: str) -> None:
        """Record that a picture is begun."""
        self.begun[picture] = self.begun.get(picture, 0) + 1
        storage.write_json(self.note, {"run": self.run, "begun": self.begun})

    def end(self, picture: str) -> None:
        """Remove a finished picture; it is written with the next one that is begun."""
        del self.begun[picture]

    def forget(self) -> None:
        """Delete the file: all pictures are finished."""
        storage.delete(self.note)


def _read(note: str, run: str) -> dict[str, int]:
    try:
        found = storage.read_json(note)
    except (FileNotFoundError, DamagedError):
        return {}
    return dict(found["begun"]) if found["run"] == run else {}
