"""ResNet with pre-activation bottlenecks, a classifier of small pictures of any size.

He et al., "Identity Mappings in Deep Residual Networks" (2016), at depth 164 as Zhou et al. train it: their released
code where it differs from their table II, whose bottlenecks are as wide inside as outside.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acutance.errors import ConfigError
from acutance.models.rrdbnet import positive

STEM = 16
WIDTHS = (64, 128, 256)
NARROW = 4
"""How many times narrower a bottleneck is inside."""

SLOPE = 0.1
EPSILON = 1e-3


class ResNet(nn.Module):
    """The network; 1,703,258 parameters at the defaults, 1,726,388 for 100 classes.

    Args:
        depth: layers, 9 n + 2: a convolution, three stages of n bottlenecks of three layers each, a linear layer.
        classes: how many.
    """

    inputs: ClassVar[tuple[str, ...]] = ("hr",)
    outputs: ClassVar[tuple[str, ...]] = ("logits",)
    scale = 1

    def __init__(self, *, depth: int = 164, classes: int = 10) -> None:
        super().__init__()
        positive(classes=classes)
        units, rest = divmod(depth - 2, 9)
        if rest or units < 1:
            raise ConfigError(f"depth is {depth}", where="depth", fix="use 9 n + 2, such as 11, 29 or 164")
        self.stem = _convolution(3, STEM, 3)
        widths = pairwise((STEM, *WIDTHS))
        self.stages = nn.Sequential(*(_stage(a, b, units, first=n == 0) for n, (a, b) in enumerate(widths)))
        self.norm = _norm(WIDTHS[-1])
        self.linear = nn.Linear(WIDTHS[-1], classes)
        bound = math.sqrt(3 / WIDTHS[-1])
        nn.init.uniform_(self.linear.weight, -bound, bound)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hr: Tensor) -> dict[str, Tensor]:
        """Map pictures (B,3,H,W) in 0..1 to {"logits": (B,classes)}."""
        features = self.stages(self.stem(standardised(hr)))
        return {"logits": self.linear(_leaky(self.norm(features)).mean((2, 3)))}


class Bottleneck(nn.Module):
    """Shortcut plus three convolutions, normalisation and activation before each.

    Args:
        stride: of the first convolution and the shortcut's.
        shared: the shortcut, too, starts from what the first convolution sees: of the network's first unit alone.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, *, shared: bool = False) -> None:
        super().__init__()
        self.shared = shared
        narrow = outputs // NARROW
        self.norm1, self.conv1 = _norm(inputs), _convolution(inputs, narrow, 1, stride)
        self.norm2, self.conv2 = _norm(narrow), _convolution(narrow, narrow, 3)
        self.norm3, self.conv3 = _norm(narrow), _convolution(narrow, outputs, 1)
        self.project = _convolution(inputs, outputs, 1, stride) if inputs != outputs else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        active = _leaky(self.norm1(features))
        shortcut = self.project(active if self.shared else features)
        inner = self.conv2(_leaky(self.norm2(self.conv1(active))))
        return shortcut + self.conv3(_leaky(self.norm3(inner)))


def standardised(picture: Tensor) -> Tensor:
    """Bring each picture (B,3,H,W), 0..1, to mean 0 and deviation 1 over all its values.

    As tf.image.per_image_standardization does on 0..255: N values deviate by at least 1 / sqrt(N) grey levels, so a
    constant picture becomes 0.
    """
    levels = 255 * picture
    deviation, mean = torch.std_mean(levels, dim=(1, 2, 3), correction=0, keepdim=True)
    return (levels - mean) / deviation.clamp_min(picture[0].numel() ** -0.5)


def _stage(inputs: int, outputs: int, units: int, *, first: bool) -> nn.Sequential:
    """Return a stage; all but the first one halve the sides."""
    opening = Bottleneck(inputs, outputs, 1 if first else 2, shared=first)
    return nn.Sequential(opening, *(Bottleneck(outputs, outputs, 1) for _ in range(units - 1)))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution without bias, weights from N(0, 2 / (k^2 outputs))."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out")
    return layer


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=EPSILON)


def _leaky(features: Tensor) -> Tensor:
    return F.leaky_relu(features, SLOPE, inplace=True)
