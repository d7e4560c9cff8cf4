"""What a picture is, it stays: depth, grey, transparency; and the rows of all bands make the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_for_restoring import DEEP, GREY, RGB, Nearest, enlarged, restorer

from acutance.data.decode import DecodedImage
from acutance.errors import ModelError
from acutance.imaging.resize import imresize
from acutance.inference.decoded_images import restore_decoded
from acutance.models.highpass import HighPassNet


def whole(picture: DecodedImage, network: torch.nn.Module | None = None) -> np.ndarray:
    made = restorer(network)
    return np.concatenate([band[0] for band in restore_decoded(made.network, made.description, [picture])])


@pytest.mark.parametrize("pixels", [RGB, GREY[..., None], DEEP[..., :3], DEEP[..., :1]])
def test_depth_and_channels_are_kept_to_the_last_level(pixels: np.ndarray) -> None:
    found = whole(DecodedImage(pixels))
    assert found.dtype == pixels.dtype
    assert np.array_equal(found, enlarged(pixels))


def test_16_bits_are_restored_in_16_bits() -> None:
    blurred = whole(DecodedImage(DEEP[..., :3]), Nearest(blur=1))
    assert np.count_nonzero(blurred % 257) > 0.9 * blurred.size


def test_grey_is_the_luminance_of_what_the_network_makes() -> None:
    class Tinted(Nearest):
        def forward(self, lr: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"image": super().forward(lr)["image"] * torch.tensor([1.0, 0.5, 0.25])[:, None, None]}

    expected = enlarged(GREY.astype(float)) * (0.299 + 0.587 * 0.5 + 0.114 * 0.25)
    assert np.abs(whole(DecodedImage(GREY[..., None]), Tinted())[..., 0] - expected).max() <= 0.51


@pytest.mark.parametrize("deep", [False, True])
def test_transparency_is_that_of_bicubic_on_the_whole(deep: bool) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (430, 12, 3), dtype=np.uint8)  # several bands
    alpha = np.random.default_rng(4).integers(0, 256, (430, 12), dtype=np.uint8)
    alpha[:20], alpha[-20:] = 255, 0
    if deep:
        pixels, alpha = pixels.astype(np.uint16) * 257, alpha.astype(np.uint16) * 257
    found = whole(DecodedImage(pixels, alpha))
    levels = np.iinfo(alpha.dtype).max
    expected = imresize(torch.from_numpy(alpha.astype(np.float32))[None], 4)[0].add(0.5).floor().clamp(0, levels)
    assert found.shape == (1720, 48, 4)
    assert np.abs(found[..., 3].astype(int) - expected.numpy()).max() <= (1 if deep else 0)
    assert (found[:60, :, 3] == levels).all()
    assert (found[-60:, :, 3] == 0).all()


def test_what_is_hidden_does_not_bleed_into_what_is_seen() -> None:
    pixels, alpha = np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20), np.uint8)
    pixels[5:15, 5:15], alpha[5:15, 5:15] = (200, 40, 10), 255
    found = whole(DecodedImage(pixels, alpha), Nearest(blur=2))
    assert (found[found[..., 3] > 0][:, :3] == (200, 40, 10)).all()


@pytest.mark.parametrize("alpha", [0, 255])
def test_wholly_transparent_and_wholly_opaque_pictures(alpha: int) -> None:
    found = whole(DecodedImage(RGB, np.full(RGB.shape[:2], alpha, np.uint8)))
    assert np.array_equal(found[..., :3], enlarged(RGB))
    assert (found[..., 3] == alpha).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (7, 7)])
def test_tiny_pictures(size: tuple[int, int]) -> None:
    pixels = RGB[: size[0]].repeat(2, 1)[:, : size[1]]
    alpha = pixels[..., 0]
    found = whole(DecodedImage(pixels, alpha))
    assert found.shape == (size[0] * 4, size[1] * 4, 4)
    assert np.array_equal(found[..., :3][alpha.repeat(4, 0).repeat(4, 1) > 0], enlarged(pixels)[enlarged(alpha) > 0])


def test_pictures_of_one_size_together_are_as_each_alone() -> None:
    pictures = [DecodedImage(RGB), DecodedImage(GREY[..., None], GREY), DecodedImage(DEEP[..., :3], DEEP[..., 3])]
    made = restorer(Nearest(blur=1))
    bands = list(restore_decoded(made.network, made.description, pictures))
    for index, picture in enumerate(pictures):
        together = np.concatenate([band[index] for band in bands])
        assert np.array_equal(together, whole(picture, Nearest(blur=1)))


def test_a_model_that_makes_no_picture_says_so() -> None:
    with pytest.raises(ModelError, match="makes no picture but highpass"):
        list(restore_decoded(HighPassNet(channels=2), {}, [DecodedImage(RGB)]))
