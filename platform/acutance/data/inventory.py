"""Stores the checksums of files in the storage root, so that unchanged files are not read again.

A file counts as unchanged if its size and times are equal, as in git; in an object store its size and the time it was
written. A file that was changed just before it was read is read again next time: another change within the same clock
tick would not be seen. Two processes that write at once may lose entries; those files are read again. A wrong entry
gives no wrong result: whoever makes shards checks the checksum of the bytes.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress

from acutance import storage
from acutance.console import progress
from acutance.errors import DamagedError, DataError, UnreachableError
from acutance.fingerprint import file_sha256, short_name

RACY = 2.0
"""Least seconds between a file's last change and its reading for an entry: clocks of file systems may be coarse."""

LONG = 1 << 30
"""From so many bytes on, reading shows its progress."""

Entries = dict[str, tuple[int, str, str]]
"""URI -> size, stamp, SHA-256."""


def checksums(uris: Iterable[str], root: str, name: str) -> dict[str, str]:
    """Return the SHA-256 of files; only new and changed files are read.

    Args:
        uris: of the files; a missing one is an error.
        root: URI of the storage root.
        name: of a data set, say; each name has its own inventory.

    Raises:
        DataError: for a file that cannot be read.
    """
    wanted, began, stored = list(dict.fromkeys(uris)), time.time(), _stored(root, name)
    states = storage.states(wanted)
    unchanged = {uri: stored[uri][2] for uri in wanted if uri in stored and stored[uri][:2] == states.get(uri, ())[:2]}
    unread = [uri for uri in wanted if uri not in unchanged]
    read_now = _read(unread, name, sum(states[uri].size for uri in unread if uri in states))
    certain = {
        uri: (states[uri].size, states[uri].stamp, sha256)
        for uri, sha256 in read_now.items()
        if uri in states and states[uri].modified < began - RACY
    }
    if certain:
        _write(root, name, _stored(root, name) | certain)  # with entries that other processes wrote meanwhile
    return unchanged | read_now


def forget(place: str, root: str, name: str) -> None:
    """Remove the entries of a file, or of the files in a folder, that are wrong: they are read again."""
    stored = _stored(root, name)
    left = {uri: entry for uri, entry in stored.items() if not f"{uri}/".startswith(f"{place}/")}
    if len(left) < len(stored):
        _write(root, name, left)


def _read(uris: list[str], name: str, size: int) -> dict[str, str]:
    with progress(f"read {name}", len(uris)) if size > LONG else nullcontext() as update, ThreadPoolExecutor() as pool:
        found = {}
        for uri, sha256 in zip(uris, pool.map(_sha256, uris), strict=True):
            found[uri] = sha256
            if update:
                update(len(found), "")
        return found


def _sha256(uri: str) -> str:
    try:
        return hashlib.sha256(storage.read_bytes(uri)).hexdigest() if storage.is_remote(uri) else file_sha256(uri)
    except OSError as error:
        fix = "mend its permissions or remove it"
        raise DataError(f"a file cannot be read: {error.strerror or error}", where=uri, fix=fix) from error


def _stored(root: str, name: str) -> Entries:
    try:
        content = storage.read_json(_inventory(root, name))
        return {uri: (int(size), str(stamp), str(sha256)) for uri, (size, stamp, sha256) in content.items()}
    except (OSError, DamagedError):
        return {}  # a damaged one is made again


def _write(root: str, name: str, entries: Entries) -> None:
    with suppress(OSError, UnreachableError):  # where nothing can be written, files are read each time
        storage.write_json(_inventory(root, name), entries)


def _inventory(root: str, name: str) -> str:
    """Return where an inventory lies."""
    return storage.join(root, "inventory", f"{short_name(name)}.json")
