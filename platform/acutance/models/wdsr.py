"""WDSR-A: wide features before the activation, convolutions with weight normalisation, one sub-pixel step.

After Yu et al., "Wide Activation for Efficient and Accurate Image Super-Resolution" (2018), in the form that
Zhou et al. train with their weight map: 3x3 kernels, a 5x5 skip from the picture itself.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acutance.models.rrdbnet import positive

CENTRE = 0.5
"""Taken away before the first convolution and added after the last: pictures are in 0..1."""

SKIP_KERNEL = 5


class WDSR(nn.Module):
    """The network; 597,716 parameters at the defaults, 596,380 without weight normalisation.

    Args:
        blocks: residual blocks.
        channels: width between blocks.
        expansion: how many times wider a block is inside, where its activation is.
        scale: enlargement.
        weight_norm: learn each kernel's length apart from its direction.
    """

    inputs: ClassVar[tuple[str, ...]] = ("lr",)
    outputs: ClassVar[tuple[str, ...]] = ("image",)

    def __init__(
        self,
        *,
        blocks: int = 8,
        channels: int = 32,
        expansion: int = 4,
        scale: Literal[2, 3, 4] = 2,
        weight_norm: bool = True,
    ) -> None:
        super().__init__()
        positive(blocks=blocks, channels=channels, expansion=expansion)
        self.scale = scale
        pixels = 3 * scale**2
        self.head = convolution(3, channels, 3, weight_norm)
        self.body = nn.Sequential(*(WideBlock(channels, expansion * channels, weight_norm) for _ in range(blocks)))
        self.tail = convolution(channels, pixels, 3, weight_norm)
        self.skip = convolution(3, pixels, SKIP_KERNEL, weight_norm)

    def forward(self, lr: Tensor) -> dict[str, Tensor]:
        """Map `lr` (B,3,h,w) in 0..1 to {"image": (B,3,h*scale,w*scale)}, not clipped."""
        centred = lr - CENTRE
        pixels = self.tail(self.body(self.head(centred))) + self.skip(centred)
        return {"image": F.pixel_shuffle(pixels, self.scale) + CENTRE}


class WideBlock(nn.Module):
    """x + conv(relu(conv(x))), wide where the ReLU is."""

    def __init__(self, channels: int, wide: int, weight_norm: bool) -> None:
        super().__init__()
        self.conv1 = convolution(channels, wide, 3, weight_norm)
        self.conv2 = convolution(wide, channels, 3, weight_norm)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv2(F.relu(self.conv1(features), inplace=True))


class NormedConvolution(nn.Module):
    """A convolution that keeps the size, with the kernels g v / |v|: Salimans and Kingma, 2016, eq. 2.

    The norm is that of each output channel's kernel. Written out instead of torch's parametrisation, so that what is
    stored are plain parameters, and the gains, one-dimensional, are no kernels to an optimiser.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(outputs))
        self.direction = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.direction)

    @property
    def weight(self) -> Tensor:
        """The kernels (outputs, inputs, k, k)."""
        length = torch.linalg.vector_norm(self.direction, dim=(1, 2, 3), keepdim=True)
        return self.gain.view(-1, 1, 1, 1) / length * self.direction

    def forward(self, features: Tensor) -> Tensor:
        return F.conv2d(features, self.weight, self.bias, padding=self.direction.shape[-1] // 2)


def convolution(inputs: int, outputs: int, kernel: int, weight_norm: bool) -> nn.Module:
    """Return a convolution that keeps the size: Glorot-uniform weights or directions, gains 1, no bias at the start."""
    if weight_norm:
        return NormedConvolution(inputs, outputs, kernel)
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
