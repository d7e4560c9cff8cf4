"""DSRGAN (eq. 11): RRDBNet, a detail branch fed by its features, and their fusion under attention.

The SISR branch gives a base picture B, the detail branch the detail layer D at HR size, the attention A in 0..1.
D is the factor 2^x, which is multiplied, or for the extractors of Table III a difference, which is added. Detail
losses see D as it leaves its branch, before attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from acutance.errors import ConfigError
from acutance.models.rrdbnet import RRDB, SLOPE, RRDBNet, convolution, crop, enlarge, fill, fold, leaky, positive

Fusion = Literal["gated", "product", "none", "add"]
Norm = Literal["bn", "in", "none"]
OPEN = 4.0


class DSRGAN(nn.Module):
    """The generator of DSRGAN; 23,228,677 parameters at the defaults.

    Args:
        blocks, channels, growth, scale, skip: the SISR branch, see `RRDBNet`; `main` holds it, keys and all.
        detail_blocks: stages of the detail branch.
        detail_channels: width where the branch and a tapped feature are joined; None for twice `channels`.
        detail_taps: after which RRDBs of the SISR branch features are tapped, one a stage, the first is 1;
            None spreads them evenly ([5, 10, 15, 20] for 4 of 23).
        detail_concat: whether the tapped feature joins before a stage's RRDB (then 128 wide) or after (64).
        detail_planes: channels of the detail layer: 1 of a factor (`lgs`), 3 of a difference (`gif`, `wls`).
        fusion: "gated" is B * (1 + A * (D - 1)), where A = 0 leaves B alone; "product" is the paper's literal
            B * (A * D); "none" is B * D without attention (ablations 2 and 3). For differences "add" is
            B + A * D, and "none" is B + D.
        attention_norm: batch normalisation does not depend on the picture's size at test time; "in" does.
    """

    inputs: ClassVar[tuple[str, ...]] = ("lr", "lr_detail")
    outputs: ClassVar[tuple[str, ...]] = ("image", "detail")

    def __init__(
        self,
        *,
        blocks: int = 23,
        channels: int = 64,
        growth: int = 32,
        scale: Literal[2, 4] = 4,
        skip: Literal["none", "bicubic"] = "none",
        detail_blocks: int = 4,
        detail_channels: int | None = None,
        detail_taps: list[int] | None = None,
        detail_concat: Literal["before", "after"] = "before",
        detail_planes: Literal[1, 3] = 1,
        fusion: Fusion = "gated",
        attention_norm: Norm = "bn",
    ) -> None:
        super().__init__()
        positive(detail_blocks=detail_blocks)
        self.main = RRDBNet(blocks=blocks, channels=channels, growth=growth, scale=scale, skip=skip)
        self.scale, self.fusion, self.detail_planes = scale, _checked(fusion, detail_planes), detail_planes
        self.taps = _taps(detail_taps, detail_blocks, blocks)
        width = _detail_width(detail_channels, channels)
        self.detail = DetailBranch(
            detail_blocks,
            width,
            planes=detail_planes,
            tapped=channels,
            growth=growth,
            concat=detail_concat,
            folded=self.main.fold,
        )
        if fusion != "none":
            self.attention = attention(channels + width, channels, attention_norm)
        if fusion == "product":
            # The literal product can only weaken detail; it starts with the attention wide open.
            nn.init.constant_(self.attention[-2].bias, OPEN)  # type: ignore[arg-type]

    def forward(self, lr: Tensor, lr_detail: Tensor) -> dict[str, Tensor]:
        """Restore a picture and its detail layer.

        Args:
            lr: (B,3,h,w) in 0..1.
            lr_detail: of the LR picture, 2^x (B,1,h,w), or a difference (B,3,h,w) in units of `lr`.

        Returns:
            "image" (B,3,H,W), not clipped, and "detail" (B,1,H,W), about 1 on flat regions, or (B,3,H,W), about 0.
        """
        trunk, taps = self.main.trunk(fill(lr, self.main.fold), self.taps)
        features = self.main.enlarge(trunk)
        detail_features = self.detail(fill(lr_detail, self.main.fold), taps)
        base = self.main.picture(features, lr)
        detail = crop(self.detail.picture(detail_features), lr, self.scale)
        if self.fusion == "none":
            return {"image": base * detail if self.detail_planes == 1 else base + detail, "detail": detail}
        weight = crop(self.attention(torch.cat([features, detail_features], 1)), lr, self.scale)
        return {"image": _fused(self.fusion, base, weight, detail), "detail": detail}


def _fused(fusion: Fusion, base: Tensor, weight: Tensor, detail: Tensor) -> Tensor:
    if fusion == "add":
        return base + weight * detail
    return base * (1 + weight * (detail - 1) if fusion == "gated" else weight * detail)


class DetailBranch(nn.Module):
    """Stages of RRDB and reduction at LR size, each joined by a tapped feature; then enlargement."""

    def __init__(
        self, stages: int, channels: int, *, planes: int, tapped: int, growth: int, concat: str, folded: int
    ) -> None:
        super().__init__()
        self.folded = folded
        self.conv_first = convolution(planes * folded**2, channels)
        self.body = nn.ModuleList(DetailStage(channels, tapped, growth, concat) for _ in range(stages))
        self.conv_body = convolution(channels, channels)
        self.conv_up1 = convolution(channels, channels)
        self.conv_up2 = convolution(channels, channels)
        self.conv_hr = convolution(channels, channels)
        self.conv_last = convolution(channels, planes)
        # Whatever it reads, the layer starts as one that changes nothing: the picture is that of a pretrained SISR
        # branch. The layers before it learn from the second step on.
        nn.init.zeros_(self.conv_last.weight)
        nn.init.constant_(self.conv_last.bias, 1.0 if planes == 1 else 0.0)  # type: ignore[arg-type]

    def forward(self, lr_detail: Tensor, taps: Sequence[Tensor]) -> Tensor:
        """Return enlarged detail features (B,channels,H,W)."""
        first = self.conv_first(fold(lr_detail, self.folded))
        features = first
        for stage, tap in zip(self.body, taps, strict=True):
            features = stage(features, tap)
        return enlarge(first + self.conv_body(features), self.conv_up1, self.conv_up2)

    def picture(self, features: Tensor) -> Tensor:
        """Map enlarged detail features to the detail layer; linear, at the start a factor of 1 or a difference of 0."""
        return self.conv_last(leaky(self.conv_hr(features)))


class DetailStage(nn.Module):
    """One RRDB that a tapped feature joins before or after, then a convolution back to the branch's width."""

    def __init__(self, channels: int, tapped: int, growth: int, concat: str) -> None:
        super().__init__()
        self.before = concat == "before"
        self.rrdb = RRDB(channels + tapped if self.before else channels, growth)
        self.reduce = convolution(channels + tapped, channels)

    def forward(self, features: Tensor, tap: Tensor) -> Tensor:
        if self.before:
            return self.reduce(self.rrdb(torch.cat([features, tap], 1)))
        return self.reduce(torch.cat([self.rrdb(features), tap], 1))


def attention(inputs: int, channels: int, norm: Norm) -> nn.Sequential:
    """Return the attention module: (B,inputs,H,W) to (B,1,H,W) in 0..1."""
    layers: list[nn.Module] = []
    for width in (inputs, channels):
        layers += [convolution(width, channels), *_norm(norm, channels), nn.LeakyReLU(SLOPE, inplace=True)]
    return nn.Sequential(*layers, convolution(channels, 1), nn.Sigmoid())


def _norm(norm: Norm, channels: int) -> list[nn.Module]:
    kinds = {"bn": nn.BatchNorm2d(channels), "in": nn.InstanceNorm2d(channels, affine=True)}
    return [kinds[norm]] if norm in kinds else []


def _taps(taps: Sequence[int] | None, stages: int, blocks: int) -> tuple[int, ...]:
    """Return the RRDB each stage taps; with fewer RRDBs than stages the last one is tapped again."""
    if taps is None:
        return tuple(min(blocks, max(1, blocks // stages) * (stage + 1)) for stage in range(stages))
    if len(taps) != stages or not all(1 <= tap <= blocks for tap in taps):
        raise ConfigError(
            f"detail_taps {list(taps)} do not fit {stages} detail blocks and {blocks} blocks",
            where="detail_taps",
            fix=f"give {stages} numbers from 1 to {blocks}",
        )
    return tuple(taps)


def _checked(fusion: Fusion, planes: int) -> Fusion:
    """A factor is multiplied, a difference added."""
    if fusion != "none" and (fusion == "add") != (planes == 3):
        raise ConfigError(
            f"fusion {fusion} does not go with a detail layer of {planes} channel{'s' if planes > 1 else ''}",
            where="fusion",
            fix="with detail_planes 1 use gated, product or none; with 3 use add or none",
        )
    return fusion


def _detail_width(joined: int | None, channels: int) -> int:
    width = channels if joined is None else joined - channels
    if width < 1:
        raise ConfigError(
            f"detail_channels {joined} leave the detail branch nothing beside {channels} tapped channels",
            where="detail_channels",
            fix=f"use more than {channels}, or leave it out",
        )
    return width
