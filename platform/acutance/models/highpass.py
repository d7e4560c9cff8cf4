"""The high-pass network of HFA: three layers that learn to filter, and whose features then weigh high
frequencies.

Its target is the picture with the low part of its spectrum taken away; trained and frozen it serves L_hf, a
feature loss that needs no download.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from acutance.errors import ConfigError
from acutance.models.rrdbnet import positive

LAYERS = ("conv0", "conv1")


class HighPassNet(nn.Module):
    """Three convolutions with reflected borders; 112,131 parameters at the defaults, 40,451 with 3x3 kernels.

    Args:
        channels: width of the two hidden layers.
        kernel: side of the kernels. 3 reaches only high cutoffs (0.25 of Nyquist), 5 also 0.125.
    """

    inputs: ClassVar[tuple[str, ...]] = ("hr",)
    outputs: ClassVar[tuple[str, ...]] = ("highpass",)
    scale = 1

    def __init__(self, *, channels: int = 64, kernel: Literal[3, 5] = 5) -> None:
        super().__init__()
        positive(channels=channels)
        self.conv0 = _reflecting(3, channels, kernel)
        self.conv1 = _reflecting(channels, channels, kernel)
        self.conv2 = _reflecting(channels, 3, kernel)

    def forward(self, hr: Tensor) -> dict[str, Tensor]:
        """Map pictures (B,3,H,W) in 0..1 to {"highpass": (B,3,H,W)}, signed. Sides of 3 pixels or more."""
        return {"highpass": self.conv2(self.features(hr, ("conv1",))["conv1"])}

    def features(self, picture: Tensor, layers: tuple[str, ...] = LAYERS) -> dict[str, Tensor]:
        """Return the outputs (B,channels,H,W) of hidden layers, after ReLU.

        Raises:
            ConfigError: for a layer that is not `conv0` or `conv1`.
        """
        unknown = sorted(set(layers) - set(LAYERS))
        if unknown:
            raise ConfigError(f"the high-pass network has no features {unknown}", fix=f"use {', '.join(LAYERS)}")
        found = {"conv0": F.relu(self.conv0(picture))}
        if "conv1" in layers:
            found["conv1"] = F.relu(self.conv1(found["conv0"]))
        return {layer: found[layer] for layer in layers}


def _reflecting(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode="reflect")
