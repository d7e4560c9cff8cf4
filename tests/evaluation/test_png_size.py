from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_for_evaluation import picture
from PIL import Image

from acutance.data.pictures import read_picture
from acutance.data.png import plain_png
from acutance.evaluation.metrics import measure
from acutance.evaluation.pictures import bicubic
from acutance.evaluation.png_size import compressed_size
from acutance.evaluation.unmeasurable import Unmeasurable
from free_pictures import PICTURES


def chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each chunk after the signature."""
    start = 8
    while start < len(png):
        (length,) = struct.unpack(">I", png[start : start + 4])
        yield png[start + 4 : start + 8], png[start + 8 : start + 8 + length]
        start += 12 + length


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (33, 20)])
def test_the_file_is_one_that_others_read(shape: tuple[int, int]) -> None:
    shown = picture(40, 40)[: shape[0], : shape[1]]
    png = plain_png(shown)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), shown)
    assert compressed_size(shown) == len(png)
    assert [kind for kind, _ in chunks(png)] == [b"IHDR", b"IDAT", b"IEND"]


@pytest.mark.parametrize("name", PICTURES)
def test_the_writer_is_opencvs(name: str) -> None:
    """Equal in every byte; a Python whose zlib is zlib-ng compresses otherwise."""
    assert plain_png(PICTURES[name]) == cv2.imencode(".png", PICTURES[name][..., ::-1])[1].tobytes()


def test_set14_takes_the_share_of_its_raw_bytes_that_was_measured_before(data_root: Path) -> None:
    folder = data_root / "benchmarks" / "Set14"
    raw = sharp = blurred = 0.0
    for file in sorted((folder / "LRx2").glob("*.png")):
        x2 = folder / "HRx2" / file.name
        truth = read_picture(x2 if x2.exists() else folder / "HR" / file.name)
        raw += truth.size
        sharp += compressed_size(truth)
        blurred += compressed_size(bicubic(read_picture(file), 2))
    assert sharp / raw == pytest.approx(0.6058, abs=0.0001)
    assert blurred / raw == pytest.approx(0.5387, abs=0.0001)


def test_a_flat_picture_takes_few_bytes_and_noise_more_than_its_own() -> None:
    flat = np.full((64, 64, 3), 90, np.uint8)
    assert 57 < compressed_size(flat) < 400
    noise = np.random.default_rng(0).integers(0, 256, flat.shape, np.uint8)
    assert compressed_size(noise) > noise.size


def test_an_empty_picture_has_no_value_but_a_reason() -> None:
    with pytest.raises(Unmeasurable, match="1 pixel"):
        compressed_size(np.zeros((0, 5, 3), np.uint8))


def test_the_whole_picture_is_measured_and_the_truth_as_well() -> None:
    shown = picture(24, 24)
    for truth in (None, shown):
        found = measure(shown, truth, metrics=["compressed_size"], protocol="wdsr", scale=4)
        assert found.values == {"compressed_size": compressed_size(shown)}
