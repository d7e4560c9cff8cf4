"""The pictures of an evaluation: LR, truth, bicubic enlargement, and the folders of restored pictures.

They are uint8, but for an LR that is made by noise or blur, neither clipped nor rounded, as networks are trained on it,
and for restored pictures of a protocol that does not round them: float32 with black 0 and white 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import torch

from acutance import storage
from acutance.config.metrics import PROTOCOLS
from acutance.config.size import is_lr_of
from acutance.data.datasets import Catalogue, Source
from acutance.data.pictures import read_picture
from acutance.errors import DataError
from acutance.evaluation.protocols import Protocol
from acutance.fingerprint import short_name
from acutance.imaging.degradations import degrade
from acutance.imaging.resize import imresize, imresize_uint8

LR = "lr"
"""The name of the file of the LR picture."""

INPUT = "input"
"""What tables call it at scale 1, where it needs no enlargement to be measured."""


def measured_pictures(
    catalogue: Catalogue, datasets: Iterable[str], scale: int, protocol: str, *, lr_in: str | None = None
) -> dict[str, list[Source]]:
    """Return the pictures of data sets that are measured at a scale, with their own LR where the protocol reads it.

    Args:
        lr_in: a folder with the LR of each picture.

    Raises:
        ConfigError, DataError: as `Catalogue.find`.
    """
    reads_lr = scale == 1 or protocol not in PROTOCOLS or PROTOCOLS[protocol].stored_lr
    return {name: catalogue.find(name, scale, [scale] if reads_lr else [], lr_in=lr_in) for name in datasets}


def read_pair(
    source: Source, scale: int, *, modulus: int | None = None, stored_lr: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Return the LR and the true picture, (h, w, 3) and uint8 (h * scale, w * scale, 3).

    The truth is cut to a multiple of the modulus. The LR is made by the data set's steps where it has some; else it is
    the data set's own file where there is one, else the older MATLAB's bicubic reduction of the truth, by which such
    files were made. Only steps give other LR than uint8.

    Args:
        source: where they lie.
        scale: truth over LR.
        modulus: a multiple of the scale, and the scale itself where none is given.
        stored_lr: False for today's MATLAB's reduction of the truth, whether there is a file or not; at scale 1 there
            is no such reduction.

    Raises:
        DataError: for a picture that cannot be read, is smaller than the modulus, or does not fit its LR; at scale 1
            for one that has no degraded version.
    """
    path, modulus = source.hr_path(scale), modulus or scale
    whole = read_picture(path)
    height, width = (side // modulus * modulus for side in whole.shape[:2])
    if not height or not width:
        needed = f"the scale, {scale}" if modulus == scale else f"the {modulus} pixels that the protocol asks for"
        raise DataError(f"the picture is smaller than {needed}", where=str(path), fix="leave it out")
    truth = whole[:height, :width]
    stored = source.lr_paths.get(scale) if stored_lr or scale == 1 else None
    if source.degrade:
        lr = _degraded(truth, source)
        _require_fit(lr, truth, scale, f"{path}, as the data set degrades it")
    elif stored:
        lr = read_picture(stored)
        _require_fit(lr, whole, scale, str(stored))
        lr = lr[: height // scale, : width // scale]
    elif scale == 1:
        fix = "evaluate on a data set that has them stored (`lr`) or made (`degrade`)"
        raise DataError("this picture has no degraded version to restore", where=str(path), fix=fix)
    else:
        lr = _reduced_uint8(truth, scale) if stored_lr else _uint8(reduced(truth, scale))
    return lr, truth


def _require_fit(lr: np.ndarray, picture: np.ndarray, scale: int, where: str) -> None:
    if not is_lr_of(lr.shape[:2], picture.shape[:2], scale):
        sizes = f"{lr.shape[1]}x{lr.shape[0]} at x{scale} is not {picture.shape[1]}x{picture.shape[0]}"
        raise DataError(f"the LR does not fit its picture: {sizes}", where=where, fix="mend or remove it")


def bicubic(lr: np.ndarray, scale: int, *, rounded: bool = True) -> np.ndarray:
    """Enlarge (h, w, 3) of 0..255 `scale` times as MATLAB's `imresize` does in floating point.

    Returns:
        uint8, rounded once; or where it is not rounded float32 of 0..1.
    """
    enlarged = _resized(lr, float(scale))
    return _uint8(enlarged) if rounded else (enlarged / 255).clip(0, 1).astype(np.float32)


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
    """Return the bicubic row's picture, of the truth's size, from what `pair_for` returned: as `bicubic`.

    At scale 1 it is the degraded picture as it was given, uint8 or float32.
    """
    if scale == 1:
        return lr
    given = reduced(truth, scale) if protocol.float_bicubic else levels(lr)
    return bicubic(given, scale, rounded=protocol.eight_bits)


def levels(picture: np.ndarray) -> np.ndarray:
    """Return a picture in grey levels: uint8 as it is, float32 of 0..1 as float64 of 0..255."""
    return picture if picture.dtype == np.uint8 else picture.astype(np.float64) * 255


def shown(picture: np.ndarray) -> np.ndarray:
    """Return a picture as a file or a screen can show it, uint8."""
    return picture if picture.dtype == np.uint8 else _uint8(levels(picture))


def picture_file(root: str, dataset: str, picture: str, name: str) -> str:
    """Return where `evaluate` keeps a picture: `lr`, `ground truth`, `CANDIDATE` or `CANDIDATE.detail`, as PNG.

    Names of pictures and paths of data sets may be longer than those of files, and hold anything.
    """
    return storage.join(root, short_name(f"{dataset}\0{picture}"), f"{short_name(name)}.png")


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


def _degraded(truth: np.ndarray, source: Source) -> np.ndarray:
    """Return the picture after a data set's degradations; random ones are seeded by the picture's name."""
    seed = int(hashlib.sha256(source.name.encode()).hexdigest()[:16], 16)
    made = degrade(torch.from_numpy(truth.transpose(2, 0, 1).copy()), source.degrade, seed)
    return made.permute(1, 2, 0).contiguous().numpy()


def _uint8(picture: np.ndarray) -> np.ndarray:
    return np.floor(picture + 0.5).clip(0, 255).astype(np.uint8)


def _reduced_uint8(truth: np.ndarray, scale: int) -> np.ndarray:
    reduction = imresize_uint8(torch.from_numpy(truth.transpose(2, 0, 1).copy()), 1 / scale)
    return reduction.permute(1, 2, 0).contiguous().numpy()
