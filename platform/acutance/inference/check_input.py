"""A first look at what is to be restored, before anything is imported that takes seconds."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from acutance.errors import DataError
from acutance.storage import is_remote

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How TIFF files begin; of some kinds Pillow cannot tell more."""


def require_input(source: str) -> None:
    """Make sure that a local path leads to a folder or to a file that begins as a picture does.

    Raises:
        DataError: when it does not.
    """
    path = Path(source)
    if is_remote(source) or path.is_dir():
        return
    try:
        with path.open("rb") as file:
            begins = file.read(4)
    except FileNotFoundError:
        raise DataError("there is no such picture or folder", where=source, fix="check the path") from None
    except OSError as error:
        raise DataError(f"this file cannot be read: {error.strerror}", where=source, fix="mend it") from error
    if begins not in TIFF and not _is_known(path):
        raise DataError("this file is no picture in a known format", where=source, fix="give a picture")


def _is_known(path: Path) -> bool:
    with warnings.catch_warnings(action="ignore"):
        try:
            Image.open(path).close()
        except UnidentifiedImageError:
            return False
        except Exception:  # a picture that is damaged or too large: reading it says which
            return True
    return True
