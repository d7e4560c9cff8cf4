"""Makes the columns of a whole picture and cuts them into sub-images afterwards, so nothing has a seam."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from acutance.config.data import DataSettings, SubImages
from acutance.config.size import sides
from acutance.data.columns import lr_columns
from acutance.imaging.derivations import decoded_values, stored_values

Corner = tuple[int, int]


def starts(length: int, size: int, stride: int) -> list[int]:
    """Return where the sub-images along one side begin: 0, stride, ... and a last one flush with the border.

    The rule of BasicSR's `extract_subimages` with threshold 0, by which DIV2K becomes 32,592 sub-images.
    """
    if length < size:
        return []
    regular = list(range(0, length - size + 1, stride))
    return regular if regular[-1] + size == length else [*regular, length - size]


def corners(height: int, width: int, cuts: SubImages, multiple: int = 1) -> list[Corner]:
    """Return the (top, left) of all sub-images of a picture, row by row; multiples of what the strides are."""
    (high, wide), stride = sides(cuts.size), cuts.stride
    if stride == "centre":
        top, left = ((whole - part) // 2 // multiple * multiple for whole, part in ((height, high), (width, wide)))
        return [(top, left)] if min(top, left) >= 0 else []
    assert isinstance(stride, int)  # pictures that are cut anywhere stay whole
    return [(top, left) for top in starts(height, high, stride) for left in starts(width, wide, stride)]


def crop_to_multiple(hr: np.ndarray, divisors: Iterable[int]) -> np.ndarray:
    """Drop the last rows and columns so that both sides of (H, W, channels) are multiples of all divisors."""
    height, width = hr.shape[:2]
    multiple = math.lcm(*divisors)
    return hr[: height - height % multiple, : width - width % multiple]


def layers(
    hr: np.ndarray,
    settings: DataSettings,
    scale: int,
    stored: Mapping[int, np.ndarray] | None = None,
    device: str = "cpu",
) -> dict[str, np.ndarray]:
    """Return the columns of a whole picture.

    Args:
        hr: uint8 (H, W, 3), H and W multiples of all scales.
        stored: the data set's own LR by scale, uint8 (H / scale, W / scale, 3), for the degradation `paired`.
        device: torch device on which derived columns are computed.

    Returns:
        `hr` and, as the settings say, `lr` uint8 (H / scale, W / scale, 3) and such of further scales, and the derived
        columns that are stored: float16 (H / divisor, W / divisor, C), or values of the whole picture (n,).
    """
    pictures = {"hr": _tensor(hr)}
    if settings.degradation:
        degrade = settings.degradation.part
        for name, divisor in lr_columns(settings, scale).items():
            given = _tensor(stored[divisor]) if stored else pictures["hr"]
            pictures[name] = degrade(given, seed=0, scale=divisor, **settings.degradation.arguments())
    made = {name: picture.permute(1, 2, 0).numpy() for name, picture in pictures.items()}
    columns = {name: picture[None].to(device).float() / 255 for name, picture in pictures.items() if settings.stored}
    for name, derived in settings.stored.items():
        values = stored_values(derived, [columns[source] for source in derived.sources])
        columns[name] = decoded_values(derived, values)
        pixels = values.ndim == 4
        made[name] = values[0].to("cpu", torch.float16).permute(1, 2, 0).numpy() if pixels else values[0].cpu().numpy()
    return made


def _tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


def cut(layer: np.ndarray, at: Sequence[Corner], size: int | tuple[int, int], divisor: int) -> np.ndarray:
    """Return the sub-images of one layer, (N, height / divisor, width / divisor, channels).

    Args:
        layer: (H / divisor, W / divisor, channels).
        at: (top, left) on the HR grid, multiples of `divisor`.
        size: side, or height and width, of a sub-image on the HR grid.
    """
    high, wide = (side // divisor for side in sides(size))
    return np.stack([layer[t // divisor :, left // divisor :][:high, :wide] for t, left in at])
