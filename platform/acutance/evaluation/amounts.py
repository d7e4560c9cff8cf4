"""How much there is of a data set: the share of its values that a weight map selects, and its bytes as PNG files.

What Zhou et al., "Improving low-resolution image classification by super-resolution with enhancing high-frequency
content", print in tables I (proportion of training data) and IV. Amounts are of what a stage trains on or is validated
on, as its shards hold it; bytes of PNG files are of restored pictures, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch

from acutance.config.data import DataSettings
from acutance.data.encoded import EncodedPictures
from acutance.data.shards import open_columns, sub_images
from acutance.evaluation.png_size import compressed_size
from acutance.imaging.derivations import derived_values

ROWS = 64
"""Rows of a shard set that are looked at together."""

DOUBLE = torch.float64


class Amount(NamedTuple):
    """An amount of a data set.

    Attributes:
        of: of a shard set: the URI of its folder, and what it was made by.
        title, goal, digits, unit: as a Metric's.
        adds_up: the metric of restored pictures whose sum over a data set it is, in units of `per`.
    """

    of: Callable[[str, DataSettings], float]
    title: str
    goal: Literal["maximize", "minimize"]
    digits: int
    unit: str = ""
    adds_up: str = ""
    per: float = 1.0


def selected_percent(shards: str, data: DataSettings) -> float:
    """Return how many percent of its pictures' values a loss counts, all pictures together: without a map 100.

    Sub-images that overlap are put together again, so that no value counts twice and all have their neighbours. Where
    they leave gaps, each is a picture of its own.
    """
    derived = next((one for one in data.derive.values() if one.type == "weight_map"), None)
    if derived is None:
        return 100.0
    pixels, *labels = derived.sources
    columns, counted, values = open_columns(shards, derived.sources), 0.0, 0
    for rows, corners in sub_images(shards):
        for piece in _put_together(columns[pixels][rows], corners):
            picture = torch.from_numpy(piece).permute(2, 0, 1)[None].float() / 255
            whole = [torch.from_numpy(columns[label][rows.start : rows.start + 1].copy()) for label in labels]
            counted += float(derived_values(derived, [picture, *whole]).sum(dtype=DOUBLE))
            values += piece.size
    return 100 * counted / values


def _put_together(parts: np.ndarray, corners: list[tuple[int, int]]) -> list[np.ndarray]:
    """Return the picture (H, W, 3) that parts (N, height, width, 3) are of; where they do not cover it, the parts."""
    (high, wide), (above, before) = parts.shape[1:3], np.min(corners, axis=0)
    height, width = np.max(corners, axis=0) - (above, before) + (high, wide)
    whole, covered = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), bool)
    for part, (top, left) in zip(parts, corners, strict=True):
        place = slice(top - above, top - above + high), slice(left - before, left - before + wide)
        whole[place], covered[place] = part, True
    return [whole] if covered.all() else [np.array(part) for part in parts]


def png_megabytes(shards: str, data: DataSettings) -> float:
    """Return the size of a shard set's HR pictures, or sub-images, as one PNG file each, in 10^6 bytes."""
    return sum(compressed_size(picture) for hr in _parts(shards, "hr") for picture in hr) / 1e6


SELECTED_PERCENT = Amount(selected_percent, "values that count", "minimize", 2, "%")
PNG_MEGABYTES = Amount(png_megabytes, "PNG size of all", "maximize", 2, "MB", adds_up="compressed_size", per=1e6)
# The paper prefers an equal result of fewer values, and takes more bytes for more high frequencies.


def _parts(shards: str, column: str) -> Iterator[np.ndarray]:
    rows = open_columns(shards, [column])[column]
    if isinstance(rows, EncodedPictures):
        return (picture[None] for picture in rows.decoded(range(len(rows))))
    return (np.array(rows[start : start + ROWS]) for start in range(0, len(rows), ROWS))
