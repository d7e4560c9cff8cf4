"""Whole pictures: tiles against the whole, any size, and what must be refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acutance.errors import ConfigError, DataError, ModelError
from acutance.imaging.derivations import lgs
from acutance.imaging.smoothers import guided_filter_detail, least_squares_detail
from acutance.inference import restore as room
from acutance.inference.restore import Tiles, restore, restore_bands, restore_tensors
from acutance.models.dsrgan import DSRGAN
from acutance.models.highpass import HighPassNet
from acutance.models.rrdbnet import RRDBNet


def with_detail(kind: str = "lgs", **settings: float) -> dict[str, Any]:
    """What a model file says of a network that reads a detail layer."""
    return {"derive": {"lr_detail": {"type": kind, "of": "lr", **settings}}}


DETAIL = with_detail(alpha=4.0)


def photograph(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth shapes and texture: neither flat nor noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 2 + height // 8, 2 + width // 8, generator=generator)
    picture = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)[0]
    picture = (picture + 0.1 * torch.rand(3, height, width, generator=generator)).clamp(0, 1)
    return (picture * 255).to(torch.uint8).permute(1, 2, 0).numpy()


def dsrgan(**changes: Any) -> DSRGAN:
    torch.manual_seed(0)
    network = DSRGAN(blocks=2, channels=8, growth=4, detail_blocks=2, skip="bicubic", **changes)
    nn.init.normal_(network.detail.conv_last.weight, std=0.05)
    nn.init.normal_(network.main.conv_last.weight, std=0.05)
    return network


class Echo(nn.Module):
    """Returns its inputs enlarged, so that every pixel shows where it came from."""

    inputs: ClassVar[tuple[str, ...]] = ("lr", "lr_detail")

    def __init__(self, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        self.gain = nn.Parameter(torch.ones(()))
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, lr: Tensor, lr_detail: Tensor) -> dict[str, Tensor]:
        self.sizes.append(tuple(lr.shape))
        enlarge = nn.Upsample(scale_factor=self.scale)
        return {
            "image": enlarge(lr) * self.gain,
            "detail": enlarge(lr_detail),
            "copy": enlarge(lr).repeat(1, 2, 1, 1),
        }


class EchoSame(Echo):
    def __init__(self) -> None:
        super().__init__(scale=1)


def enlarged(picture: np.ndarray, scale: int) -> np.ndarray:
    return picture.repeat(scale, 0).repeat(scale, 1)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 3), (47, 48), (49, 131), (100, 37)])
@pytest.mark.parametrize("tile", [36, 48, 61])
def test_every_pixel_comes_from_its_place(size: tuple[int, int], tile: int) -> None:
    picture = photograph(*size)
    outputs = restore(EchoSame(), DETAIL, picture, tiles=Tiles(tile, 16))
    assert np.array_equal(outputs["image"], picture)
    assert outputs["copy"].shape == (*size, 6)
    assert outputs["copy"].dtype == np.float32


@pytest.mark.parametrize("length", [*range(8, 60), 191, 192, 193, 400, 1023])
@pytest.mark.parametrize(("tile", "overlap"), [(20, 8), (48, 16), (192, 16), (61, 13)])
def test_weights_add_up_to_one_and_hide_tile_borders(length: int, tile: int, overlap: int) -> None:
    total = torch.zeros(length * 4)
    spans = room._spans(length, tile, overlap, 4)
    for span in spans:
        assert span.start % 4 == 0
        assert overlap < span.end - span.start <= tile or len(spans) == 1
        assert span.start == 0 or span.weight[: 4 * (3 * overlap // 8)].max() == 0
        assert span.end == length or span.weight[-4 * (3 * overlap // 8) :].max() == 0
        total[span.start * 4 : span.end * 4] += span.weight
    torch.testing.assert_close(total, torch.ones(length * 4))


def test_tiles_of_a_network_that_sees_six_pixels_far_equal_the_whole() -> None:
    torch.manual_seed(0)
    network = HighPassNet(channels=4)
    picture = torch.rand(1, 3, 75, 130)
    tiled = restore_tensors(network, {"hr": picture}, Tiles(40, 16))["highpass"]
    torch.testing.assert_close(tiled, network(picture)["highpass"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 4])
def test_tiles_of_dsrgan_equal_the_whole_to_one_level(scale: int) -> None:
    network = dsrgan(scale=scale)
    picture = photograph(71, 99)
    whole = restore(network, DETAIL, picture, tiles=Tiles(192, 16))
    tiled = restore(network, DETAIL, picture, tiles=Tiles(48, 16))
    assert whole["image"].shape == (71 * scale, 99 * scale, 3)
    assert np.abs(whole["image"].astype(int) - tiled["image"]).max() <= 1
    assert np.abs(whole["detail"] - tiled["detail"]).max() < 1e-2
    assert whole["image"].std() > 10


@pytest.mark.parametrize("size", [(71, 99), (48, 131), (8, 60)])
def test_tiles_of_rrdbnet_equal_the_whole_to_one_level(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = RRDBNet(blocks=1, channels=16)
    picture = photograph(*size)
    whole = restore(network, DETAIL, picture)["image"]
    assert np.abs(whole.astype(int) - restore(network, DETAIL, picture, tiles=Tiles(48, 16))["image"]).max() <= 1


def test_bands_come_one_by_one_and_make_the_whole() -> None:
    network, picture = EchoSame(), photograph(100, 50)
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None]
    bands = []
    for band in restore_bands(network, DETAIL, pixels, tiles=Tiles(36, 16)):
        assert len(network.sizes) <= 2 * (len(bands) + 1)  # no row of tiles is run before it is asked for
        bands.append(band["image"])
    assert [band.shape[2] for band in bands] == [20] * 5
    assert np.array_equal((torch.cat(bands, 2)[0] * 255).round().permute(1, 2, 0).numpy(), picture)


@pytest.mark.parametrize("size", [(5, 3), (50, 70)])
def test_pictures_of_one_size_together_are_as_each_alone(size: tuple[int, int]) -> None:
    network = dsrgan()
    pictures = torch.stack([torch.from_numpy(photograph(*size, seed)).permute(2, 0, 1) for seed in range(3)])
    together = list(restore_bands(network, DETAIL, pictures, tiles=Tiles(40, 16)))
    for index in range(3):
        alone = list(restore_bands(network, DETAIL, pictures[index : index + 1], tiles=Tiles(40, 16)))
        for one, all_of_them in zip(alone, together, strict=True):
            assert one.keys() == all_of_them.keys() == {"image", "detail"}
            for name in one:
                torch.testing.assert_close(all_of_them[name][index], one[name][0], rtol=1e-4, atol=1e-4)


def test_a_run_that_is_given_up_leaves_the_network_as_it_was() -> None:
    network = dsrgan().train()
    bands = restore_bands(network, DETAIL, torch.zeros(1, 3, 100, 20), tiles=Tiles(36, 16))
    next(bands)
    assert not network.training
    bands.close()
    assert network.training


def test_the_whole_is_what_the_network_gives() -> None:
    network = dsrgan().eval()
    picture = photograph(20, 30)
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        expected = network(pixels / 255, torch.exp2(lgs(pixels / 255, alpha=4.0)))
    found = restore(network, DETAIL, picture)
    image = np.floor(expected["image"][0].permute(1, 2, 0).numpy() * 255 + 0.5).clip(0, 255)
    assert np.array_equal(found["image"], image.astype(np.uint8))
    np.testing.assert_allclose(found["detail"], expected["detail"][0, 0].numpy(), rtol=1e-5)
    assert found["detail"].shape == (80, 120)


def test_detail_is_that_of_the_whole_picture() -> None:
    picture = photograph(60, 90)
    found = restore(Echo(), DETAIL, picture, tiles=Tiles(40, 16))["detail"]
    pixels = torch.from_numpy(picture).permute(2, 0, 1).float()
    expected = torch.exp2(lgs(pixels / 255, alpha=4.0))[0].numpy()
    np.testing.assert_allclose(found, enlarged(expected, 4), rtol=1e-5)


@pytest.mark.parametrize(("kind", "extract"), [("gif", guided_filter_detail), ("wls", least_squares_detail)])
def test_a_difference_is_seen_as_it_is_in_colour(kind: str, extract: Callable[[Tensor], Tensor]) -> None:
    picture = photograph(40, 50)
    found = restore(Echo(), with_detail(kind), picture, tiles=Tiles(40, 16))["detail"]
    expected = extract(torch.from_numpy(picture).permute(2, 0, 1).float()).permute(1, 2, 0).numpy()
    assert found.shape == (160, 200, 3)
    np.testing.assert_allclose(found, enlarged(expected, 4), rtol=1e-5, atol=1e-6)


def test_settings_of_the_extractor_are_obeyed() -> None:
    picture = photograph(30, 30)
    weak, strong = (restore(Echo(), with_detail(alpha=alpha), picture)["detail"].std() for alpha in (0.0, 8.0))
    assert strong > 2 * weak


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (7, 8), (17, 193)])
@pytest.mark.parametrize("build", [dsrgan, lambda: HighPassNet(channels=2), lambda: RRDBNet(blocks=1, channels=4)])
def test_any_size(build: Any, size: tuple[int, int]) -> None:
    network = build()
    outputs = restore(network, DETAIL, photograph(*size))
    for output in outputs.values():
        assert output.shape[:2] == (size[0] * network.scale, size[1] * network.scale)
        assert np.isfinite(output).all()
        assert output.flags.c_contiguous


def test_tiles_of_one_size_share_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "BATCH_PIXELS", 4 * 36 * 36 + 7)
    network = EchoSame()
    restore(network, DETAIL, photograph(100, 100), tiles=Tiles(36, 16))
    assert sum(size[0] for size in network.sizes) == 25
    assert [size[0] for size in network.sizes if size[2:] == (36, 36)] == [4, 4, 4, 4]
    assert all(size[0] * size[2] * size[3] <= room.BATCH_PIXELS for size in network.sizes)


@pytest.mark.parametrize("value", [(-0.3, 0), (1.7, 255), (100.4999 / 255, 100), (100.5 / 255, 101)])
def test_rounding_and_clipping(value: tuple[float, int]) -> None:
    network = EchoSame()
    nn.init.constant_(network.gain, value[0])
    picture = np.full((9, 9, 3), 255, np.uint8)
    assert (restore(network, DETAIL, picture)["image"] == value[1]).all()


def test_same_input_same_output_and_the_network_is_left_as_it_was() -> None:
    network = dsrgan().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    picture = photograph(50, 60)
    original = picture.copy()
    one, two = (restore(network, DETAIL, picture, tiles=Tiles(40, 8)) for _ in range(2))
    assert np.array_equal(one["image"], two["image"])
    assert np.array_equal(one["detail"], two["detail"])
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert np.array_equal(picture, original)


def views() -> Iterator[np.ndarray]:
    picture = photograph(40, 30)
    read_only = picture.copy()
    read_only.flags.writeable = False
    yield from (picture[::-1, ::-1], picture[..., ::-1], picture.transpose(1, 0, 2), picture[::2], read_only)


@pytest.mark.parametrize("picture", views())
def test_views_of_arrays(picture: np.ndarray) -> None:
    assert np.array_equal(restore(EchoSame(), DETAIL, picture)["image"], picture)


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 4, 3), np.float64),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.uint16),
    ],
)
def test_other_arrays_are_refused(picture: np.ndarray) -> None:
    with pytest.raises(DataError, match="not an 8-bit RGB picture"):
        restore(EchoSame(), DETAIL, picture)


@pytest.mark.parametrize("description", [{}, {"derive": {}}, {"derive": {"hr_detail": {"type": "lgs", "of": "hr"}}}])
def test_a_model_that_does_not_say_its_detail_is_refused(description: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="a picture alone cannot feed this network's lr_detail"):
        restore(EchoSame(), description, photograph(9, 9))


def test_a_derivation_that_there_is_not_is_refused() -> None:
    with pytest.raises(ModelError, match="unknown type 'magic'"):
        restore(EchoSame(), with_detail("magic"), photograph(9, 9))


def test_a_network_without_detail_needs_no_extractor() -> None:
    assert restore(RRDBNet(blocks=1, channels=4), {}, photograph(9, 9))["image"].shape == (
        36,
        36,
        3,
    )


def test_a_network_that_reads_something_else_is_refused() -> None:
    network = EchoSame()
    network.inputs = ("lr", "score")  # type: ignore[misc]
    with pytest.raises(ModelError, match="score"):
        restore(network, DETAIL, photograph(9, 9))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_an_error(value: float) -> None:
    network = EchoSame()
    nn.init.constant_(network.gain, value)
    with pytest.raises(ModelError, match="image holds values that are not finite"):
        restore(network, DETAIL, photograph(9, 9))


@pytest.mark.parametrize(("tile", "overlap"), [(32, 16), (192, 4), (0, 0)])
def test_impossible_tiles_are_refused(tile: int, overlap: int) -> None:
    with pytest.raises(ConfigError, match=f"tile {tile} and overlap {overlap}"):
        restore(EchoSame(), DETAIL, photograph(9, 9), tiles=Tiles(tile, overlap))


def test_floats_are_restored_unrounded_and_as_bytes_where_they_are_bytes() -> None:
    torch.manual_seed(0)
    network, picture = RRDBNet(blocks=1, channels=8, growth=4, scale=4, skip="bicubic"), photograph(20, 24)
    floats = (picture / 255).astype(np.float32)
    assert np.abs(restore(network, {}, floats)["image"].astype(int) - restore(network, {}, picture)["image"]).max() <= 1

    class Doubled(nn.Module):
        inputs: ClassVar[tuple[str, ...]] = ("lr",)
        scale = 1

        def __init__(self) -> None:
            super().__init__()
            self.two = nn.Parameter(torch.tensor(2.0))

        def forward(self, lr: Tensor) -> dict[str, Tensor]:
            return {"image": lr, "twice": lr * self.two}

    noisy = floats + np.random.default_rng(0).normal(0, 0.5, floats.shape).astype(np.float32)
    found = restore(Doubled(), {}, noisy)
    assert np.allclose(found["twice"], 2 * noisy, atol=1e-6)
    assert noisy.min() < 0
    assert noisy.max() > 1
