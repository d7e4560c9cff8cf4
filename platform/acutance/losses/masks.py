"""Masks of losses: a masked loss compares mask * prediction with mask * target.

`GMS` selects areas where the prediction's edges are poor (HFA, section 3.4), `ColumnMask` is any column, such as the
weight map of Zhou et al. No gradient goes through a mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from torch import Tensor

from acutance.config.length import IN_STEPS
from acutance.errors import ConfigError
from acutance.imaging.gms import hard_mask, soft_mask

Divisor = Literal["none", "batch", "image"]
"""What the sum over a batch is divided by: all its values, or those that the mask counts, in all or picture by picture.

"batch" is what a worker computes at once: its share of the batch, or one of `accumulate` parts of it.
"""


class GMS:
    """HFA's mask of poorly restored areas, computed in each step.

    Args:
        form: "hard" is 0 or 1; "soft" fades out at the areas' borders.
        threshold: of the gradient magnitude dissimilarity, above which a pixel is poor.
        sigma: of the Gaussian that softens, in pixels.
        repeats: how often it is softened.
        c: of the dissimilarity, for pictures in 0..255.
        ramp: steps until the mask has its full effect: 1 - (1 - floor) * (1 - M) * step / ramp; 0 for full effect at
            once.
        floor: the mask's value where nothing is poor; 0 in the paper, where a shift of all colours costs nothing.
        divisor: the paper's loss is a mean over all pixels.
    """

    def __init__(
        self,
        *,
        form: Literal["soft", "hard"] = "soft",
        threshold: float = 0.05,
        sigma: float = 1.0,
        repeats: int = 2,
        c: float = 170.0,
        ramp: Annotated[int, IN_STEPS] = 0,
        floor: float = 0.0,
        divisor: Literal["none", "batch"] = "none",
    ) -> None:
        for name, value, least in (("threshold", threshold, 0), ("repeats", repeats, 0), ("ramp", ramp, 0)):
            if value < least:
                raise ConfigError(f"{name} is {value}", where=f"mask.{name}", fix="use 0 or more")
        for name, value in (("sigma", sigma), ("c", c)):
            if not value > 0:
                raise ConfigError(f"{name} is {value}", where=f"mask.{name}", fix="it must be above 0")
        if not 0 <= floor <= 1:
            raise ConfigError(f"floor is {floor}", where="mask.floor", fix="use 0 to 1")
        self.form, self.threshold, self.sigma, self.repeats, self.c = form, threshold, sigma, repeats, c
        self.ramp, self.floor, self.divisor = ramp, floor, divisor

    @torch.no_grad()
    def __call__(self, prediction: Tensor, target: Tensor, batch: Mapping[str, Tensor], step: int) -> Tensor:
        """Return the mask (B,1,H,W) in floor..1 of two (B,3,H,W) in 0..1, at a step counted from 0.

        Raises:
            ConfigError: when they are no pictures of one size.
        """
        if prediction.shape != target.shape or prediction.ndim != 4 or prediction.shape[1] != 3:
            shapes = f"{tuple(prediction.shape)} and {tuple(target.shape)}"
            raise ConfigError(f"a gms mask compares two pictures, not {shapes}", fix="leave the mask out")
        seen = (255 * prediction.float(), 255 * target.float())
        if self.form == "hard":
            mask = hard_mask(*seen, threshold=self.threshold, c=self.c)
        else:
            mask = soft_mask(*seen, threshold=self.threshold, repeats=self.repeats, sigma=self.sigma, c=self.c)
        effect = min(1.0, step / self.ramp) if self.ramp else 1.0
        return 1 - (1 - self.floor) * effect * (1 - mask)


class ColumnMask:
    """A column of the batch as the mask, such as the high-frequency weight map of Zhou et al. (eqs. 3 and 7).

    Args:
        column: its name; of the shape of what is compared, or with one channel.
        divisor: "batch" as in the authors' code, "image" as in the paper (eq. 3, then the mean over pictures).
    """

    def __init__(self, *, column: str, divisor: Divisor = "batch") -> None:
        self.column, self.divisor = column, divisor

    @staticmethod
    def columns_read(column: str, **_: object) -> tuple[str, ...]:
        """Return the columns that a mask with these settings reads."""
        return (column,)

    def __call__(self, prediction: Tensor, target: Tensor, batch: Mapping[str, Tensor], step: int) -> Tensor:
        """Return the column.

        Raises:
            ConfigError: when the batch has none of this name.
        """
        if self.column not in batch:
            raise ConfigError(
                f"the mask reads the column {self.column!r}, which the batch does not have", where="mask.column"
            )
        return batch[self.column]
