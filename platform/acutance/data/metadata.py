"""The metadata of a picture file, EXIF, XMP and dots per inch, which its restored picture gets."""

from __future__ import annotations

import re
from dataclasses import dataclass

from PIL import Image

ORIENTATION = 0x0112
EXIF, GPS = 0x8769, 0x8825
DESCRIPTIVE = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298, 0x4746, 0x4749, *range(0x9C9B, 0x9CA0))
"""Title, camera, program, date, artist, copyright, rating, and what Windows writes; others are about the file."""

OF_SIZE = {0xA002, 0xA003, 0xA005}
"""Width and height, which change, and the place of a table."""

_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))[1-8]")


@dataclass(frozen=True)
class Metadata:
    """What goes along, of a picture that stands upright.

    Attributes:
        exif: a TIFF structure: camera, dates, exposure, place, copyright.
        xmp: an XMP packet.
        dpi: dots per inch, across and down.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None


NO_METADATA = Metadata()


def about(exif: Image.Exif, xmp: bytes | None, dpi: tuple[float, float] | None) -> Metadata:
    """Return the metadata to keep: no preview, and nothing about the layout of the file."""
    upright = _XMP_ORIENTATION.sub(rb"\g<1>1", xmp) if isinstance(xmp, bytes) and xmp else None
    known = dpi if dpi and all(1 < float(value) < 1e6 for value in dpi) else None
    return Metadata(_kept(exif), upright, (float(known[0]), float(known[1])) if known else None)


def _kept(exif: Image.Exif) -> bytes | None:
    kept = Image.Exif()
    for tag in DESCRIPTIVE:
        if tag in exif:
            kept[tag] = exif[tag]
    for table in (EXIF, GPS):
        if values := {tag: value for tag, value in exif.get_ifd(table).items() if tag not in OF_SIZE}:
            kept[table] = values
    if not len(kept):
        return None
    kept[ORIENTATION] = 1
    try:
        return kept.tobytes().removeprefix(b"Exif\0\0")
    except Exception:  # values of other types than their tags have: a damaged EXIF is no reason to refuse the picture
        return None
