"""DnCNN, the usual baseline of denoisers: Zhang et al., "Beyond a Gaussian Denoiser", IEEE TIP 26, 2017."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acutance.errors import ConfigError
from acutance.models.rrdbnet import convolution, positive

LEAST_GAIN = 0.025


class DnCNN(nn.Module):
    """Predicts the noise and subtracts it; 558,403 parameters at the defaults.

    It starts as in the authors' code (cszn/DnCNN): of small gains, without which it learns far more slowly.

    Args:
        layers: convolutions; all between the first and the last are followed by batch normalisation.
        channels: width.
    """

    inputs: ClassVar[tuple[str, ...]] = ("lr",)
    outputs: ClassVar[tuple[str, ...]] = ("image",)
    scale = 1

    def __init__(self, *, layers: int = 17, channels: int = 64) -> None:
        super().__init__()
        positive(channels=channels)
        if layers < 2:
            raise ConfigError(f"layers is {layers}", where="layers", fix="use 2 or more")
        self.conv_first = convolution(3, channels)
        self.body = nn.Sequential(*(_normalised(channels) for _ in range(layers - 2)))
        self.conv_last = convolution(channels, 3)
        self.apply(lambda module: _begin(module, math.sqrt(2 / (9 * channels))))

    def forward(self, lr: Tensor) -> dict[str, Tensor]:
        """Map noisy pictures (B,3,H,W) in 0..1 to {"image": (B,3,H,W)}, not clipped."""
        return {"image": lr - self.conv_last(self.body(F.relu(self.conv_first(lr), inplace=True)))}


def _normalised(channels: int) -> nn.Sequential:
    """Return convolution, batch normalisation and ReLU. The normalisation cancels the bias of the convolution."""
    layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


@torch.no_grad()
def _begin(module: nn.Module, deviation: float) -> None:
    """Draw kernels and gains from a normal distribution, gains no nearer to 0 than LEAST_GAIN; biases are 0."""
    if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, std=deviation)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, nn.BatchNorm2d):
        module.weight.copy_(module.weight.abs().clamp_min(LEAST_GAIN).copysign(module.weight))
