"""The pictures of an evaluation: LR and truth, bicubic enlargement, and where the restored ones are kept."""

from __future__ import annotations

from urllib.parse import quote

import numpy as np
import torch

from acutance import storage
from acutance.data.datasets import Source
from acutance.data.pictures import read_picture
from acutance.errors import DataError
from acutance.evaluation.protocols import Protocol
from acutance.imaging.resize import imresize, imresize_uint8

LR = "lr"
"""The name under which the low-resolution picture is kept."""


def read_pair(
    source: Source, scale: int, *, modulus: int | None = None, stored_lr: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Return the LR and the true picture, uint8 (h, w, 3) and (h * scale, w * scale, 3).

    The truth is cut to a multiple of the modulus. The LR is the data set's own file where there is one, else
    the older MATLAB's bicubic reduction of the truth, by which such files were made.

    Args:
        source: where they lie.
        scale: truth over LR.
        modulus: a multiple of the scale, and the scale itself where none is given.
        stored_lr: False for today's MATLAB's reduction of the truth, whether there is a file or not.

    Raises:
        DataError: for a picture that cannot be read, is smaller than the modulus, or does not fit its LR.
    """
    path, modulus = source.hr_path(scale), modulus or scale
    truth = read_picture(path)
    height, width = (side // modulus * modulus for side in truth.shape[:2])
    if not height or not width:
        needed = f"the scale, {scale}" if modulus == scale else f"the {modulus} pixels that the protocol asks for"
        raise DataError(f"the picture is smaller than {needed}", where=str(path), fix="leave it out")
    truth = truth[:height, :width]
    if not stored_lr:
        return _uint8(reduced(truth, scale)), truth
    stored = source.lr_paths.get(scale)
    lr = read_picture(stored) if stored else _reduced_uint8(truth, scale)
    if (lr.shape[0] * scale, lr.shape[1] * scale) != (height, width):
        sizes = f"{lr.shape[1]}x{lr.shape[0]} at x{scale} does not give {width}x{height}"
        raise DataError(f"the LR does not fit its picture: {sizes}", where=str(stored), fix="mend or remove it")
    return lr, truth


def bicubic(lr: np.ndarray, scale: int) -> np.ndarray:
    """Enlarge (h, w, 3) of 0..255 `scale` times as MATLAB's `imresize` does in floating point; uint8, rounded once."""
    return _uint8(_resized(lr, float(scale)))


def reduced(truth: np.ndarray, scale: int) -> np.ndarray:
    """Reduce (H, W, 3) of 0..255 `scale` times as today's MATLAB: float64 (h, w, 3), neither rounded nor clipped."""
    return _resized(truth, 1 / scale)


def pair_for(protocol: Protocol, dataset: str, source: Source, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the LR that models see and the truth, as `read_pair`, by the rules of a protocol.

    Args:
        protocol: one of PROTOCOLS.
        dataset: the name under which the picture is evaluated; it may decide how the truth is cut.
        source: the picture.
        scale: truth over LR.
    """
    return read_pair(source, scale, modulus=protocol.modulus(dataset, scale), stored_lr=protocol.stored_lr)


def bicubic_for(protocol: Protocol, lr: np.ndarray, truth: np.ndarray, scale: int) -> np.ndarray:
    """Return the bicubic row's picture, uint8 as the truth, from what `pair_for` returned."""
    return bicubic(reduced(truth, scale) if protocol.float_bicubic else lr, scale)


def picture_folder(root: str, dataset: str, picture: str) -> str:
    """Return the folder in which `evaluate` keeps what was made of one picture."""
    return storage.join(root, quote(dataset, safe=" "), quote(picture, safe=" "))


def picture_file(root: str, dataset: str, picture: str, name: str) -> str:
    """Return where one of them lies: `lr`, `ground truth`, `CANDIDATE` or `CANDIDATE.detail`, as PNG."""
    return storage.join(picture_folder(root, dataset, picture), quote(name, safe=" ") + ".png")


def shown_detail(detail: np.ndarray) -> np.ndarray:
    """Return a detail layer for the eye, uint8: a factor (H, W) or (H, W, 1) as (H, W), a difference as (H, W, 3).

    Grey 128 is no detail; white is a factor of 4 and more or half the range of a picture and more, black of a quarter
    and less or minus half the range.
    """
    if detail.ndim == 3 and detail.shape[2] == 3:
        return np.floor(128 + 254 * detail.clip(-0.5, 0.5) + 0.5).clip(0, 255).astype(np.uint8)
    factor = np.log2(np.maximum(detail.reshape(detail.shape[:2]).astype(np.float64), 2.0**-16))
    return np.floor(128 + 63.5 * factor.clip(-2, 2) + 0.5).clip(0, 255).astype(np.uint8)


def _resized(picture: np.ndarray, scale: float) -> np.ndarray:
    resized = imresize(torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float64)), scale)
    return resized.permute(1, 2, 0).contiguous().numpy()


def _uint8(picture: np.ndarray) -> np.ndarray:
    return np.floor(picture + 0.5).clip(0, 255).astype(np.uint8)


def _reduced_uint8(truth: np.ndarray, scale: int) -> np.ndarray:
    reduction = imresize_uint8(torch.from_numpy(truth.transpose(2, 0, 1).copy()), 1 / scale)
    return reduction.permute(1, 2, 0).contiguous().numpy()
