"""Benchmark pictures, each read once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor


@pytest.fixture(scope="session")
def pictures_of(data_root: Path) -> Callable[..., dict[str, Tensor]]:
    """From a data set and a folder of it, the pictures by the names of their files, (3, H, W) uint8."""

    @functools.cache
    def read(dataset: str, folder: str = "HR") -> dict[str, Tensor]:
        files = {
            path.name: Image.open(path) for path in sorted((data_root / "benchmarks" / dataset / folder).glob("*"))
        }
        return {n: torch.from_numpy(np.array(file.convert("RGB"))).permute(2, 0, 1) for n, file in files.items()}

    return read
