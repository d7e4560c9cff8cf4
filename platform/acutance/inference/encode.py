"""Writes restored pictures as files: PNG row by row, or JPEG and WebP."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from acutance.data.decode import DecodedImage, PictureError, to_8_bits
from acutance.data.metadata import Metadata
from acutance.data.png import PngWriter
from acutance.data.png_chunks import XMP

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
QUALITY: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95}}
"""High quality, and full colour resolution in JPEG: what was just restored must not be blurred again."""

LONGEST = {"JPEG": 65_500, "WEBP": 16_383}
LONGEST_SEGMENT = 65_000
METRES_AN_INCH = 0.0254


def check_format(form: str, picture: DecodedImage, scale: int) -> None:
    """Check that a format can hold a restored picture, before the picture is restored.

    Raises:
        PictureError: when the picture is too large for the format, or has transparency, EXIF or XMP that the format
            cannot hold.
    """
    longest = max(picture.pixels.shape[:2]) * scale
    if longest > LONGEST.get(form, longest):
        raise PictureError(f"a {form} has at most {LONGEST[form]} pixels on a side, not {longest}: write a PNG")
    if form == "JPEG" and picture.alpha is not None and not _opaque(picture.alpha):
        raise PictureError("a JPEG has no transparency: write a PNG or WebP")
    for name, data in (("EXIF", picture.about.exif), ("XMP", picture.about.xmp)):
        if form == "JPEG" and len(data or b"") > LONGEST_SEGMENT:
            raise PictureError(f"a JPEG has no room for {len(data or b'')} bytes of {name}: write a PNG, or --strip")


def png_files(
    bands: Iterable[list[np.ndarray]],
    pictures: Sequence[DecodedImage],
    scale: int,
    *,
    notes: tuple[tuple[bytes, bytes], ...],
) -> list[bytes]:
    """Return PNG files of restored pictures, with the colour profiles and metadata of their inputs.

    Args:
        bands: from `restore_decoded`.
        notes: further PNG chunks (name, content); they come first.
    """
    files = [io.BytesIO() for _ in pictures]
    writers = [_writer(file, picture, scale, notes) for file, picture in zip(files, pictures, strict=True)]
    for band in bands:
        for writer, rows in zip(writers, band, strict=True):
            writer.write(rows)
    for writer in writers:
        writer.finish()
    return [file.getvalue() for file in files]


def lossy_file(bands: Iterable[list[np.ndarray]], picture: DecodedImage, form: str) -> bytes:
    """Return a JPEG or WebP file of one restored picture, 8 bits a channel, with its ICC profile, EXIF and XMP."""
    pixels = np.concatenate([to_8_bits(band[0]) for band in bands])
    if form == "JPEG" and picture.alpha is not None:
        pixels = pixels[..., :-1]
    file = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    about, more = picture.about, dict(QUALITY[form])
    if about.exif:
        more["exif"] = b"Exif\0\0" + about.exif
    if about.xmp:
        more["xmp"] = about.xmp
    if about.dpi and form == "JPEG":  # WebP cannot hold it
        more["dpi"] = about.dpi
    image.save(file, format=form, icc_profile=picture.profile, **more)
    return file.getvalue()


def _writer(file: io.BytesIO, picture: DecodedImage, scale: int, notes: tuple[tuple[bytes, bytes], ...]) -> PngWriter:
    height, width, channels = picture.pixels.shape
    profile = ((b"iCCP", b"icc\0\0" + zlib.compress(picture.profile)),) if picture.profile else ()
    return PngWriter(
        file,
        (height * scale, width * scale),
        channels + (picture.alpha is not None),
        picture.pixels.dtype,
        [*notes, *profile, *picture.colour, *_chunks_about(picture.about)],
    )


def _chunks_about(about: Metadata) -> Iterator[tuple[bytes, bytes]]:
    if about.exif:
        yield b"eXIf", about.exif
    if about.dpi:
        yield b"pHYs", struct.pack(">IIB", *(round(value / METRES_AN_INCH) for value in about.dpi), 1)
    if about.xmp:
        yield b"iTXt", XMP + b"\0\0\0\0" + about.xmp


def _opaque(alpha: np.ndarray) -> bool:
    return bool((alpha == np.iinfo(alpha.dtype).max).all())
