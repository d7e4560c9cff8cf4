"""MSRResNet, the generator of SRGAN as it is trained today (BasicSR), under the parameter names of BasicSR.

Parameter names: `conv_first`, `body.{i}.conv1`, `body.{i}.conv2`, `upconv1`, `upconv2` (at x4 only), `conv_hr`,
`conv_last`. Against SRGAN's own SRResNet it has no batch normalisation, no convolution after the blocks and no long
skip.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from acutance.models.rrdbnet import INITIAL_GAIN, convolution, fold_of, positive

SLOPE = 0.1


class MSRResNet(nn.Module):
    """Residual blocks without batch normalisation, then sub-pixel convolutions, one a doubling.

    Args:
        blocks: how many residual blocks; 16 in SRGAN (1,517,571 parameters at the defaults).
        channels: width of the trunk.
        scale: enlargement.
        skip: "bilinear" adds the bilinearly enlarged input to the output, as BasicSR does; "none" is the generator of
            the dual perceptual loss, which took that skip out.
    """

    inputs: ClassVar[tuple[str, ...]] = ("lr",)
    outputs: ClassVar[tuple[str, ...]] = ("image",)

    def __init__(
        self,
        *,
        blocks: int = 16,
        channels: int = 64,
        scale: Literal[2, 4] = 4,
        skip: Literal["none", "bilinear"] = "none",
    ) -> None:
        super().__init__()
        positive(blocks=blocks, channels=channels)
        self.scale, self.skip, self.doublings = scale, skip, 2 // fold_of(scale)
        self.conv_first = _weakened(3, channels)
        self.body = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.upconv1 = _weakened(channels, 4 * channels)
        if self.doublings > 1:
            self.upconv2 = _weakened(channels, 4 * channels)
        self.conv_hr = _weakened(channels, channels)
        self.conv_last = _weakened(channels, 3)

    def forward(self, lr: Tensor) -> dict[str, Tensor]:
        """Map `lr` (B,3,h,w) in 0..1 to {"image": (B,3,h*scale,w*scale)}, not clipped."""
        features = self.body(_leaky(self.conv_first(lr)))
        for layer in [self.upconv1, self.upconv2] if self.doublings > 1 else [self.upconv1]:
            features = _leaky(F.pixel_shuffle(layer(features), 2))
        image = self.conv_last(_leaky(self.conv_hr(features)))
        return {"image": image + _bilinear(lr, self.scale) if self.skip == "bilinear" else image}


class ResidualBlock(nn.Module):
    """Two convolutions with a ReLU between them, and a skip around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _weakened(channels, channels)
        self.conv2 = _weakened(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv2(F.relu(self.conv1(features), inplace=True))


def _weakened(inputs: int, outputs: int) -> nn.Conv2d:
    """Return a 3x3 convolution that starts as in BasicSR: a tenth of Kaiming's weights, no bias."""
    layer = convolution(inputs, outputs)
    nn.init.kaiming_normal_(layer.weight)
    layer.weight.data.mul_(INITIAL_GAIN)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def _leaky(features: Tensor) -> Tensor:
    return F.leaky_relu(features, SLOPE, inplace=True)


def _bilinear(lr: Tensor, scale: int) -> Tensor:
    return F.interpolate(lr, scale_factor=scale, mode="bilinear", align_corners=False)
