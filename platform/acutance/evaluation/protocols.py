"""Protocols: what is done to a picture before PSNR, SSIM and NIQE look at it. Never mix numbers of two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from acutance.imaging.colour import rgb_to_y


@dataclass(frozen=True)
class Protocol:
    """How a picture becomes the plane that is measured.

    Attributes:
        description: two lines for the user.
        rounded: Y is rounded to whole grey levels, as MATLAB's rgb2ycbcr returns it for uint8.
        crop: pixels cut from each side, in multiples of the scale.
    """

    description: str
    rounded: bool
    crop: int

    def plane(self, picture: np.ndarray, scale: int) -> np.ndarray:
        """Return Y of BT.601 studio range (16..235), float64 (h, w), for uint8 (H, W, 3) RGB.

        A picture that the crop would eat up whole gives an empty plane.
        """
        y = rgb_to_y(torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float64)), studio=True)[0].numpy()
        y = np.floor(y + 0.5) if self.rounded else y
        border, (height, width) = self.crop * scale, y.shape
        return y[border : max(height - border, border), border : max(width - border, border)]


PROTOCOLS: dict[str, Protocol] = {
    "y_crop4": Protocol(
        "Y of BT.601 studio range, rounded to whole grey levels; a border of `scale` pixels (4 at x4) is\n"
        "cut before PSNR, SSIM and NIQE. LPIPS sees the whole RGB picture. As the tables of 4PP-EUSR.",
        rounded=True,
        crop=1,
    ),
}
