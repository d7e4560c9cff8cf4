"""The manifest of a shard set. It is written last: where it exists, all shards are complete."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from acutance import storage
from acutance.config.schema import Strict
from acutance.errors import DamagedError, DataError
from acutance.storage import done
from acutance.storage.done import FILES, Done

Coding = Literal["pixels", "log2", "value", "label", "encoded"]

SHARD_VERSION = 9
"""Counts changes of the layout of shards, or of the code that fills them."""

MANIFEST = FILES["shards"]


class Column(Strict):
    """What one tensor column holds: rows of `shape` (H, W, channels), `divisor` times smaller than HR.

    `coding` says what they are: pixels in 0..255; log2 of the values that networks get; those values themselves; a
    label of any shape; or, encoded, picture files of at least `shape` pixels.
    """

    dtype: str
    shape: tuple[int, ...]
    divisor: int
    coding: Coding


class Shard(Strict):
    """One file of a shard set; `encoded` is how many bytes of picture files it holds."""

    file: str
    rows: int
    bytes: int
    sha256: str
    encoded: int = 0


class PreparedSource(Strict):
    """One picture and its number of sub-images."""

    name: str
    sha256: str
    rows: int


class Skipped(Strict):
    """One picture that was left out, and why."""

    name: str
    reason: str


class Manifest(Strict):
    """The description of a shard set; `fresh` is whether this process just made it."""

    version: int
    fingerprint: str
    settings: dict[str, Any]
    columns: dict[str, Column]
    rows: int
    shards: list[Shard]
    sources: list[PreparedSource]
    skipped: list[Skipped]
    fresh: bool = Field(default=False, exclude=True)

    def column_bytes(self, name: str) -> int:
        """Return how many bytes a column has when it is decoded."""
        column = self.columns[name]
        if column.coding == "encoded":
            return sum(shard.encoded for shard in self.shards)
        return self.rows * int(np.prod(column.shape)) * np.dtype(column.dtype).itemsize


def read_manifest(folder: str) -> Manifest:
    """Return the manifest of the shard set in a folder (path or s3:// URI).

    Raises:
        DataError: when there is none, or it is damaged, or another version of this package wrote it.
    """
    uri = done.note_of("shards", folder)
    fix = "run `acutance prepare` with this pipeline"
    try:
        note = done.read(uri, "shards")
    except DamagedError:
        raise DataError("the manifest is damaged", where=uri, fix=f"delete it and {fix}") from None
    if note is None:
        raise DataError("no complete shard set is here", where=folder, fix=fix)
    if note.version != SHARD_VERSION:
        raise DataError(
            f"these shards have version {note.version}, this program reads version {SHARD_VERSION}",
            where=uri,
            fix=fix,
        )
    try:
        return Manifest.model_validate({**note.content, "version": note.version, "fingerprint": note.fingerprint})
    except ValidationError:
        raise DataError("the manifest is damaged", where=uri, fix=f"delete it and {fix}") from None


def write_manifest(folder: str, manifest: Manifest) -> None:
    """Write the manifest of a shard set atomically; from then on the set is complete."""
    content = manifest.model_dump(mode="json", exclude={"version", "fingerprint"})
    done.write(done.note_of("shards", folder), Done("shards", manifest.fingerprint, manifest.version, content))


def is_intact(folder: str, shard: Shard) -> bool:
    """Return whether a shard exists with the bytes that were written."""
    try:
        content = storage.read_bytes(storage.join(folder, shard.file))
    except FileNotFoundError:
        return False
    return hashlib.sha256(content).hexdigest() == shard.sha256
