"""The size of a picture as PNG, a measure of how much detail it holds that needs no truth.

The size depends on the writer, so there is one, fixed, as OpenCV writes by default: filter SUB in every row, zlib at
level 1 with run lengths only, 8,192 bytes a chunk. The files equal OpenCV's (4.5 and 5.0, on libpng 1.6 and zlib) in
every byte, but for pictures below 16 kB of raw pixels, of which libpng's header asks for a smaller window. Others
choose a filter for each row, and their files are smaller by a fifth.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from acutance.evaluation.inputs import require_pictures

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SUB = 1
RGB_OF_8_BITS = (8, 2, 0, 0, 0)
CHUNK = 8192
"""Bytes of zlib's stream in an IDAT chunk; libpng's buffer."""


def compressed_size(picture: np.ndarray) -> float:
    """Return the bytes of a picture's PNG file, all of its chunks counted.

    Args:
        picture: uint8 (H, W, 3) RGB.

    Raises:
        Unmeasurable: for an empty picture.
        ValueError: for what is no such picture.
    """
    require_pictures("PNG size", picture)
    return float(len(png_bytes(picture)))


def png_bytes(picture: np.ndarray) -> bytes:
    """Return a whole PNG file of a picture, uint8 (H, W, 3) RGB, without any chunk that is optional."""
    height, width, _ = picture.shape
    compressor = zlib.compressobj(1, zlib.DEFLATED, 15, 8, zlib.Z_RLE)
    pixels = compressor.compress(_filtered(picture)) + compressor.flush()
    header = struct.pack(">IIBBBBB", width, height, *RGB_OF_8_BITS)
    data = [_chunk(b"IDAT", pixels[start : start + CHUNK]) for start in range(0, len(pixels), CHUNK)]
    return b"".join([SIGNATURE, _chunk(b"IHDR", header), *data, _chunk(b"IEND", b"")])


def _filtered(picture: np.ndarray) -> bytes:
    """Each row as its filter's number and the differences from the pixel to the left, modulo 256."""
    rows = np.empty((picture.shape[0], 1 + picture.shape[1] * 3), np.uint8)
    rows[:, 0] = SUB
    rows[:, 1:4] = picture[:, 0]
    rows[:, 4:] = (picture[:, 1:] - picture[:, :-1]).reshape(len(picture), -1)
    return rows.tobytes()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
