"""This user's folder for temporary files. The next process deletes what killed processes left in it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from acutance.errors import DataError
from acutance.process import is_abandoned, this_process
from acutance.storage.disk import written_to

LEFT_SECONDS = 7 * 24 * 3600.0
"""After so long a folder is free whose process is not known here: it ran before the machine was started again, say."""


def scratch() -> Path:
    """Return this user's folder below the temporary folder (TMPDIR), private to the user.

    Raises:
        DataError: when there is none, or somebody else owns it.
    """
    try:
        folder = Path(tempfile.gettempdir()) / f"acutance-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        what = f"there is no folder for temporary files: {error.strerror or error}"
        raise DataError(what, fix="set TMPDIR to a folder that can be written") from error
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise DataError("another user owns the folder for temporary files", where=str(folder), fix="set TMPDIR")
    return folder


@contextmanager
def working_folder(what: str) -> Iterator[Path]:
    """Make a folder for the length of a `with` block; delete those of killed processes."""
    root = scratch() / "work"
    with written_to(root):
        root.mkdir(mode=0o700, exist_ok=True)
    for left in root.iterdir():
        if _is_nobodys(left):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{what}.{this_process().replace(' ', '.')}.", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_nobodys(folder: Path) -> bool:
    """Return whether the process of a folder of `working_folder` has ended."""
    process = " ".join(folder.name.split(".")[1:4])
    return is_abandoned(process, folder.stat().st_mtime, LEFT_SECONDS)
