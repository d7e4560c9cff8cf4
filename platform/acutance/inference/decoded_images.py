"""Pictures through a network, in their own depth, grey where they were grey, transparent where they were.

Transparency is enlarged by MATLAB's bicubic beside the picture, not by the network: it is a mask and no photograph. A
network trained on photographs would invent texture in it, holes in what is opaque; bicubic keeps opaque opaque.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from acutance.data.decode import DecodedImage
from acutance.errors import ModelError
from acutance.imaging.colour import rgb_to_y
from acutance.imaging.resize import imresize
from acutance.inference.restore import restore_bands

MARGIN = 4
"""Rows beyond a band that make its enlargement that of the whole: bicubic reads two, and mirrors at a border."""


def restore_decoded(
    network: nn.Module, description: Mapping[str, Any], pictures: Sequence[DecodedImage]
) -> Iterator[list[np.ndarray]]:
    """Run a network on pictures of one size and yield finished rows from top to bottom.

    Yields:
        For each picture (rows, W, channels) in its own dtype: its own one or three channels, and its alpha last
        where it has one.

    Raises:
        ModelError: when the model makes no pictures, cannot be fed, or returns values that are not finite.
    """
    scale: int = network.scale  # type: ignore[assignment]
    top = 0
    for outputs in restore_bands(network, description, torch.stack([_seen(picture) for picture in pictures])):
        if "image" not in outputs:
            raise ModelError(f"this model makes no picture but {', '.join(outputs)}", fix="choose another model")
        bottom = top + outputs["image"].shape[-2] // scale
        yield [
            _finished(image, picture, top, bottom, scale)
            for image, picture in zip(outputs["image"], pictures, strict=True)
        ]
        top = bottom


def _seen(picture: DecodedImage) -> Tensor:
    """Return float32 (3,h,w) in 0..255; under full transparency, the nearest visible colour.

    What lies there is arbitrary, often black, and would bleed into the edge of what is visible.
    """
    pixels = picture.pixels
    if picture.alpha is not None and 0 < np.count_nonzero(picture.alpha) < picture.alpha.size:
        from scipy.ndimage import distance_transform_edt

        rows, columns = distance_transform_edt(picture.alpha == 0, return_distances=False, return_indices=True)
        pixels = pixels[rows, columns]
    values = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)
    return (values / (_levels(picture) / 255)).expand(3, -1, -1)


def _finished(image: Tensor, picture: DecodedImage, top: int, bottom: int, scale: int) -> np.ndarray:
    """Return the output rows of the picture's rows `top` to `bottom`, from the network's (3,rows,W) in 0..1."""
    levels = _levels(picture)
    colour = rgb_to_y(image, studio=False) if picture.pixels.shape[2] == 1 else image
    channels = [colour * levels]
    if picture.alpha is not None:
        channels.append(_alpha_rows(picture.alpha, top, bottom, scale))
    rounded = (torch.cat(channels) + 0.5).floor().clamp(0, levels).permute(1, 2, 0)
    return rounded.contiguous().numpy().astype(picture.pixels.dtype)


def _alpha_rows(alpha: np.ndarray, top: int, bottom: int, scale: int) -> Tensor:
    above = min(top, MARGIN)
    part = torch.from_numpy(alpha[top - above : bottom + MARGIN].astype(np.float32))[None]
    enlarged = imresize(part, scale) if scale > 1 else part
    return enlarged[:, above * scale : (above + bottom - top) * scale]


def _levels(picture: DecodedImage) -> int:
    return int(np.iinfo(picture.pixels.dtype).max)
