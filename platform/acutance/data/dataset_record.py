"""What a data set consisted of when its shards were made last, remembered in the storage root.

With it the shards of a data set are found where its pictures are not: a complete set is enough to train on. Pictures
that are here always count for more.
"""

from __future__ import annotations

import os
from typing import Any

from pydantic import ValidationError

from acutance import storage
from acutance.config.data import DataSettings
from acutance.config.schema import Strict
from acutance.data.columns import Checked, Content, stored_scales
from acutance.data.datasets import Catalogue
from acutance.data.entries import Entry
from acutance.errors import DamagedError
from acutance.fingerprint import fingerprint

WHICH = {"layout", "packaged", "folder", "file", "hr", "only", "lr_suffix", "lr_swap", "hr_for"}
"""What a catalogue says of a data set that decides which pictures it has."""


class Known(Strict):
    """What a data set consisted of.

    Attributes:
        place: where it lay.
        files: of classified pictures, the fingerprint of the files that held them.
    """

    place: str
    originals: Checked
    notes: tuple[str, ...] = ()
    files: str = ""

    @property
    def content(self) -> Content:
        """What stages know of it."""
        return Content(self.originals, self.notes)


def remember(known: Known, settings: DataSettings, scale: int, catalogue: Catalogue, root: str) -> None:
    """Note what a data set consists of whose shards are complete."""
    if recall(settings, scale, catalogue, root) != known:
        storage.write_json(_note(settings, scale, catalogue, root), known.model_dump(mode="json"))


def recall(settings: DataSettings, scale: int, catalogue: Catalogue, root: str) -> Known | None:
    """Return what a data set consisted of when shards were made of it last; None where none were."""
    try:
        return Known.model_validate(storage.read_json(_note(settings, scale, catalogue, root)))
    except (FileNotFoundError, DamagedError, ValidationError):
        return None


def _note(settings: DataSettings, scale: int, catalogue: Catalogue, root: str) -> str:
    stored, entry = stored_scales(settings, scale), catalogue.entries.get(settings.train)
    named = settings.train if entry or storage.is_remote(settings.train) else os.path.normpath(settings.train)
    determines = {
        "train": named,
        "label": settings.label,
        "split": settings.split,
        "scale": None if settings.label else scale,
        "entries": [_which(one, stored) for one in (entry, catalogue.entries.get(entry.of or "") if entry else None)],
        "lr": [stored, os.path.normpath(settings.lr)] if settings.lr else stored,
    }
    return storage.join(root, "inventory", "known", f"{fingerprint(determines)}.json")


def _which(entry: Entry | None, stored: list[int]) -> dict[str, Any] | None:
    if entry is None:
        return None
    lr = {str(scale): place for scale, place in entry.lr.items() if scale in stored}
    return {**entry.model_dump(mode="json", include=WHICH), "lr": lr}
