"""Reads picture files of any format as uint8 (H, W, 3) RGB, and writes PNG files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from acutance import storage
from acutance.data.decode import DecodedImage, PictureError, decode_image, to_8_bits

__all__ = ["EXTENSIONS", "PictureError", "encode_png", "read_file", "read_picture", "write_picture"]

EXTENSIONS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".dib"),
    *(".webp", ".ppm", ".pgm", ".pbm", ".pnm"),
)


def read_picture(source: str | Path | bytes, *, minimum_side: int = 2) -> np.ndarray:
    """Return a picture as uint8 (H, W, 3), RGB, upright.

    Grey becomes three equal channels; palettes and CMYK become RGB; 16 bits become 8 (`round(x / 257)`); an
    alpha channel is dropped where all of it is opaque; the EXIF orientation is applied.

    Args:
        source: a path, an s3:// URI, or the bytes of the file.
        minimum_side: least pixels of either side.

    Raises:
        PictureError: for a file that is missing, empty, truncated, corrupt, no picture, transparent, several
            pictures, of another depth, over the `limits` or smaller than `minimum_side`.
        ConfigError: for invalid limits in the environment.
    """
    where = None if isinstance(source, bytes) else str(source)
    try:
        content = source if isinstance(source, bytes) else read_file(str(source))
        pixels = _plain(decode_image(content))
        if min(pixels.shape[:2]) < minimum_side:
            size = f"{pixels.shape[1]}x{pixels.shape[0]}"
            raise PictureError(f"it is {size} pixels, less than {minimum_side} on a side")
    except PictureError as error:
        fix = error.fix or "mend, replace or remove this file"
        raise PictureError(error.what, where=where, fix=fix) from error.__cause__
    return pixels


def write_picture(path: str | Path, pixels: np.ndarray) -> None:
    """Write uint8 (H, W, 3) or (H, W) as a PNG, whole or not at all, to a path or an s3:// URI.

    Raises:
        ValueError: for an array of another type or shape.
    """
    storage.write_bytes(str(path), encode_png(pixels))


def encode_png(pixels: np.ndarray) -> bytes:
    """Return uint8 (H, W, 3) or (H, W) as the bytes of a PNG file.

    Raises:
        ValueError: for an array of another type or shape.
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise ValueError(f"a picture is uint8 (H, W, 3) or (H, W), not {pixels.dtype} {pixels.shape}")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def read_file(uri: str) -> bytes:
    """Return the bytes of a picture file.

    Raises:
        PictureError: when it is missing or cannot be read.
    """
    try:
        return storage.read_bytes(uri)
    except FileNotFoundError:
        raise PictureError("there is no such file") from None
    except OSError as error:
        raise PictureError(f"the file cannot be read: {error.strerror or error}") from error


def _plain(layers: DecodedImage) -> np.ndarray:
    """Return uint8 (H, W, 3)."""
    if layers.alpha is not None and (layers.alpha != np.iinfo(layers.alpha.dtype).max).any():
        raise PictureError("it is partly transparent, so its colours are not known")
    pixels = to_8_bits(layers.pixels)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
