"""HFA's multi-scale edge filtering: convolutions that start as edge filters, at three sizes (section 3.1).

The paper names neither filters nor scales. Here they are first and second derivatives at dilation 1, 2 and 3, or the
Hessian's larger eigenvalue as in DeFiAN (Huang et al., IEEE TIP 30, 2021), which HFA builds on.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from acutance.imaging.edges import edge_filters, hessian_filters
from acutance.models.rrdbnet import convolution

DILATIONS = (1, 2, 3)
SMALL = 1e-12
"""Under a root that has no derivative at 0; so small a number does not show in float32."""

Bank = Literal["edges", "hessian"]


class EdgeFiltering(nn.Module):
    """Filters each colour channel by a bank at three dilations, then mixes; 31,708 parameters at the defaults.

    Args:
        channels: of the result.
        bank: "edges" are six filters; "hessian" three, of which the larger eigenvalue counts.
        freeze: the filters stay as they are; what mixes them learns.
    """

    def __init__(self, channels: int = 64, *, bank: Bank = "edges", freeze: bool = False) -> None:
        super().__init__()
        self.bank = bank
        filters = edge_filters() if bank == "edges" else hessian_filters()
        self.filters = nn.ModuleList(_filtering(filters, dilation) for dilation in DILATIONS)
        self.filters.requires_grad_(not freeze)
        maps = 3 * len(filters) if bank == "edges" else 3
        self.mix = convolution(maps * len(DILATIONS), channels)

    def forward(self, picture: Tensor) -> Tensor:
        """Map pictures (B,3,H,W) in 0..1, of any size, to (B,channels,H,W)."""
        # Differences of neighbours would be lost in the eight bits of a bfloat16.
        with torch.autocast(picture.device.type, enabled=False):
            found = [layer(picture.float()) for layer in self.filters]
        return self.mix(torch.cat(found if self.bank == "edges" else [larger_eigenvalue(each) for each in found], 1))


def larger_eigenvalue(derivatives: Tensor) -> Tensor:
    """Return (fxx + fyy + sqrt((fxx - fyy)^2 + 4 fxy^2)) / 2.

    Args:
        derivatives: (B,3C,H,W), for each channel fxx, fyy and fxy.

    Returns:
        (B,C,H,W).
    """
    xx, yy, xy = derivatives.unflatten(1, (-1, 3)).unbind(2)
    return (xx + yy + ((xx - yy).square() + 4 * xy.square() + SMALL).sqrt()) / 2


def _filtering(filters: Tensor, dilation: int) -> nn.Conv2d:
    """Return a convolution that applies all filters to each of three channels; borders are repeated.

    Zeros beyond the border would be an edge themselves, and small pictures have not enough pixels to reflect.
    """
    layer = nn.Conv2d(3, 3 * len(filters), 3, padding=dilation, dilation=dilation, groups=3, padding_mode="replicate")
    layer.weight.data.copy_(filters.repeat(3, 1, 1, 1))
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
