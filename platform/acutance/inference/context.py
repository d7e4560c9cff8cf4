"""Measures how many pixels of context a network needs around a tile.

The receptive field of a deep network has hundreds of pixels, but the far ones hardly matter. So a part of a synthetic
picture is restored with more and more context, until more makes no difference.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from acutance.memory import free_memory

MARGINS = (8, 16, 24, 32, 48, 64, 96)
"""The context sizes that are tried. A network that needs more than the last but one gets the last."""

PART = 16
SIDE = PART + 2 * MARGINS[-1]

AS_ROUNDING = 1 / math.sqrt(12) / 255
"""Root mean square error of rounding to 8 bits, for values in 0..1."""

DISCS = 600
FEWEST_BYTES = 1 << 28


def made_picture() -> Tensor:
    """Return a synthetic picture (1,3,SIDE,SIDE) in 0..255 with edges and scales like photographs: overlapping discs.

    The density of radii is r^-3, as in the "dead leaves" model (Lee, Mumford and Huang 2001).
    """
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    picture = np.zeros((3, SIDE, SIDE), np.float32)
    for _ in range(DISCS):
        radius = min(2 / math.sqrt(1 - random.random()), SIDE / 4)
        row, column = random.uniform(0, SIDE, 2)
        inside = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
        picture[:, inside] = random.uniform(0, 255, 3)[:, None]
    return torch.from_numpy(picture + random.normal(0, 2, picture.shape).astype(np.float32)).clamp(0, 255)[None]


@torch.inference_mode()
def measured_context(network: nn.Module, columns: Mapping[str, Tensor]) -> int:
    """Return the smallest context of MARGINS beyond which an output changes less than by rounding to 8 bits.

    Args:
        network: on any device; its mode is restored afterwards.
        columns: its inputs, made of `made_picture`, by name.

    Returns:
        Pixels; 0 for a network whose outputs are not pictures.
    """
    training = network.training
    network.eval()
    try:
        before = _part(network, columns, MARGINS[0])
        for margin, more in zip(MARGINS if before else (), MARGINS[1:], strict=False):
            following = _part(network, columns, more)
            pairs = zip(before, following, strict=True)
            if all(float((a - b).square().mean().sqrt()) <= AS_ROUNDING for a, b in pairs):
                return margin
            before = following
        return MARGINS[-1] if before else 0
    finally:
        network.train(training)


def _part(network: nn.Module, columns: Mapping[str, Tensor], margin: int) -> list[Tensor]:
    """Return a network's outputs for the middle of its inputs, computed with a margin that is then cut off."""
    scale: int = network.scale  # type: ignore[assignment]
    first, size = MARGINS[-1] - margin, PART + 2 * margin
    parameter = next(network.parameters())
    pieces = (columns[name][..., first : first + size, first : first + size] for name in network.inputs)  # type: ignore[union-attr]
    outputs = network(*(piece.to(parameter.device, parameter.dtype) for piece in pieces))
    inside = slice(margin * scale, (margin + PART) * scale)
    return [output[..., inside, inside].float().cpu() for output in outputs.values() if output.dim() == 4]


def fits_whole(network: nn.Module, columns: Mapping[str, Tensor]) -> bool:
    """Return whether free memory suffices to run a network on whole pictures.

    On a GPU its free memory counts. On a CPU a share of the free memory of the machine or container counts, since other
    processes may restore pictures at the same time.
    """
    device = next(network.parameters()).device
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = max(free_memory() // (os.cpu_count() or 1), FEWEST_BYTES)
    first = columns[network.inputs[0]]  # type: ignore[index]
    return math.prod((first.shape[0], *first.shape[-2:])) * bytes_per_pixel(network, columns) < free // 2


@torch.inference_mode()
def bytes_per_pixel(network: nn.Module, columns: Mapping[str, Tensor]) -> float:
    """Return the memory of a network per input pixel: twice the input and output of its largest layer."""
    widest = 0

    def measure(_: nn.Module, given: tuple[object, ...], made: object) -> None:
        nonlocal widest
        widest = max(widest, sum(part.nbytes for part in (*given, made) if isinstance(part, Tensor)))

    training = network.training
    hooks = [layer.register_forward_hook(measure) for layer in network.modules() if not list(layer.children())]
    try:
        parameter = next(network.parameters())
        pieces = [columns[name][:1, :, :PART, :PART] for name in network.inputs]  # type: ignore[union-attr]
        network.eval()(*(piece.to(parameter.device, parameter.dtype) for piece in pieces))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return 2 * widest / math.prod(pieces[0].shape[-2:])
