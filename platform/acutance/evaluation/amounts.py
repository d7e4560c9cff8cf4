"""How much there is of a data set: the share of its values that a weight map selects, and its bytes as PNG files.

What Zhou et al., "Improving low-resolution image classification by super-resolution with enhancing high-frequency
content", print in tables I (proportion of training data) and IV.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from acutance.evaluation.png import compressed_size
from acutance.imaging.weightmap import weight_map


def selected_percent(pictures: Iterable[np.ndarray], *, alpha: float) -> float:
    """Return how many percent of a picture's values the weight map selects, in the mean over whole pictures.

    Args:
        pictures: uint8 (H, W, 3) RGB each, such as `read_picture` returns; at least one.
        alpha: as for `weight_map`.

    Raises:
        ConfigError: alpha is negative.
    """
    maps = (weight_map(torch.from_numpy(picture.transpose(2, 0, 1).copy()), alpha=alpha) for picture in pictures)
    return float(np.mean([100 * float(selected.double().mean()) for selected in maps]))


def png_megabytes(pictures: Iterable[np.ndarray]) -> float:
    """Return the size of all pictures, uint8 (H, W, 3) RGB, as one PNG file each, in 10^6 bytes."""
    return sum(compressed_size(picture) for picture in pictures) / 1e6
