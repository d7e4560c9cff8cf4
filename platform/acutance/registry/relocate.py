"""Files of versions that are gone, found again by the checksums of their weights."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from acutance.errors import UserError
from acutance.fingerprint import file_sha256
from acutance.registry.address import sqlite_path
from acutance.registry.moved import PLACES
from acutance.registry.resolve import SHA256, WEIGHTS


class Place(NamedTuple):
    """Where the files of a version are; empty where they were not found."""

    name: str
    version: str
    folder: str


def relocate(uri: str, folder: Path) -> list[Place]:
    """Look for the files of versions that are gone below a folder, by the checksums of their weights.

    Args:
        uri: address of the tracking store.

    Returns:
        Where each version is now whose files were gone.

    Raises:
        UserError: for a server, which keeps the places of its files itself, and for what is no folder.
    """
    path = sqlite_path(uri)
    if path is None:
        fix = "move the files back, or change the server's --artifacts-destination"
        raise UserError("only a server itself knows the places of its files", where=uri, fix=fix)
    if not folder.is_dir():
        raise UserError("there is no such folder", where=str(folder), fix="name the folder that has the files now")
    wanted = (
        "SELECT v.name, v.version, v.source, t.value FROM model_versions v JOIN model_version_tags t "
        "ON t.name = v.name AND t.version = v.version WHERE t.key = ? ORDER BY v.name, v.version"
    )
    with closing(sqlite3.connect(path)) as database:
        versions = database.execute(wanted, (SHA256,)).fetchall()
        gone = [version for version in versions if not _holds(Path(version[2]), version[3])]
        found = _packages(folder.absolute(), {checksum for *_, checksum in gone}) if gone else {}
        with database:
            for *_, source, checksum in gone:
                if checksum in found:
                    _move(database, source, str(found[checksum]))
    return [Place(name, str(number), str(found.get(checksum, ""))) for name, number, _, checksum in gone]


def _move(database: sqlite3.Connection, old: str, new: str) -> None:
    for table, column in PLACES:
        database.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (new, old))


def _packages(folder: Path, checksums: set[str]) -> dict[str, Path]:
    """Return checksum -> the folder of a model's package, of those below a folder."""
    found: dict[str, Path] = {}
    for weights in sorted(folder.rglob(WEIGHTS)):
        if (checksum := file_sha256(weights)) in checksums:
            found.setdefault(checksum, weights.parents[1])
    return found


def _holds(package: Path, checksum: str) -> bool:
    weights = package / WEIGHTS
    return weights.is_file() and file_sha256(weights) == checksum
