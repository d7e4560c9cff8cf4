"""EUSR, the multi-scale network of 4PP-EUSR: one trunk, a head of scale-aware blocks and a chain of doublings a scale.

After Choi, Kim, Cheon and Lee, "Deep Learning-based Image Super-Resolution Considering Quantitative and Perceptual
Quality", and its released code where the paper is silent. The network works on 0..255 inside; pictures go in and come
out in 0..1 as everywhere.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acutance.errors import ConfigError
from acutance.imaging.resize import imresize
from acutance.models.rrdbnet import positive

MEAN = (114.4, 111.5, 103.0)
"""Of DIV2K's pictures by channel, 0..255; taken away before the first convolution and added after the last."""

SCALES = (2, 4, 8)
MODULES = 4
"""Residual modules of a doubling, in a chain; each gives one of four neighbouring output pixels."""

Path = Literal["x4", "x2x2", "x8down"]
PATHS: tuple[Path, ...] = ("x4", "x2x2", "x8down")
"""How a picture is enlarged fourfold: at once, by two twos, or by eight and halved."""


class EUSR(nn.Module):
    """The network; 6,295,689 parameters at the defaults.

    In training it enlarges by the scale that the batch names; with `multipass` it enlarges fourfold along all three
    paths and returns them one after another on the batch axis. Afterwards it enlarges along one path.

    Args:
        blocks: residual blocks of the trunk that all scales share.
        channels: width.
        multipass: train along all paths.
        path: the way taken outside of training.
        halving: how the eightfold picture is halved: MATLAB's bicubic as the paper says, or every second pixel, to
            which the released code's resize comes down.
    """

    inputs: ClassVar[tuple[str, ...]] = ("lr",)
    outputs: ClassVar[tuple[str, ...]] = ("image",)
    options: ClassVar[tuple[str, ...]] = ("scale",)
    scale = 4
    mean: Tensor

    def __init__(
        self,
        *,
        blocks: int = 32,
        channels: int = 64,
        multipass: bool = False,
        path: Path = "x4",
        halving: Literal["bicubic", "subsample"] = "bicubic",
    ) -> None:
        super().__init__()
        positive(blocks=blocks, channels=channels)
        self.multipass, self.path, self.halving = multipass, path, halving
        doublings = {scale: scale.bit_length() - 1 for scale in SCALES}
        variance = 1.3e-4 / (2 * len(SCALES) + blocks + MODULES * sum(doublings.values()))
        self.conv_first = convolution(3, channels)
        self.heads = nn.ModuleDict(
            {f"x{s}": nn.Sequential(*(Residual(channels, 5, variance) for _ in range(2))) for s in SCALES}
        )
        self.body = ResidualModule(channels, blocks, variance)
        self.tails = nn.ModuleDict(
            {f"x{s}": nn.Sequential(*(Doubling(channels, variance) for _ in range(n))) for s, n in doublings.items()}
        )
        self.conv_last = nn.ModuleDict({f"x{s}": convolution(channels, 3) for s in SCALES})
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)

    def forward(self, lr: Tensor, scale: Tensor | None = None) -> dict[str, Tensor]:
        """Enlarge pictures.

        Args:
            lr: (B,3,h,w) in 0..1.
            scale: (B,) with one and the same scale, in training without `multipass`; fourfold where left out.

        Returns:
            "image" (B,3,H,W), not clipped; (3B,3,H,W) in training with `multipass`, the paths in the order of PATHS.
        """
        if self.training and self.multipass:
            return {"image": torch.cat([self.along(path, lr) for path in PATHS])}
        if scale is not None:
            return {"image": self.enlarged(lr, int(scale[0]))}
        return {"image": self.along(self.path, lr)}

    def along(self, path: Path, lr: Tensor) -> Tensor:
        """Enlarge fourfold along a path; a second pass sees the first one's picture as it is, not clipped."""
        if path == "x4":
            return self.enlarged(lr, 4)
        if path == "x2x2":
            return self.enlarged(self.enlarged(lr, 2), 2)
        large = self.enlarged(lr, 8)
        return imresize(large, 0.5) if self.halving == "bicubic" else large[..., ::2, ::2]

    def enlarged(self, lr: Tensor, scale: int) -> Tensor:
        """Enlarge (B,3,h,w) to (B,3,h*scale,w*scale).

        Raises:
            ConfigError: for another scale than 2, 4 and 8.
        """
        if scale not in SCALES:
            raise ConfigError(f"EUSR has no scale {scale}", where="scale", fix="use 2, 4 or 8")
        name = f"x{scale}"
        features = self.conv_first(255 * lr - self.mean)
        features = self.tails[name](self.body(self.heads[name](features)))
        return (self.conv_last[name](features) + self.mean) / 255


class Residual(nn.Module):
    """x + conv(relu(conv(x))), which starts as nearly x."""

    def __init__(self, channels: int, kernel: int, variance: float) -> None:
        super().__init__()
        self.conv1 = _quiet(nn.Conv2d(channels, channels, kernel, padding=kernel // 2), variance)
        self.conv2 = _quiet(nn.Conv2d(channels, channels, kernel, padding=kernel // 2), variance)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv2(F.relu(self.conv1(features), inplace=True))


class ResidualModule(nn.Module):
    """Residual blocks and a convolution, with a skip around them all."""

    def __init__(self, channels: int, blocks: int, variance: float) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Residual(channels, 3, variance) for _ in range(blocks)))
        self.conv = convolution(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv(self.blocks(features))


class Doubling(nn.Module):
    """The enhanced upscaling module: residual modules in a chain, whose outputs are neighbouring pixels.

    Module k fills the pixels at (k // 2, k % 2) of each 2 x 2, all of whose channels are its own: TensorFlow's order.
    """

    def __init__(self, channels: int, variance: float) -> None:
        super().__init__()
        self.chain = nn.ModuleList(ResidualModule(channels, 1, variance) for _ in range(MODULES))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B,C,h,w) to (B,C,2h,2w)."""
        found = []
        for module in self.chain:
            features = module(features)
            found.append(features)
        return F.pixel_shuffle(torch.stack(found, 2).flatten(1, 2), 2)


def convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps the size, Glorot-uniform weights, no bias at the start."""
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def _quiet(layer: nn.Conv2d, variance: float) -> nn.Conv2d:
    """Initialise by a truncated normal of `variance` divided by the number of inputs."""
    deviation = math.sqrt(variance / (layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]))
    nn.init.trunc_normal_(layer.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
