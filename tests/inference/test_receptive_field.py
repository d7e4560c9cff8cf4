"""How much context a network needs, and what its tiles are then worth."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acutance.data.pictures import read_picture
from acutance.inference import context
from acutance.inference import restore as room
from acutance.inference.context import MARGINS, bytes_per_pixel, fits_whole, made_picture
from acutance.inference.restore import Tiles, context_of, restore, tiles_for
from acutance.models.public_weights import load_public_weights
from acutance.models.rrdbnet import RRDBNet

PICTURE = made_picture()[0].permute(1, 2, 0).numpy().astype(np.uint8)


class Far(nn.Module):
    """Every pixel is the mean of itself and of pixels above to the left, up to `reach` rows and columns away."""

    inputs: ClassVar[tuple[str, ...]] = ("lr",)
    outputs: ClassVar[tuple[str, ...]] = ("image",)
    scale = 1

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.away = range(reach, -1, -6)
        self.gain = nn.Parameter(torch.full((), 1 / len(self.away)))

    def forward(self, lr: Tensor) -> dict[str, Tensor]:
        height, width = lr.shape[-2:]
        seen = [F.pad(lr, (away, 0, away, 0))[..., :height, :width] for away in self.away]
        return {"image": torch.stack(seen).sum(0) * self.gain}


@pytest.mark.parametrize(("reach", "needed"), [(0, 8), (7, 8), (12, 16), (30, 32), (60, 64), (90, 96)])
def test_context_is_what_the_network_reaches(reach: int, needed: int) -> None:
    network = Far(reach).train()
    assert context_of(network, {}) == needed
    assert network.training
    assert context_of(network, {"context": 24}) == 24


@pytest.mark.parametrize("pixels", [0, *MARGINS])
def test_tiles_give_every_pixel_its_context(pixels: int) -> None:
    tile, overlap = tiles_for(pixels)
    assert overlap * 3 // 8 >= pixels
    assert tile >= 2.5 * overlap
    assert tiles_for(6) == (192, 16)


@pytest.mark.parametrize("reach", [3, 30])
def test_in_tiles_a_picture_is_what_it_is_as_a_whole(reach: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory forbids the whole, which is told; tiles of a fixed overlap would show where reach is large."""
    network, told, large = Far(reach), [], np.tile(PICTURE, (2, 2, 1))[:300, :340]
    whole = restore(network, {}, large, on_tiles=told.append)["image"]
    assert not told
    monkeypatch.setattr(room, "fits_whole", lambda *_: False)
    tiled = restore(network, {}, large, on_tiles=told.append)["image"]
    assert told == [tiles_for(context_of(network, {}))]
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    fixed = restore(network, {}, large, tiles=Tiles(192, 16))["image"]
    assert (np.abs(whole.astype(int) - fixed).max() > 1) == (reach == 30)


def test_memory_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    network = RRDBNet(blocks=1, channels=4)
    columns = {"lr": made_picture() / 255}
    assert fits_whole(network, columns)
    assert (
        1024 <= bytes_per_pixel(network, columns) < 1200
    )  # 2 * 4 * 16 * (4 + 4): its last layers, at 4 times the size
    monkeypatch.setattr(context, "free_memory", lambda: 0)
    assert fits_whole(network, {"lr": columns["lr"].tile(1, 1, 1, 2)})
    assert not fits_whole(network, {"lr": columns["lr"].expand(9, 3, -1, -1).tile(1, 1, 1, 16)})


@pytest.mark.long
def test_tiles_of_a_trained_deep_network_are_as_good_as_the_whole(data_root: Path) -> None:
    """With 6 pixels of context they differ by up to 50 grey levels, 46 dB."""
    public = data_root / "weights" / "RealESRGAN_x4plus_fp16.pth"
    if not public.is_file():
        pytest.skip(f"no {public.name} among the weights of ACUTANCE_DATA")
    network = RRDBNet(blocks=23, channels=64).eval()
    load_public_weights(network, str(public))
    photograph = read_picture(data_root / "benchmarks" / "Set14" / "HR" / "img_010.png")[100:164, 60:420]
    needed = context_of(network, {})
    assert needed >= 48
    whole = restore(network, {"context": needed}, photograph)["image"].astype(float)
    overlap = tiles_for(needed).overlap
    tiled = restore(network, {}, photograph, tiles=Tiles(2 * overlap + 4, overlap))
    error = np.square(whole - tiled["image"]).mean()
    assert 10 * np.log10(255**2 / error) > 55
    assert (np.abs(whole - tiled["image"]) > 2).mean() < 0.001
