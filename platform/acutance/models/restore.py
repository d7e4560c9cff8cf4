"""A network on a whole picture of any size: tiles with their overlap blended.

Tiles overlap; across an overlap the outer 3/8 of either tile are context that is thrown away, and over the
quarter in the middle one tile fades into the other. The weights of all tiles add up to 1 everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acutance.errors import ConfigError, DataError, ModelError
from acutance.imaging.detail import EXTRACTORS

ALIGNMENT = 4
SMALLEST_SIDE = 8
BATCH_PIXELS = 256 * 256
FADE = 0.25


def restore(
    network: nn.Module,
    description: Mapping[str, Any],
    picture: np.ndarray,
    *,
    tile: int = 192,
    overlap: int = 16,
) -> dict[str, np.ndarray]:
    """Run a network on one picture; the same input gives the same output.

    Args:
        network: on any device.
        description: its model file's; `detail` says how a detail layer is made where the network reads one.
        picture: uint8 (h,w,3) RGB, any size.
        tile: side of a tile in input pixels.
        overlap: pixels that neighbours share.

    Returns:
        The network's outputs by name, at `network.scale` times the size: "image" uint8 (H,W,3), "detail"
        float32 (H,W) as 2^x, others float32 (H,W,C).

    Raises:
        DataError: when `picture` is not such an array.
        ModelError: when the network cannot be fed or returns values that are not finite.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise DataError(
            f"not an 8-bit RGB picture: {picture.dtype} {picture.shape}",
            fix="give uint8 of shape (height, width, 3)",
        )
    pixels = torch.from_numpy(np.array(picture, order="C")).permute(2, 0, 1)[None].float()
    padded = _at_least(pixels, SMALLEST_SIDE)
    outputs = restore_tensors(network, _columns(network, description, padded), tile=tile, overlap=overlap)
    scale: int = network.scale  # type: ignore[assignment]
    height, width = picture.shape[0] * scale, picture.shape[1] * scale
    return {name: _array(name, output[0, :, :height, :width]) for name, output in outputs.items()}


@torch.inference_mode()
def restore_tensors(
    network: nn.Module, columns: Mapping[str, Tensor], *, tile: int = 192, overlap: int = 16
) -> dict[str, Tensor]:
    """Run a network tile by tile in eval mode.

    Args:
        network: on any device; its mode is put back afterwards.
        columns: what it reads by name, (1,C,h,w) each, sides of 8 or more.

    Returns:
        Its outputs by name, (1,C,H,W) float32 on the CPU, not clipped.

    Raises:
        ConfigError: for a tile that leaves nothing beside its overlaps.
        ModelError: when an output is not finite.
    """
    if overlap < SMALLEST_SIDE or tile < 2 * overlap + ALIGNMENT:
        raise ConfigError(
            f"tile {tile} and overlap {overlap} do not go together",
            where="tile, overlap",
            fix=f"use an overlap of {SMALLEST_SIDE} or more and a tile over twice as large",
        )
    training = network.training
    network.eval()
    try:
        outputs = _run_tiles(network, columns, tile, overlap)
    finally:
        network.train(training)
    for name, output in outputs.items():
        if not bool(torch.isfinite(output).all()):
            raise ModelError(f"the network's {name} holds values that are not finite", fix="train or fetch it again")
    return outputs


def _run_tiles(network: nn.Module, columns: Mapping[str, Tensor], tile: int, overlap: int) -> dict[str, Tensor]:
    inputs = [columns[name] for name in network.inputs]  # type: ignore[union-attr]
    scale: int = network.scale  # type: ignore[assignment]
    height, width = inputs[0].shape[-2:]
    rows, spans = _spans(height, tile, overlap, scale), _spans(width, tile, overlap, scale)
    tiles = [(row, column) for row in rows for column in spans]
    outputs: dict[str, Tensor] = {}
    for batch in _batches(tiles):
        for name, pieces in _forward(network, inputs, batch).items():
            whole = outputs.setdefault(name, torch.zeros(1, pieces.shape[1], height * scale, width * scale))
            for (row, column), piece in zip(batch, pieces, strict=True):
                place = whole[0, :, row.start * scale : row.end * scale, column.start * scale : column.end * scale]
                place.add_(piece * row.weight[:, None] * column.weight)
    return outputs


class Span(NamedTuple):
    """A tile's extent along one axis in input pixels, and the weights of its output pixels."""

    start: int
    end: int
    weight: Tensor


def _spans(size: int, tile: int, overlap: int, scale: int) -> list[Span]:
    """Cut an axis; tiles start at multiples of 4, so that strides and folds fall as on the whole."""
    step = (tile - overlap) // ALIGNMENT * ALIGNMENT
    shared = tile - step
    starts = range(0, max(size - shared, 1), step)
    ends = [min(start + tile, size) for start in starts]
    return [
        Span(start, end, _weight(start, end, shared, scale, first=start == 0, last=end == size))
        for start, end in zip(starts, ends, strict=True)
    ]


def _weight(start: int, end: int, shared: int, scale: int, *, first: bool, last: bool) -> Tensor:
    """Return a tile's weights (L*scale,): from 0 to 1 in the middle of an overlap, 1 at the border."""
    position = (torch.arange((end - start) * scale, dtype=torch.float64) + 0.5) / scale
    rise = _fade((position - shared / 2) / (FADE * shared))
    fall = 1 - _fade((position - (end - start - shared / 2)) / (FADE * shared))
    return ((rise if not first else 1.0) * (fall if not last else torch.ones_like(position))).float()


def _fade(t: Tensor) -> Tensor:
    """Rise from 0 to 1 while t goes from -1/2 to 1/2, with no kink."""
    return torch.sin(torch.pi / 2 * (t + 0.5).clamp(0, 1)) ** 2


def _batches(tiles: list[tuple[Span, Span]]) -> list[list[tuple[Span, Span]]]:
    """Join tiles of one size; large tiles keep a device busy alone, and memory bounded."""
    alike: dict[tuple[int, int], list[tuple[Span, Span]]] = {}
    for row, column in tiles:
        alike.setdefault((row.end - row.start, column.end - column.start), []).append((row, column))
    batches = []
    for (height, width), group in alike.items():
        count = max(1, BATCH_PIXELS // (height * width))
        batches += [group[i : i + count] for i in range(0, len(group), count)]
    return batches


def _forward(network: nn.Module, inputs: list[Tensor], batch: list[tuple[Span, Span]]) -> dict[str, Tensor]:
    parameter = next(network.parameters())
    pieces = (
        torch.cat([whole[..., row.start : row.end, column.start : column.end] for row, column in batch])
        for whole in inputs
    )
    outputs = network(*(piece.to(parameter.device, parameter.dtype) for piece in pieces))
    return {name: output.float().cpu() for name, output in outputs.items()}


def _columns(network: nn.Module, description: Mapping[str, Any], pixels: Tensor) -> dict[str, Tensor]:
    """Return what the network reads; detail is that of the whole picture, so that no tile has a seam."""
    names: tuple[str, ...] = network.inputs  # type: ignore[assignment]
    unknown = set(names) - {"lr", "hr", "lr_detail", "hr_detail"}
    if unknown:
        raise ModelError(f"a picture alone cannot feed this network's {', '.join(sorted(unknown))}")
    columns = {name: pixels / 255 for name in names if not name.endswith("_detail")}
    for name in set(names) - columns.keys():
        columns[name] = _detail(description.get("detail"), pixels)
    return columns


def _detail(settings: Mapping[str, Any] | None, pixels: Tensor) -> Tensor:
    if not settings or settings.get("type") not in EXTRACTORS:
        raise ModelError(
            "the network reads a detail layer and the model does not say how it is made",
            where="description.detail",
            fix=f"it must name one of {', '.join(sorted(EXTRACTORS))}",
        )
    arguments = {name: value for name, value in settings.items() if name != "type"}
    return torch.exp2(EXTRACTORS[settings["type"]](pixels, **arguments).float())


def _at_least(picture: Tensor, side: int) -> Tensor:
    """Repeat the last row and column of a picture too small for a convolution to reflect it."""
    bottom, right = max(0, side - picture.shape[-2]), max(0, side - picture.shape[-1])
    return F.pad(picture, (0, right, 0, bottom), mode="replicate")


def _array(name: str, output: Tensor) -> np.ndarray:
    if name == "image":
        return (output * 255 + 0.5).floor().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    channels_last = output.permute(1, 2, 0).contiguous().numpy()
    return channels_last[..., 0] if name == "detail" else channels_last
