"""Rows to picture files: PNG row by row, JPEG and WebP where they are asked for."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from acutance.data.layers import Layers, PictureError
from acutance.upscaling.png import PngWriter

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
QUALITY: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95}}
"""Little is lost, and JPEG keeps colour at full resolution: what was just restored is not to be blurred again."""

LONGEST = {"JPEG": 65_500, "WEBP": 16_383}


def check_format(form: str, picture: Layers, scale: int) -> None:
    """Make sure that a format can hold an enlarged picture, before it is made.

    Raises:
        PictureError: for a size that it does not reach, and for transparency in a JPEG.
    """
    longest = max(picture.pixels.shape[:2]) * scale
    if longest > LONGEST.get(form, longest):
        raise PictureError(f"a {form} has at most {LONGEST[form]} pixels on a side, not {longest}: write a PNG")
    if form == "JPEG" and picture.alpha is not None and not _opaque(picture.alpha):
        raise PictureError("a JPEG has no transparency: write a PNG or WebP")


def png_files(
    bands: Iterable[list[np.ndarray]], pictures: Sequence[Layers], scale: int, *, notes: tuple[tuple[bytes, bytes], ...]
) -> list[bytes]:
    """Return PNG files of enlarged pictures, with the colours of the originals.

    Args:
        bands: from `enlarge`.
        notes: further chunks; they come first.
    """
    files = [io.BytesIO() for _ in pictures]
    writers = [_writer(file, picture, scale, notes) for file, picture in zip(files, pictures, strict=True)]
    for band in bands:
        for writer, rows in zip(writers, band, strict=True):
            writer.write(rows)
    for writer in writers:
        writer.finish()
    return [file.getvalue() for file in files]


def lossy_file(bands: Iterable[list[np.ndarray]], picture: Layers, form: str) -> bytes:
    """Return a JPEG or WebP file of one enlarged picture, 8 bits a channel, with its ICC profile."""
    pixels = np.concatenate([_to_8_bits(band[0]) for band in bands])
    if form == "JPEG" and picture.alpha is not None:
        pixels = pixels[..., :-1]
    file = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.save(file, format=form, icc_profile=picture.profile, **QUALITY[form])
    return file.getvalue()


def _writer(file: io.BytesIO, picture: Layers, scale: int, notes: tuple[tuple[bytes, bytes], ...]) -> PngWriter:
    height, width, channels = picture.pixels.shape
    profile = ((b"iCCP", b"icc\0\0" + zlib.compress(picture.profile)),) if picture.profile else ()
    return PngWriter(
        file,
        (height * scale, width * scale),
        channels + (picture.alpha is not None),
        picture.pixels.dtype,
        [*notes, *profile, *picture.colour],
    )


def _to_8_bits(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.dtype == np.uint8 else ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _opaque(alpha: np.ndarray) -> bool:
    return bool((alpha == np.iinfo(alpha.dtype).max).all())
