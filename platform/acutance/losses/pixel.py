"""Pixel-wise terms."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from acutance.errors import ConfigError

Criterion = Literal["l1", "l2"]
CRITERIA = {"l1": F.l1_loss, "l2": F.mse_loss}


class Pixel(nn.Module):
    """Mean absolute ("l1") or mean squared ("l2") difference.

    Args:
        criterion: which of the two.
        border: pixels left out on each side, for targets that mean nothing at the border.
    """

    reads: ClassVar[Literal["outputs", "logits"]] = "outputs"

    def __init__(self, *, criterion: Criterion = "l1", border: int = 0) -> None:
        super().__init__()
        if border < 0:
            raise ConfigError(f"border is {border}", where="border", fix="use 0 or more")
        self.criterion, self.border = criterion, border

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss of two (B,C,H,W), computed in float32.

        Raises:
            ConfigError: when the shapes differ or the border leaves nothing.
        """
        require_same_shape(prediction, target)
        if 2 * self.border >= min(prediction.shape[-2:]):
            raise ConfigError(
                f"a border of {self.border} leaves nothing of {tuple(prediction.shape[-2:])}", where="border"
            )
        prediction, target = inside(prediction, self.border), inside(target, self.border)
        return CRITERIA[self.criterion](prediction.float(), target.float())


def inside(picture: Tensor, border: int) -> Tensor:
    """Drop `border` pixels on each side."""
    height, width = picture.shape[-2:]
    return picture[..., border : height - border, border : width - border]


def require_same_shape(prediction: Tensor, target: Tensor) -> None:
    """Raise ConfigError unless the shapes are equal: broadcasting would hide a wrong target."""
    if prediction.shape != target.shape:
        raise ConfigError(
            f"an output of shape {tuple(prediction.shape)} meets a target of shape {tuple(target.shape)}",
            fix="check the scale of the network and of the data",
        )
