"""The pictures of an evaluation: LR and truth, bicubic enlargement, and where the restored ones are kept."""

from __future__ import annotations

from urllib.parse import quote

import numpy as np
import torch

from acutance import storage
from acutance.data.datasets import Source
from acutance.data.pictures import read_picture
from acutance.errors import DataError
from acutance.imaging.resize import imresize, imresize_uint8

LR = "lr"
"""The name under which the low-resolution picture is kept."""


def read_pair(source: Source, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the LR and the true picture, uint8 (h, w, 3) and (h * scale, w * scale, 3).

    The truth is cut to a multiple of the scale. The LR is the data set's own file where there is one, else
    MATLAB's bicubic reduction of the truth.

    Raises:
        DataError: for a picture that cannot be read, is smaller than the scale, or does not fit its LR.
    """
    path = source.hr_path(scale)
    truth = read_picture(path)
    height, width = (side // scale * scale for side in truth.shape[:2])
    if not height or not width:
        raise DataError(f"the picture is smaller than the scale, {scale}", where=str(path), fix="leave it out")
    truth = truth[:height, :width]
    stored = source.lr_paths.get(scale)
    lr = read_picture(stored) if stored else _reduced(truth, scale)
    if (lr.shape[0] * scale, lr.shape[1] * scale) != (height, width):
        sizes = f"{lr.shape[1]}x{lr.shape[0]} at x{scale} does not give {width}x{height}"
        raise DataError(f"the LR does not fit its picture: {sizes}", where=str(stored), fix="mend or remove it")
    return lr, truth


def bicubic(lr: np.ndarray, scale: int) -> np.ndarray:
    """Enlarge uint8 (h, w, 3) `scale` times as MATLAB's `imresize` does in floating point, rounded once."""
    enlarged = imresize(torch.from_numpy(lr.transpose(2, 0, 1).astype(np.float64)), float(scale))
    return (enlarged + 0.5).floor().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def picture_folder(root: str, dataset: str, picture: str) -> str:
    """Return the folder in which `evaluate` keeps what was made of one picture."""
    return storage.join(root, quote(dataset, safe=" "), quote(picture, safe=" "))


def picture_file(root: str, dataset: str, picture: str, name: str) -> str:
    """Return where one of them lies: `lr`, `ground truth`, `CANDIDATE` or `CANDIDATE.detail`, as PNG."""
    return storage.join(picture_folder(root, dataset, picture), quote(name, safe=" ") + ".png")


def shown_detail(detail: np.ndarray) -> np.ndarray:
    """Return a detail layer 2^x, float (H, W) or (H, W, 1), for the eye: uint8 (H, W).

    Grey 128 is 1, no detail; white is a factor of 4 and more, black of a quarter and less.
    """
    factor = np.log2(np.maximum(detail.reshape(detail.shape[:2]).astype(np.float64), 2.0**-16))
    return np.floor(128 + 63.5 * factor.clip(-2, 2) + 0.5).clip(0, 255).astype(np.uint8)


def _reduced(truth: np.ndarray, scale: int) -> np.ndarray:
    reduced = imresize_uint8(torch.from_numpy(truth.transpose(2, 0, 1).copy()), 1 / scale)
    return reduced.permute(1, 2, 0).contiguous().numpy()
