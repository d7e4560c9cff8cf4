"""The size of a picture as PNG, a measure of how much detail it holds that needs no truth.

The size depends on the writer, so there is one, fixed: `plain_png`, as OpenCV writes by default.
"""

from __future__ import annotations

import numpy as np

from acutance.data.png import plain_png
from acutance.evaluation.inputs import require_pictures


def compressed_size(picture: np.ndarray) -> float:
    """Return the bytes of a picture's PNG file, all of its chunks counted.

    Args:
        picture: uint8 (H, W, 3) RGB.

    Raises:
        Unmeasurable: for an empty picture.
        ValueError: for what is no such picture.
    """
    require_pictures("PNG size", picture)
    return float(len(plain_png(picture)))
