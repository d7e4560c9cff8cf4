"""Photographs that come with scikit-image, and what other programs compute of them: see `oracles/make.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch

ORACLES = Path(__file__).resolve().parent / "oracles"
PICTURES: dict[str, np.ndarray] = {name: getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee")}
"""uint8 (H, W, 3)."""

VALUES: dict[str, dict[str, Any]] = json.loads((ORACLES / "free_pictures.json").read_text())
ARRAYS: dict[str, np.ndarray] = dict(np.load(ORACLES / "free_pictures.npz"))


def tensor(picture: np.ndarray) -> torch.Tensor:
    """Return (H, W, C) as (C, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


def crop(name: str) -> np.ndarray:
    """Return the part of a picture that `oracles/make.py` resizes, (48, 56, 3)."""
    return PICTURES[name][100:148, 120:176]
