"""RRDBNet, the generator of ESRGAN (Wang et al., 2018), under the parameter names of BasicSR.

Parameter names: `conv_first`, `body.{i}.rdb{j}.conv{k}`, `conv_body`, `conv_up1`, `conv_up2`, `conv_hr`,
`conv_last`. At x2 the picture is folded first (pixel unshuffle), as in BasicSR, so that the network is the x4
one behind the fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acutance.errors import ConfigError
from acutance.imaging.resize import imresize

SLOPE = 0.2
RESIDUAL_SCALE = 0.2
INITIAL_GAIN = 0.1
QUIET = 1e-3


class RRDBNet(nn.Module):
    """Residual-in-residual dense blocks, then two nearest-neighbour enlargements.

    Args:
        blocks: how many RRDBs; 23 in ESRGAN (16,697,987 parameters at the defaults).
        channels: width of the trunk.
        growth: channels each convolution of a dense block adds.
        scale: enlargement; 2 folds the picture by 2 first.
        skip: "bicubic" adds the bicubically enlarged input (MATLAB's) to the output and starts with nearly
            nothing on top of it, so that a small network on a small budget starts from bicubic; "none" is
            ESRGAN.
    """

    inputs: ClassVar[tuple[str, ...]] = ("lr",)
    outputs: ClassVar[tuple[str, ...]] = ("image",)

    def __init__(
        self,
        *,
        blocks: int = 23,
        channels: int = 64,
        growth: int = 32,
        scale: Literal[2, 4] = 4,
        skip: Literal["none", "bicubic"] = "none",
    ) -> None:
        super().__init__()
        positive(blocks=blocks, channels=channels, growth=growth)
        self.scale, self.fold, self.skip = scale, fold_of(scale), skip
        self.conv_first = convolution(3 * self.fold**2, channels)
        self.body = nn.ModuleList(RRDB(channels, growth) for _ in range(blocks))
        self.conv_body = convolution(channels, channels)
        self.conv_up1 = convolution(channels, channels)
        self.conv_up2 = convolution(channels, channels)
        self.conv_hr = convolution(channels, channels)
        self.conv_last = convolution(channels, 3)
        if skip == "bicubic":
            start_at(self.conv_last, 0.0)

    def forward(self, lr: Tensor) -> dict[str, Tensor]:
        """Map `lr` (B,3,h,w) in 0..1 to {"image": (B,3,h*scale,w*scale)}, not clipped."""
        features, _ = self.trunk(fill(lr, self.fold))
        return {"image": self.picture(self.enlarge(features), lr)}

    def trunk(self, lr: Tensor, taps: Sequence[int] = ()) -> tuple[Tensor, list[Tensor]]:
        """Return the features at LR size (B,channels,h,w), and those after the tapped RRDBs.

        Args:
            lr: (B,3,h,w), sides a multiple of the fold.
            taps: numbers of RRDBs, from 1; what they give is not yet past `conv_body` and the long skip.
        """
        first = self.conv_first(fold(lr, self.fold))
        features, kept = first, {}
        for number, block in enumerate(self.body, start=1):
            features = block(features)
            if number in taps:
                kept[number] = features
        return first + self.conv_body(features), [kept[tap] for tap in taps]

    def enlarge(self, features: Tensor) -> Tensor:
        """Enlarge features fourfold: the ones after the second upsampling convolution."""
        return enlarge(features, self.conv_up1, self.conv_up2)

    def picture(self, features: Tensor, lr: Tensor) -> Tensor:
        """Map enlarged features to the picture (B,3,h*scale,w*scale) of `lr` as it came."""
        image = crop(self.conv_last(leaky(self.conv_hr(features))), lr, self.scale)
        return image + imresize(lr, self.scale) if self.skip == "bicubic" else image


class RRDB(nn.Module):
    """Three dense blocks in a row with a scaled skip around them."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(channels, growth)
        self.rdb2 = DenseBlock(channels, growth)
        self.rdb3 = DenseBlock(channels, growth)

    def forward(self, features: Tensor) -> Tensor:
        return torch.add(features, self.rdb3(self.rdb2(self.rdb1(features))), alpha=RESIDUAL_SCALE)


class DenseBlock(nn.Module):
    """Five convolutions; each sees the input and all earlier outputs."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.conv1 = _weakened(convolution(channels, growth))
        self.conv2 = _weakened(convolution(channels + growth, growth))
        self.conv3 = _weakened(convolution(channels + 2 * growth, growth))
        self.conv4 = _weakened(convolution(channels + 3 * growth, growth))
        self.conv5 = _weakened(convolution(channels + 4 * growth, channels))

    def forward(self, features: Tensor) -> Tensor:
        seen = [features]
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen.append(leaky(layer(torch.cat(seen, 1))))
        return torch.add(features, self.conv5(torch.cat(seen, 1)), alpha=RESIDUAL_SCALE)


def _weakened(layer: nn.Conv2d) -> nn.Conv2d:
    """Initialise as BasicSR does: a tenth of Kaiming's, so that the block starts near the identity."""
    nn.init.kaiming_normal_(layer.weight)
    layer.weight.data.mul_(INITIAL_GAIN)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps the size (zero padding)."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def leaky(features: Tensor) -> Tensor:
    """LeakyReLU with slope 0.2, in place: the only reader of a convolution's output."""
    return F.leaky_relu(features, SLOPE, inplace=True)


def enlarge(features: Tensor, *layers: nn.Conv2d) -> Tensor:
    """Double the size once a layer: nearest neighbour, convolution, LeakyReLU."""
    for layer in layers:
        features = leaky(layer(F.interpolate(features, scale_factor=2, mode="nearest")))
    return features


def start_at(layer: nn.Conv2d, value: float) -> None:
    """Initialise a last layer so that it returns nearly `value`, with weights small enough not to be seen."""
    nn.init.normal_(layer.weight, std=QUIET)
    nn.init.constant_(layer.bias, value)  # type: ignore[arg-type]


def glorot(network: nn.Module) -> None:
    """Initialise convolutions and linear layers as TensorFlow does by default: Glorot uniform, biases of 0."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


def fold_of(scale: int) -> int:
    """Return the factor by which a picture is folded before the fourfold network.

    Raises:
        ConfigError: for a scale other than 2 and 4.
    """
    if scale not in (2, 4):
        raise ConfigError(f"scale {scale} cannot be built", fix="use 2 or 4")
    return 4 // scale


def fold(picture: Tensor, factor: int) -> Tensor:
    """Move factor x factor pixels into channels."""
    return F.pixel_unshuffle(picture, factor) if factor > 1 else picture


def fill(picture: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until both sides are a multiple of `multiple`."""
    bottom, right = -picture.shape[-2] % multiple, -picture.shape[-1] % multiple
    return F.pad(picture, (0, right, 0, bottom), mode="replicate") if bottom or right else picture


def crop(output: Tensor, lr: Tensor, scale: int) -> Tensor:
    """Cut an output to `scale` times the size of `lr`."""
    return output[..., : lr.shape[-2] * scale, : lr.shape[-1] * scale]


def positive(**sizes: int) -> None:
    """Check that sizes of a network are at least 1.

    Raises:
        ConfigError: naming the first that is not.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ConfigError(f"{name} is {size}", where=name, fix="use 1 or more")
