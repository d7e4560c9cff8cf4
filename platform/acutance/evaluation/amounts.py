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

from acutance.data import DataSettings, open_columns
from acutance.evaluation.png import compressed_size
from acutance.imaging import weight_map

ROWS = 64
"""Rows of a shard set that are looked at together."""


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
    """Return how many percent of a shard set's values a loss counts, all sub-images together: without a map 100.

    The values at a sub-image's border are compared with those inside it alone.
    """
    if data.weight_map is None:
        return 100.0
    shares = [
        weight_map(_channels_first(hr), alpha=data.weight_map.alpha, statistics=torch.from_numpy(known)).mean((1, 2, 3))
        for hr, known in zip(_parts(shards, "hr"), _parts(shards, "hr_differences"), strict=True)
    ]
    return 100 * float(torch.cat(shares).double().mean())


def png_megabytes(shards: str, data: DataSettings) -> float:
    """Return the size of a shard set's HR pictures, or sub-images, as one PNG file each, in 10^6 bytes."""
    return sum(compressed_size(picture) for hr in _parts(shards, "hr") for picture in hr) / 1e6


AMOUNTS = {
    "selected_percent": Amount(selected_percent, "values that count", "minimize", 2, "%"),
    "png_megabytes": Amount(png_megabytes, "PNG size of all", "maximize", 2, "MB", adds_up="compressed_size", per=1e6),
}
"""By name. The paper prefers an equal result of fewer values, and takes more bytes for more high frequencies."""

PARTS = ("training", "validation")
"""What, besides an evaluated data set, an amount may be of: the data that a stage trains on, or is validated on."""


def _parts(shards: str, column: str) -> Iterator[np.ndarray]:
    rows = open_columns(shards, [column])[column]
    return (np.array(rows[start : start + ROWS]) for start in range(0, len(rows), ROWS))


def _channels_first(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)
