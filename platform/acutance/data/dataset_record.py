"""A record, in the storage root, of the pictures that a data set had when its shards were last made.

It lets a command find the shards of a data set on a machine that does not have the pictures: a complete shard set is
enough to train on. Where the pictures are present, they are read and the record is not used.
"""

from __future__ import annotations

import os
from typing import Any

from pydantic import ValidationError

from acutance import storage
from acutance.config.data import DataSettings
from acutance.config.schema import Strict
from acutance.data.columns import Content, PictureChecksums, stored_scales
from acutance.data.datasets import Catalogue
from acutance.data.entries import Entry
from acutance.errors import DamagedError
from acutance.fingerprint import fingerprint

PICTURE_KEYS = {"layout", "packaged", "folder", "file", "hr", "only", "lr_suffix", "lr_swap", "hr_for"}
"""The keys of a catalogue entry that determine which pictures a data set has."""


class DatasetRecord(Strict):
    """The pictures of a data set at the time of the record.

    Attributes:
        place: the path or URI of the data set.
        inputs: name and checksum of each picture.
        notes: what models trained on it must say about it.
        files: for classified pictures, the fingerprint of the files that held them.
    """

    place: str
    inputs: PictureChecksums
    notes: tuple[str, ...] = ()
    files: str = ""

    @property
    def content(self) -> Content:
        """The content that stages depend on."""
        return Content(self.inputs, self.notes)


def write_record(record: DatasetRecord, settings: DataSettings, scale: int, catalogue: Catalogue, root: str) -> None:
    """Write the record of a data set whose shards are complete, unless the stored one is equal."""
    if read_record(settings, scale, catalogue, root) != record:
        storage.write_json(_record_uri(settings, scale, catalogue, root), record.model_dump(mode="json"))


def read_record(settings: DataSettings, scale: int, catalogue: Catalogue, root: str) -> DatasetRecord | None:
    """Return the record of a data set; None where there is none that can be read."""
    try:
        return DatasetRecord.model_validate(storage.read_json(_record_uri(settings, scale, catalogue, root)))
    except (FileNotFoundError, DamagedError, ValidationError):
        return None


def _record_uri(settings: DataSettings, scale: int, catalogue: Catalogue, root: str) -> str:
    stored, entry = stored_scales(settings, scale), catalogue.entries.get(settings.train)
    base = catalogue.entries.get(entry.of or "") if entry else None
    named = settings.train if entry or storage.is_remote(settings.train) else os.path.normpath(settings.train)
    determines = {
        "train": named,
        "label": settings.label,
        "split": settings.split,
        "scale": None if settings.label else scale,
        "entries": [_picture_settings(one, stored) for one in (entry, base)],
        "lr": [stored, os.path.normpath(settings.lr)] if settings.lr else stored,
    }
    return storage.join(root, "inventory", "known", f"{fingerprint(determines)}.json")


def _picture_settings(entry: Entry | None, stored: list[int]) -> dict[str, Any] | None:
    if entry is None:
        return None
    lr = {str(scale): place for scale, place in entry.lr.items() if scale in stored}
    return {**entry.model_dump(mode="json", include=PICTURE_KEYS), "lr": lr}
