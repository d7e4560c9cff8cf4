"""What is known of files without reading them again: their check sums, kept in the storage root beside the shards.

A file is read once. After that its size and times vouch for it, as they do for git; in an object store its size and
the time it was written. A file that was changed just before it was read is not vouched for: another change in the same
tick of a clock would not show. Writers that meet may lose entries, and those files are read once more. An entry that is
wrong makes no wrong result: who makes shards looks at the check sum of the bytes it reads.
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
"""Seconds between a file's last change and its reading that make sure of it: some clocks of file systems are coarse."""

LONG = 1 << 30
"""Bytes from which on reading is shown."""

Entries = dict[str, tuple[int, str, str]]
"""URI -> size, stamp, SHA-256."""


def checksums(uris: Iterable[str], root: str, name: str) -> dict[str, str]:
    """Return the SHA-256 of files; those are read that are new, or were changed since they were read last.

    Args:
        uris: of the files; those that are not there are an error.
        root: URI of the storage root.
        name: what the files belong to, such as a data set; each has an inventory of its own.

    Raises:
        DataError: for a file that cannot be read.
    """
    wanted, began, kept = list(dict.fromkeys(uris)), time.time(), _kept(root, name)
    states = storage.states(wanted)
    known = {uri: kept[uri][2] for uri in wanted if uri in kept and kept[uri][:2] == states.get(uri, ())[:2]}
    unread = [uri for uri in wanted if uri not in known]
    fresh = _read(unread, name, sum(states[uri].size for uri in unread if uri in states))
    sure = {
        uri: (states[uri].size, states[uri].stamp, sha256)
        for uri, sha256 in fresh.items()
        if uri in states and states[uri].modified < began - RACY
    }
    if sure:
        _write(root, name, _kept(root, name) | sure)  # with what others found meanwhile
    return known | fresh


def forget(place: str, root: str, name: str) -> None:
    """Have a file, or those in a folder, read again that turned out to be others than they were taken for."""
    kept = _kept(root, name)
    left = {uri: entry for uri, entry in kept.items() if not f"{uri}/".startswith(f"{place}/")}
    if len(left) < len(kept):
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


def _kept(root: str, name: str) -> Entries:
    try:
        content = storage.read_json(_inventory(root, name))
        return {uri: (int(size), str(stamp), str(sha256)) for uri, (size, stamp, sha256) in content.items()}
    except (OSError, DamagedError):
        return {}  # one that is damaged is made anew


def _write(root: str, name: str, entries: Entries) -> None:
    with suppress(OSError, UnreachableError):  # where nothing can be written, files are read each time
        storage.write_json(_inventory(root, name), entries)


def _inventory(root: str, name: str) -> str:
    """Return where an inventory lies."""
    return storage.join(root, "inventory", f"{short_name(name)}.json")
