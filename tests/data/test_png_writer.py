"""PNG files as other programs read them."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from acutance.data.png import PAETH, SUB, UP, PngWriter, filtered

KINDS = st.sampled_from(
    [(1, np.uint8), (2, np.uint8), (3, np.uint8), (4, np.uint8), (1, np.uint16), (3, np.uint16), (4, np.uint16)]
)


def written(pixels: np.ndarray, cuts: list[int]) -> bytes:
    file = io.BytesIO()
    writer = PngWriter(file, pixels.shape[:2], pixels.shape[2], pixels.dtype)
    for rows in np.split(pixels, cuts):
        writer.write(rows)
    writer.finish()
    return file.getvalue()


def by_opencv(content: bytes) -> np.ndarray:
    """Decode with a reader that keeps 16 bits; its colours are blue, green, red."""
    read = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    read = read[..., None] if read.ndim == 2 else read
    return read if read.shape[2] == 1 else read[..., [2, 1, 0, 3][: read.shape[2]]]


@given(
    kind=KINDS, size=st.tuples(st.integers(1, 70), st.integers(1, 20)), seed=st.integers(0, 99), smooth=st.booleans()
)
@settings(max_examples=60, deadline=None)
def test_every_kind_of_pixels_comes_back(
    kind: tuple[int, type], size: tuple[int, int], seed: int, smooth: bool
) -> None:
    channels, dtype = kind
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, np.iinfo(dtype).max, (*size, channels), dtype=dtype, endpoint=True)
    if smooth:
        pixels = np.cumsum(pixels // 64, axis=0, dtype=np.int64).astype(dtype)
    content = written(pixels, sorted(set(rng.integers(0, size[0], 2).tolist()) - {0}))
    Image.open(io.BytesIO(content)).verify()
    if channels == 2:  # OpenCV makes colour of it
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), pixels)
    else:
        assert np.array_equal(by_opencv(content), pixels)


def test_each_filter_is_taken_where_it_is_best() -> None:
    ramp = np.arange(60, dtype=np.uint8).repeat(3)  # equal steps to the right
    rows = np.stack([ramp, ramp, ramp[::-1], np.tile(np.uint8([9, 200, 77]), 60)])
    diagonal = np.add.outer(np.arange(3) ** 2, np.arange(60) ** 2).astype(np.uint8).repeat(3, 1)
    kinds = np.frombuffer(filtered(rows, np.zeros(180, np.uint8), 3), np.uint8).reshape(4, -1)[:, 0]
    assert kinds[:2].tolist() == [SUB, UP]
    assert kinds[3] == SUB
    assert np.frombuffer(filtered(diagonal, diagonal[0], 3), np.uint8).reshape(3, -1)[2, 0] == PAETH


def test_photographs_are_stored_as_small_as_by_others() -> None:
    y, x = np.mgrid[0:200, 0:300]
    picture = np.stack([128 + 90 * np.sin(x / 30) * np.cos(y / 40 + c) for c in range(3)], axis=2)
    picture = (picture + np.random.default_rng(0).normal(0, 2, picture.shape)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    assert len(written(picture, [])) < 1.05 * len(file.getvalue())


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 200])
def test_how_rows_arrive_does_not_matter(rows: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (200, 5, 3), dtype=np.uint8)
    content = written(pixels, list(range(rows, 200, rows)))
    assert np.array_equal(by_opencv(content), pixels)
