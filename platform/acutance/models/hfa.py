"""HFA, a network of three scales that knows where the edges are.

After Roh and Kang, "High-Frequency aware Perceptual Image Enhancement", section 3. The paper gives the scales, the
blocks of each (4, 16 and 64, which cost as much), strided convolutions on the way down and pixel shuffle on the way up.
The rest is that of the networks it follows: RCAN's residual channel attention blocks, a picture of each scale to learn
from as in DRN, and at each scale the input added to the output.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from acutance.errors import ConfigError
from acutance.imaging.resize import imresize
from acutance.models.edge_filtering import Bank, EdgeFiltering
from acutance.models.feature_attention import REDUCTION, FeatureAttention, Gate, PlainSum
from acutance.models.rrdbnet import convolution, crop, positive, start_at

NAMES = ("image", "half", "quarter")
"""The outputs, from the largest scale to the smallest."""


class HFA(nn.Module):
    """The network; 6,843,841 parameters at the defaults, 6,747,949 without edges.

    Args:
        channels: width.
        blocks: residual channel attention blocks of the largest, the middle and the smallest scale.
        edges: whether each scale sees its edges (without: w/o Edge).
        attention: whether features are weighed before they are added (without: w/o FeaAtt).
        gate: how they are weighed, see `FeatureAttention`.
        bank: the filters that the edges start from, see `EdgeFiltering`.
        freeze_filters: they stay as they are.
        scale: 1 restores a picture in its own size, 4 enlarges it.
        mode: at x4, "up_first" enlarges by bicubic and then restores; "native" works at the size of the input, its
            half and its quarter, and enlarges what the largest of them found (295,424 parameters more).
    """

    inputs: ClassVar[tuple[str, ...]] = ("lr",)
    outputs: ClassVar[tuple[str, ...]] = ("image",)

    def __init__(
        self,
        *,
        channels: int = 64,
        blocks: tuple[int, int, int] = (4, 16, 64),
        edges: bool = True,
        attention: bool = True,
        gate: Gate = "softmax",
        bank: Bank = "edges",
        freeze_filters: bool = False,
        scale: Literal[1, 4] = 1,
        mode: Literal["up_first", "native"] = "up_first",
    ) -> None:
        super().__init__()
        positive(channels=channels)
        if len(blocks) != len(NAMES) or min(blocks) < 1:
            raise ConfigError(f"blocks are {list(blocks)}", where="blocks", fix="give three numbers of 1 or more")
        self.scale, self.enlarges_last = scale, scale > 1 and mode == "native"

        def fusion(features: int) -> nn.Module:
            return FeatureAttention(features, channels, gate=gate) if attention else PlainSum()

        self.heads = nn.ModuleList(convolution(3, channels) for _ in NAMES)
        self.downs = nn.ModuleList(nn.Conv2d(channels, channels, 3, stride=2, padding=1) for _ in NAMES[1:])
        self.low_fusions = nn.ModuleList(fusion(2) for _ in NAMES[1:])
        self.bodies = nn.ModuleList(_body(channels, count) for count in blocks)
        self.edges = nn.ModuleList(
            EdgeFiltering(channels, bank=bank, freeze=freeze_filters) for _ in (NAMES if edges else ())
        )
        self.ups = nn.ModuleList(_doubling(channels) for _ in NAMES[1:])
        self.fusions = nn.ModuleList(fusion(count + edges) for count in (3, 3, 2))
        if self.enlarges_last:
            self.enlargement = nn.Sequential(_doubling(channels), _doubling(channels))
        self.tails = nn.ModuleList(convolution(channels, 3) for _ in NAMES)
        for tail in self.tails:
            start_at(tail, 0.0)  # type: ignore[arg-type]

    def forward(self, lr: Tensor) -> dict[str, Tensor]:
        """Restore pictures (B,3,h,w) in 0..1, of any size from 4x4.

        Returns:
            "image" (B,3,H,W), not clipped; in training also "half" and "quarter", which are those of the input's size
            (in `native` mode) or of the restored picture's, each rounded up.
        """
        given = lr if self.scale == 1 or self.enlarges_last else imresize(lr, self.scale)
        pictures = scales_of(_reflected(given))
        features = self.restored(pictures)
        if self.enlarges_last:
            features[0], pictures[0] = self.enlargement(features[0]), imresize(pictures[0], self.scale)
        images = [tail(each) + picture for tail, each, picture in zip(self.tails, features, pictures, strict=True)]
        outputs = {"image": crop(images[0], lr, self.scale)}
        if self.training:
            outputs |= {name: _part(images[at], given, 2**at) for at, name in enumerate(NAMES) if at}
        return outputs

    def restored(self, pictures: list[Tensor]) -> list[Tensor]:
        """Return the fused features (B,channels,H,W) of each scale, largest first."""
        low = [head(picture) for head, picture in zip(self.heads, pictures, strict=True)]
        for finer, (down, fusion) in enumerate(zip(self.downs, self.low_fusions, strict=True)):
            low[finer + 1] = fusion(low[finer + 1], down(low[finer]))
        found: list[Tensor] = []
        for scale in reversed(range(len(NAMES))):
            parts = [low[scale], self.bodies[scale](low[scale])]
            parts += [self.ups[scale](found[0])] if found else []
            parts += [self.edges[scale](pictures[scale])] if self.edges else []
            found.insert(0, self.fusions[scale](*parts))
        return found


class ChannelAttentionBlock(nn.Module):
    """RCAN's residual channel attention block; 74,436 parameters at a width of 64."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(1, channels // REDUCTION)
        self.conv1 = convolution(channels, channels)
        self.conv2 = convolution(channels, channels)
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        found = self.conv2(F.relu(self.conv1(features), inplace=True))
        means = found.mean((-2, -1), keepdim=True)
        return features + found * self.excite(F.relu(self.squeeze(means), inplace=True)).sigmoid()


def scales_of(picture: Tensor) -> list[Tensor]:
    """Return a picture (B,3,H,W), its half and its quarter, by antialiased bicubic reduction."""
    return [picture, imresize(picture, 1 / 2), imresize(picture, 1 / 4)]


def _body(channels: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(ChannelAttentionBlock(channels) for _ in range(blocks)), convolution(channels, channels))


def _doubling(channels: int) -> nn.Sequential:
    return nn.Sequential(convolution(channels, 4 * channels), nn.PixelShuffle(2))


def _reflected(picture: Tensor) -> Tensor:
    """Reflect the lower and the right border until both sides are multiples of 4."""
    bottom, right = -picture.shape[-2] % 4, -picture.shape[-1] % 4
    return F.pad(picture, (0, right, 0, bottom), mode="reflect") if bottom or right else picture


def _part(image: Tensor, given: Tensor, divisor: int) -> Tensor:
    """Cut a smaller output to its part of the picture that was given, rounded up."""
    rows, columns = (-(-side // divisor) for side in given.shape[-2:])
    return image[..., :rows, :columns]
