"""What the tests of restoring share: networks whose output can be foretold, and picture files of every kind."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from acutance.inference.picture_file import Restorer
from acutance.models.model_file import save_model
from acutance.models.rrdbnet import RRDBNet

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (24, 36, 3), dtype=np.uint8)
GREY = RGB[..., 0].copy()
DEEP = RNG.integers(0, 65536, (24, 36, 4), dtype=np.uint16)


class Nearest(nn.Module):
    """Repeats every pixel four times in both directions, after an average over the pixels `blur` away from it."""

    inputs: ClassVar[tuple[str, ...]] = ("lr",)
    scale = 4

    def __init__(self, blur: int = 0) -> None:
        super().__init__()
        self.blur = blur
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, lr: Tensor) -> dict[str, Tensor]:
        reach = self.blur
        smooth = F.avg_pool2d(F.pad(lr, (reach,) * 4, mode="replicate"), 2 * reach + 1, stride=1)
        return {"image": F.interpolate(smooth * self.gain, scale_factor=4)}


def restorer(network: nn.Module | None = None, sha256: str = "a" * 64) -> Restorer:
    return Restorer(network or Nearest(), {"scale": 4}, sha256)


def enlarged(pixels: np.ndarray) -> np.ndarray:
    return pixels.repeat(4, 0).repeat(4, 1)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format=form, **options)
    return file.getvalue()


def deep_png(pixels: np.ndarray) -> bytes:
    """Encode uint16 grey, RGB or RGBA as PNG by OpenCV, which keeps 16 bits and counts blue, green, red."""
    order = {2: slice(None), 3: [2, 1, 0], 4: [2, 1, 0, 3]}
    swapped = pixels if pixels.ndim == 2 else pixels[..., order[pixels.shape[2]]]
    return cv2.imencode(".png", swapped)[1].tobytes()


def model_file(path: Path, seed: int = 0, **arguments: Any) -> str:
    """Write a small RRDBNet with random weights and return its path."""
    torch.manual_seed(seed)
    settings = {"blocks": 1, "channels": 4, **arguments}
    description = {"network": {"type": "rrdbnet", **settings}, "scale": 4, "stage": "made"}
    save_model(str(path), RRDBNet(**settings), {**description, "fingerprint": f"{seed:016x}", "title": "", "notes": []})
    return str(path)


def ink_profile() -> bytes:
    """Make an ICC profile for CMYK in which pure magenta is (128, 188 - 128, 0) in Lab, paper white, the rest black."""
    corners = [(255, 128, 128) if not inks else (128, 188, 128) if inks == 4 else (0, 128, 128) for inks in range(16)]
    steps = bytes(range(256))
    matrix = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 16)
    table = (
        b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + 4 * steps + bytes(np.ravel(corners).tolist()) + 3 * steps
    )
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    header = struct.pack(">I4sI4s4s4s12x4s", 144 + len(table), b"none", 0x02400000, b"prtr", b"CMYK", b"Lab ", b"acsp")
    illuminant = struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    return (header + bytes(28) + illuminant).ljust(128, b"\0") + tags + table
