"""HFA's feature attention module: a sum of feature maps that weighs them by what the picture is like (section 3.2)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

REDUCTION = 16

Gate = Literal["softmax", "sigmoid"]


class FeatureAttention(nn.Module):
    """Adds several feature maps, each channel of each weighted; starts as plain addition.

    The means of the maps are convolved along the feature axis, which is taken as a ring, so that every position sees
    every feature. 1,092 parameters for three maps of 64 channels.

    Args:
        features: how many maps.
        channels: of each.
        gate: "softmax" shares as many ones as there are maps among them, "sigmoid" gives each 0 to 2 for itself.
    """

    def __init__(self, features: int, channels: int = 64, *, gate: Gate = "softmax") -> None:
        super().__init__()
        self.gate = gate
        squeezed = max(1, channels // REDUCTION)
        self.compare = nn.Conv1d(channels, squeezed, features, padding="same", padding_mode="circular")
        self.weigh = nn.Conv1d(squeezed, channels, 1)
        nn.init.zeros_(self.weigh.weight)
        nn.init.zeros_(self.weigh.bias)  # type: ignore[arg-type]

    def forward(self, *maps: Tensor) -> Tensor:
        """Return the weighted sum of (B,channels,H,W) each."""
        means = torch.stack([each.mean((-2, -1)) for each in maps], -1)
        found = self.weigh(F.relu(self.compare(means)))
        weights = len(maps) * found.softmax(-1) if self.gate == "softmax" else 2 * found.sigmoid()
        return _sum([each * weight[..., None, None] for each, weight in zip(maps, weights.unbind(-1), strict=True)])


class PlainSum(nn.Module):
    """Adds feature maps as they are: what the module is compared with (w/o FeaAtt)."""

    def forward(self, *maps: Tensor) -> Tensor:
        """Return the sum of (B,channels,H,W) each."""
        return _sum(list(maps))


def _sum(maps: list[Tensor]) -> Tensor:
    """Without a copy of them all side by side."""
    total, *others = maps
    for each in others:
        total = total + each
    return total
