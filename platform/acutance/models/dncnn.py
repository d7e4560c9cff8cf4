"""DnCNN, what denoisers are compared with: Zhang et al., "Beyond a Gaussian Denoiser", IEEE TIP 26, 2017."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from acutance.errors import ConfigError
from acutance.models.rrdbnet import convolution, positive


class DnCNN(nn.Module):
    """Finds the noise and takes it away; 558,403 parameters at the defaults.

    Args:
        layers: convolutions; all between the first and the last are followed by batch normalisation.
        channels: width.
    """

    inputs: ClassVar[tuple[str, ...]] = ("lr",)
    scale = 1

    def __init__(self, *, layers: int = 17, channels: int = 64) -> None:
        super().__init__()
        positive(channels=channels)
        if layers < 2:
            raise ConfigError(f"layers is {layers}", where="layers", fix="use 2 or more")
        self.conv_first = convolution(3, channels)
        self.body = nn.Sequential(*(_normalised(channels) for _ in range(layers - 2)))
        self.conv_last = convolution(channels, 3)

    def forward(self, lr: Tensor) -> dict[str, Tensor]:
        """Map noisy pictures (B,3,H,W) in 0..1 to {"image": (B,3,H,W)}, not clipped."""
        return {"image": lr - self.conv_last(self.body(F.relu(self.conv_first(lr), inplace=True)))}


def _normalised(channels: int) -> nn.Sequential:
    """Return convolution, batch normalisation, which makes its bias idle, and ReLU."""
    layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
