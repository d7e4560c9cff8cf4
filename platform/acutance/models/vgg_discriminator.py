"""The VGG-style discriminator of SRGAN and ESRGAN, under the parameter names of BasicSR."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from acutance.errors import ConfigError
from acutance.models.rrdbnet import SLOPE, positive

SMALLEST_MAP = 4
HIDDEN = 100


class VGGDiscriminator(nn.Module):
    """Stages of a 3x3 convolution and a 4x4 one of stride 2, then two linear layers to logits.

    The map is halved until its side is 4 to 7: five stages for 128 (14,499,401 parameters), four for 64 and
    96.

    Args:
        in_channels: 3 for pictures, 1 for detail layers.
        channels: width of the first stage; it doubles a stage, up to eightfold.
        size: side of the pictures, in pixels.
        norm: batch normalisation after every convolution but the first.
        head: one logit for the whole map, or one for each of its positions (the same linear layers at each), which
            learns from far fewer pictures.
        stages: with `head: patch`, how often the map is halved; with fewer stages a logit depends on a smaller part of
            the picture. By default it follows from `size`.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        channels: int = 64,
        size: int = 128,
        norm: bool = True,
        head: Literal["flatten", "patch"] = "flatten",
        stages: int | None = None,
    ) -> None:
        super().__init__()
        positive(in_channels=in_channels, channels=channels)
        self.size, self.stages, self.head = size, _checked(stages, head, size), head
        width = in_channels
        for stage in range(self.stages):
            wider = channels * min(2**stage, 8)
            self._add(
                f"{stage}_0",
                nn.Conv2d(width, wider, 3, 1, 1, bias=not norm or stage == 0),
                norm and stage > 0,
            )
            self._add(f"{stage}_1", nn.Conv2d(wider, wider, 4, 2, 1, bias=not norm), norm)
            width = wider
        positions = 1 if head == "patch" else (size // 2**self.stages) ** 2
        self.linear1 = nn.Linear(width * positions, HIDDEN)
        self.linear2 = nn.Linear(HIDDEN, 1)

    def _add(self, name: str, layer: nn.Conv2d, norm: bool) -> None:
        self.add_module(f"conv{name}", layer)
        self.add_module(f"bn{name}", nn.BatchNorm2d(layer.out_channels) if norm else nn.Identity())

    def forward(self, picture: Tensor) -> Tensor:
        """Map pictures (B,in_channels,size,size) to logits (B,1), or (B,1,h,w) with `head: patch`.

        Raises:
            ConfigError: for pictures of another size.
        """
        require_size(picture, self.size)
        features = picture
        for name in (f"{stage}_{half}" for stage in range(self.stages) for half in range(2)):
            features = getattr(self, f"bn{name}")(getattr(self, f"conv{name}")(features))
            features = F.leaky_relu(features, SLOPE, inplace=True)
        return logits_of(features, self.linear1, self.linear2, self.head)


def logits_of(features: Tensor, linear1: nn.Linear, linear2: nn.Linear, head: str) -> Tensor:
    """Return logits (B,1) of the whole of a map (B,C,h,w), or (B,1,h,w), one for each position, with `head: patch`."""
    vectors = features.flatten(1) if head == "flatten" else features.flatten(2).transpose(1, 2)
    logits: Tensor = linear2(F.leaky_relu(linear1(vectors), SLOPE, inplace=True))
    return logits if head == "flatten" else logits.transpose(1, 2).unflatten(2, features.shape[2:])


def require_size(picture: Tensor, size: int) -> None:
    """Raise ConfigError for pictures (B,C,H,W) of another size than a discriminator was built for."""
    height, width = picture.shape[-2:]
    if (height, width) != (size, size):
        raise ConfigError(
            f"the discriminator was built for {size}x{size} and was given {height}x{width}",
            where="discriminators",
            fix=f"set its size to the HR patch size, {height}",
        )


def _checked(stages: int | None, head: str, size: int) -> int:
    """Return the number of stages; with the flat head it follows from `size`."""
    natural = stages_for(size)
    if stages is None:
        return natural
    if head != "patch" or not 1 <= stages <= natural:
        raise ConfigError(
            f"a discriminator for {size} pixels with `head: {head}` cannot have {stages} stages",
            where="stages",
            fix=f"with `head: patch` choose 1 to {natural}; otherwise leave it out",
        )
    return stages


def stages_for(size: int) -> int:
    """Return how often `size` must be halved to reach 4..7.

    Raises:
        ConfigError: when it cannot be.
    """
    stages, side = 0, size
    while side % 2 == 0 and side // 2 >= SMALLEST_MAP:
        stages, side = stages + 1, side // 2
    if stages == 0 or side >= 2 * SMALLEST_MAP:
        raise ConfigError(
            f"a discriminator cannot be built for {size} pixels: halving does not lead to a map of 4 to 7",
            where="size",
            fix="use a multiple of a power of two, such as 48, 64, 96, 128 or 192",
        )
    return stages
