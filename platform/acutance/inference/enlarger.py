"""Enlarges many small pictures at a time for shards: by a model, or by MATLAB's bicubic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn

from acutance.cluster.hardware import in_full_precision
from acutance.errors import ModelError
from acutance.imaging.resize import imresize_uint8
from acutance.inference.restore import restore_bands
from acutance.models.model_file import load_model


@dataclass(frozen=True)
class Enlarger:
    """Enlarges pictures; it is pickled to the nodes.

    Attributes:
        model: URI of a model file; None for bicubic.
        fingerprint: of the model.
        scale: the factor.
    """

    model: str | None
    fingerprint: str
    scale: int

    def __call__(self, pictures: np.ndarray, device: str = "cpu") -> np.ndarray:
        """Enlarge uint8 (N, h, w, 3) to uint8 (N, h * scale, w * scale, 3), by a model on a device.

        Raises:
            ModelError: when the model is missing, has another scale, or makes no pictures.
        """
        pixels = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))
        large = imresize_uint8(pixels, self.scale) if self.model is None else self._by_model(self.model, pixels, device)
        return np.ascontiguousarray(large.permute(0, 2, 3, 1).numpy())

    def _by_model(self, model: str, pixels: torch.Tensor, device: str) -> torch.Tensor:
        network, description = _loaded(model, self.fingerprint, device)
        if description["scale"] != self.scale:
            what = f"the model enlarges by {description['scale']}, not by {self.scale}"
            raise ModelError(what, where=model, fix="choose a model of this scale, or set data.enlarge.scale")
        bands = list(restore_bands(network, description, pixels.float()))
        if "image" not in bands[0]:
            raise ModelError(f"this model makes no picture but {', '.join(bands[0])}", where=model)
        image = torch.cat([band["image"] for band in bands], dim=-2)
        return (image * 255 + 0.5).floor().clamp(0, 255).to(torch.uint8)


@lru_cache(maxsize=1)
def _loaded(model: str, fingerprint: str, device: str) -> tuple[nn.Module, dict[str, Any]]:
    """Load a model once per process."""
    network, description = load_model(model)
    return in_full_precision(network, device), description
