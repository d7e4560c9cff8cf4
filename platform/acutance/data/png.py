"""Writes PNG files row by row, 8 or 16 bits a channel; Pillow has no 16-bit colour and needs the whole picture.

`PngWriter` writes restored pictures. Each row takes the filter whose differences have the least sum of
magnitudes (PNG specification, 12.7), of Sub, Up and Paeth: Average is seldom the best of them, and None not on
photographs. `plain_png` writes a file as OpenCV does, for the metric `compressed_size`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
SUB, UP, PAETH = 1, 2, 4
ROWS_AT_ONCE = 64
END = b"\0\0\0\0IEND\xaeB`\x82"
LIBPNG_CHUNK = 8192
"""Bytes of zlib's stream in an IDAT chunk that libpng writes; its buffer."""


class PngWriter:
    """Writes one picture to a file: the header at once, rows as they come, the end by `finish`."""

    def __init__(
        self,
        file: BinaryIO,
        size: tuple[int, int],
        channels: int,
        dtype: np.dtype,
        chunks: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        """Write the header.

        Args:
            size: height and width.
            channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
            dtype: uint8 or uint16.
            chunks: name and content of what goes between header and pixels.
        """
        self.file = file
        self.step = channels * dtype.itemsize
        self.above = np.zeros(size[1] * self.step, np.uint8)
        self.compressor = zlib.compressobj(6, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)
        file.write(SIGNATURE)
        for kind, content in ((b"IHDR", _header(size, channels, dtype)), *chunks):
            file.write(chunk(kind, content))

    def write(self, rows: np.ndarray) -> None:
        """Append rows, (n, W, channels) of the writer's dtype."""
        lines = rows.astype(rows.dtype.newbyteorder(">"), copy=False).view(np.uint8).reshape(len(rows), -1)
        for start in range(0, len(lines), ROWS_AT_ONCE):
            part = lines[start : start + ROWS_AT_ONCE]
            self._pixels(self.compressor.compress(filtered(part, self.above, self.step)))
            self.above = part[-1].copy()

    def finish(self) -> None:
        """Write what is left and the end of the file."""
        self._pixels(self.compressor.flush())
        self.file.write(END)

    def _pixels(self, compressed: bytes) -> None:
        if compressed:
            self.file.write(chunk(b"IDAT", compressed))


def plain_png(picture: np.ndarray) -> bytes:
    """Return a whole PNG file of a picture, uint8 (H, W, 3) RGB, without any chunk that is optional.

    As OpenCV writes by default: filter Sub in every row, zlib at level 1 with run lengths only. The files equal
    OpenCV's (4.5 and 5.0, on libpng 1.6 and zlib) in every byte, but for pictures below 16 kB of raw pixels, of which
    libpng's header asks for a smaller window. Others choose a filter for each row, and their files are smaller by a
    fifth.
    """
    rows = np.empty((picture.shape[0], 1 + picture.shape[1] * 3), np.uint8)
    rows[:, 0] = SUB
    rows[:, 1:4] = picture[:, 0]
    rows[:, 4:] = (picture[:, 1:] - picture[:, :-1]).reshape(len(picture), -1)
    compressor = zlib.compressobj(1, zlib.DEFLATED, 15, 8, zlib.Z_RLE)
    pixels = compressor.compress(rows.tobytes()) + compressor.flush()
    header = chunk(b"IHDR", _header(picture.shape[:2], 3, picture.dtype))
    data = [chunk(b"IDAT", pixels[start : start + LIBPNG_CHUNK]) for start in range(0, len(pixels), LIBPNG_CHUNK)]
    return b"".join([SIGNATURE, header, *data, END])


def _header(size: tuple[int, ...], channels: int, dtype: np.dtype) -> bytes:
    return struct.pack(">IIBBBBB", size[1], size[0], 8 * dtype.itemsize, COLOUR_TYPE[channels], 0, 0, 0)


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk: length, name, content and checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def filtered(rows: np.ndarray, above: np.ndarray, step: int) -> bytes:
    """Return rows of bytes as a PNG stores them before compression.

    Args:
        rows: uint8 (n, bytes of a row).
        above: the row before the first; zeros for the first of all.
        step: bytes of a pixel.
    """
    up = np.concatenate([above[None], rows[:-1]])
    left = np.zeros_like(rows)
    left[:, step:] = rows[:, :-step]
    corner = np.zeros_like(rows)
    corner[:, step:] = up[:, :-step]
    candidates = {SUB: rows - left, UP: rows - up, PAETH: rows - _paeth(left, up, corner)}
    kinds = np.array(list(candidates), np.uint8)
    stacked = np.stack(list(candidates.values()))
    best = np.abs(stacked.view(np.int8).astype(np.int16)).sum(axis=2, dtype=np.int64).argmin(axis=0)
    chosen = np.take_along_axis(stacked, best[None, :, None], axis=0)[0]
    return np.concatenate([kinds[best][:, None], chosen], axis=1).tobytes()


def _paeth(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Return the neighbour that is nearest to left + up - corner; of equals the left, then the upper one."""
    a, b, c = (side.astype(np.int16) for side in (left, up, corner))
    to_left, to_up, to_corner = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearer = np.where(to_up <= to_corner, up, corner)
    return np.where((to_left <= to_up) & (to_left <= to_corner), left, nearer)
