"""Which picture a worker was at when it died: one that takes workers down is found, and is not tried for ever."""

from __future__ import annotations

from acutance import storage
from acutance.errors import DamagedError

MOST = 2
"""How many workers a picture may take down."""


class Tries:
    """A note beside a shard of the pictures that were begun and not ended. It lasts while the shard is being made.

    Args:
        note: its URI.
        run: of the driver that makes the set; what another one left says nothing, for it may have been killed itself.
    """

    def __init__(self, note: str, run: str) -> None:
        self.note, self.run = note, run
        self.begun: dict[str, int] = _noted(note, run)

    def are_over(self, picture: str) -> bool:
        """Tell whether a picture has taken down as many workers as it may."""
        return self.begun.get(picture, 0) >= MOST

    def begin(self, picture: str) -> None:
        """Note that a picture is looked at now."""
        self.begun[picture] = self.begun.get(picture, 0) + 1
        storage.write_json(self.note, {"run": self.run, "begun": self.begun})

    def end(self, picture: str) -> None:
        """Forget a picture that took nobody down; the note follows with the next one."""
        del self.begun[picture]

    def forget(self) -> None:
        """Delete the note: all pictures have been looked at."""
        storage.delete(self.note)


def _noted(note: str, run: str) -> dict[str, int]:
    try:
        found = storage.read_json(note)
    except (FileNotFoundError, DamagedError):
        return {}
    return dict(found["begun"]) if found["run"] == run else {}
