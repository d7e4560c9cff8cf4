"""Limits of decoders: the number of scans of a JPEG, and the time."""

from __future__ import annotations

import io
import re
import time

PIECE = 4096
"""Bytes that a decoder reads at once; the time is checked before each."""

_SEGMENT = re.compile(rb"\xff+([^\x00\xff])")
_IN_SCAN = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_ALONE = {0x01, *range(0xD0, 0xD9)}
_START_OF_SCAN, _END = 0xDA, 0xD9


def count_scans(content: bytes) -> int:
    """Return how many scans a JPEG has; those of a preview in a segment, or after the end, are not counted."""
    scans, at = 0, 2
    while marker := (_IN_SCAN if scans else _SEGMENT).search(content, at):
        kind, at = marker[1][0], marker.end()
        if kind == _END:
            break
        scans += kind == _START_OF_SCAN
        if kind not in _ALONE:
            at += max(2, int.from_bytes(content[at : at + 2]))
    return scans


class LateError(Exception):
    """Decoding takes longer than allowed."""


class TimedFile(io.BytesIO):
    """The bytes of a picture file; reading raises LateError when the time is over.

    Decoders read piece by piece, so this stops them.
    """

    def __init__(self, content: bytes, seconds: float) -> None:
        super().__init__(content)
        self.ends = time.monotonic() + seconds

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes; LateError when the time is over."""
        if time.monotonic() > self.ends:
            raise LateError
        return super().read(size)
