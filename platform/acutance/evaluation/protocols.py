"""Protocols: how a picture is prepared before it is measured, and which LR it is restored from. Never mix two."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from acutance.imaging.colour import rgb_to_y


@dataclass(frozen=True)
class Protocol:
    """Which pictures are compared, and how a picture becomes the plane or colours that are measured.

    Attributes:
        description: two lines for the user.
        metrics: what its tables show, and what is measured where nothing else is asked for.
        rounded: Y is rounded to whole grey levels, as MATLAB's rgb2ycbcr returns it for uint8.
        eight_bits: restored pictures are measured as files hold them, clipped and rounded to 8 bits; else between
            black and white as they are.
        crop: pixels cut from each side, in multiples of the scale.
        margin: pixels cut from each side beyond that, whatever the scale.
        multiple: the truth's sides are cut to a multiple of it, and of the scale.
        multiples: data set -> the multiple in its place.
        stored_lr: the LR is the data set's own file where there is one; otherwise it is always reduced from
            the cut truth, in floating point by today's imresize, and rounded once.
        float_bicubic: bicubic enlarges that reduction before it is rounded. Models get the rounded one.
    """

    description: str
    metrics: tuple[str, ...]
    rounded: bool
    crop: int
    eight_bits: bool = True
    margin: int = 0
    multiple: int = 1
    multiples: Mapping[str, int] = field(default_factory=dict)
    stored_lr: bool = True
    float_bicubic: bool = False

    def modulus(self, dataset: str, scale: int) -> int:
        """Return the number whose multiples the sides of a data set's truth are, at this scale."""
        return math.lcm(scale, self.multiples.get(dataset, self.multiple))

    def plane(self, picture: np.ndarray, scale: int) -> np.ndarray:
        """Return Y of BT.601 studio range (16..235), float64 (h, w), for (H, W, 3) RGB of 0..255.

        A picture that the crop would eat up whole gives an empty plane.
        """
        y = rgb_to_y(torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float64)), studio=True)[0].numpy()
        return self.cropped(np.floor(y + 0.5) if self.rounded else y, scale)

    def cropped(self, picture: np.ndarray, scale: int) -> np.ndarray:
        """Return (H, W) or (H, W, C) without its border; empty where nothing is left."""
        border, (height, width) = self.crop * scale + self.margin, picture.shape[:2]
        return picture[border : max(height - border, border), border : max(width - border, border)]


Y_CROP4 = Protocol(
    "Y of BT.601 studio range, rounded to whole grey levels; a border of `scale` pixels (4 at x4) is\n"
    "cut before PSNR, SSIM and NIQE. LPIPS sees the whole RGB picture. As the tables of 4PP-EUSR.",
    metrics=("psnr_y", "ssim_y", "niqe", "lpips_squeeze", "high_frequency"),
    rounded=True,
    crop=1,
)

DSRGAN = Protocol(
    "Y and border as y_crop4; the truth cut to multiples of 12 (Set5, Set14) or the scale, the LR made of it;\n"
    "bicubic enlarges the unrounded LR. As DSRGAN's Table II: read psnr_y and ssim_y_wang, not ssim_y.",
    metrics=("psnr_y", "ssim_y_wang", "niqe", "lpips_squeeze"),
    rounded=True,
    crop=1,
    multiples={"Set5": 12, "Set14": 12},
    stored_lr=False,
    float_bicubic=True,
)

RGB_CROP4 = Protocol(
    "RGB: read psnr_rgb and ssim_rgb; a border of `scale` pixels (4 at x4) is cut; Y beside it as y_crop4's.\n"
    "The truth is cut to multiples of 12 and the LR made of it. As ESRGAN-DP's released settings.",
    metrics=("psnr_rgb", "ssim_rgb", "psnr_y", "ssim_y", "lpips_squeeze"),
    rounded=True,
    crop=1,
    multiple=12,
    stored_lr=False,
)

WDSR = Protocol(
    "RGB: read psnr_rgb and ssim_rgb; a border of `scale` + 6 pixels (8 at x2) is cut, from Y as well.\n"
    "The LR is the data set's own. As WDSR and the weight map's tables.",
    metrics=("psnr_rgb", "ssim_rgb", "compressed_size"),
    rounded=True,
    crop=1,
    margin=6,
)

HFA = Protocol(
    "Y and RGB of the whole picture, not rounded to 8 bits; LPIPS of AlexNet. The LR, or what is degraded, is the\n"
    "data set's own. As HFA's tables: psnr_y of denoising and deblurring, psnr_rgb and lpips_alex of x4.",
    metrics=("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb", "lpips_alex"),
    rounded=False,
    crop=0,
    eight_bits=False,
)
