"""The extractors of detail layers that a pipeline may name, how their layers are kept, and what networks see of them.

A layer is a factor per pixel, kept as its logarithm (E of DSRGAN), or a difference of pictures in 0..1, kept as it is
(what Table III compares E with).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Literal

import torch
from torch import Tensor

from acutance.imaging.detail import detail_of
from acutance.imaging.smoothers import guided_filter_detail, least_squares_detail

Coding = Literal["log2", "difference"]

EXTRACTORS: dict[str, Callable[..., Tensor]] = {
    "lgs": detail_of,
    "gif": guided_filter_detail,
    "wls": least_squares_detail,
}
"""What a pipeline may name as its detail layer: first parameter the picture, the others settings."""

CODINGS: dict[str, Coding] = {"lgs": "log2", "gif": "difference", "wls": "difference"}
"""How an extractor's values are to be read."""

CHANNELS: dict[Coding, int] = {"log2": 1, "difference": 3}


def detail_layer(pictures: Tensor, settings: Mapping[str, Any]) -> Tensor:
    """Return the detail layer of pictures as networks see it.

    Args:
        pictures: (..., 3, H, W) uint8, or float in 0..255.
        settings: `type` names one of EXTRACTORS, the other keys are its parameters.

    Returns:
        float32, on the device of the pictures: factors (..., 1, H, W), about 1 on flat regions, or differences
        (..., 3, H, W) in -1..1.
    """
    kind = settings["type"]
    arguments = {name: value for name, value in settings.items() if name != "type"}
    layer = EXTRACTORS[kind](pictures, **arguments).float()
    return torch.exp2(layer) if CODINGS[kind] == "log2" else layer


def on_unit_range(kind: str) -> Callable[..., Tensor]:
    """Return an extractor, with its own parameters, that takes pictures in 0..1 and returns what networks see."""

    @wraps(EXTRACTORS[kind])
    def derive(pictures: Tensor, **settings: Any) -> Tensor:
        return detail_layer(255 * pictures, {"type": kind, **settings})

    return derive
