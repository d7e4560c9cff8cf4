"""Errors of a local disk, with the folder: full, how much is missing, or read-only."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from acutance.errors import FullError, RefusedError, UserError

FULL = {errno.ENOSPC, errno.EDQUOT}
FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}


@contextmanager
def written_to(place: str | Path, size: int = 0) -> Iterator[None]:
    """Name a file or a folder where it cannot be written.

    Args:
        size: bytes that are about to be written, where that is known.

    Raises:
        FullError: when its disk is full, or the user's quota is used up.
        RefusedError: when this user may not write there, or nobody can.
    """
    try:
        yield
    except OSError as error:
        complaint = complaint_of(error, place, size)
        if complaint is None:
            raise
        raise complaint from error


def require_writable(folder: str) -> None:
    """Check that this user can write in a folder, or in the nearest existing one above it.

    Raises:
        RefusedError: naming it.
    """
    there = _folder(folder)
    if there and not os.access(there, os.W_OK | os.X_OK):
        with written_to(there):
            tempfile.TemporaryFile(dir=there).close()  # raises the reason


def complaint_of(error: OSError, place: str | Path | None = None, size: int = 0) -> UserError | None:
    """Return the error for a write that failed for lack of space or rights; None for other failures.

    Args:
        place: the file or folder; None for the one that the error names.
    """
    where = _folder(place or error.filename)
    if error.errno in FULL:
        return no_room(where, size)
    if error.errno in FORBIDDEN:
        reason = os.strerror(error.errno or 0).lower()
        if place is None and error.errno != errno.EROFS:  # it may have been read
            return RefusedError(reason, where=str(error.filename or where), fix="mend its permissions")
        fix = "mend its permissions, or choose another folder: --storage for outputs, TMPDIR for temporary files"
        return RefusedError(f"this folder cannot be written to: {reason}", where=str(where), fix=fix)
    return None


def complaint_of_database(error: BaseException, folder: Path | None = None) -> UserError | None:
    """Return the error for an SQLite file that cannot be written; None for other failures."""
    if "disk is full" in str(error):
        return no_room(folder)
    if "readonly database" in str(error):
        what, fix = "this database is read-only", "mend its permissions, or choose another --storage"
        return RefusedError(what, where=str(folder) if folder else None, fix=fix)
    return None


def no_room(folder: Path | None, size: int = 0) -> FullError:
    """Return the error for a folder that lacks space for `size` bytes."""
    what = f"there is no room for {amount(size)}" if size else "there is no room left"
    free = f": its disk has {amount(shutil.disk_usage(folder).free)} free" if folder else ""
    return FullError(
        what + free,
        where=str(folder) if folder else None,
        fix="free some, or choose a folder on another disk; the same command then goes on where it was",
    )


def amount(size: float) -> str:
    """Return a number of bytes as text, such as 1.5 GB."""
    for unit, bytes_a_unit in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= bytes_a_unit:
            return f"{size / bytes_a_unit:.1f} {unit}"
    return f"{size:.0f} bytes"


def _folder(place: str | Path | None) -> Path | None:
    """Return the nearest existing folder of a path."""
    if not place:
        return None
    path = Path(os.fsdecode(place)).absolute()
    return next(folder for folder in [path, *path.parents] if folder.is_dir())
