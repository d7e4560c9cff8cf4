"""A column of picture files of many sizes; a picture is decoded each time that a patch of it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np

from acutance.data.pictures import read_picture


class EncodedPictures:
    """A column of picture files.

    Args:
        content: uint8 (bytes,), the files one after another.
        sizes: (N,) or (N, 1), the bytes of each.
        side: least pixels of a side of any picture.
    """

    def __init__(self, content: np.ndarray, sizes: np.ndarray, side: int) -> None:
        self.content, self.ends = content, np.cumsum(sizes)
        self.shape, self.dtype = (len(sizes), side, side, 3), np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.ends)

    def decoded(self, rows: Iterable[int]) -> Iterator[np.ndarray]:
        """Yield pictures, uint8 (H, W, 3), of these rows."""
        return self._threads.map(self._decoded, rows)

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(thread_name_prefix="decode")  # decoders release the GIL

    def _decoded(self, row: int) -> np.ndarray:
        start = self.ends[row - 1] if row else 0
        return read_picture(self.content[start : self.ends[row]].tobytes())
