"""Runs a network on whole pictures of any size, in overlapping tiles from top to bottom.

In an overlap the outer 3/8 of each tile are context and are thrown away; over the quarter in the middle one tile fades
into the other. The weights of all tiles add up to 1 everywhere. How much context a network needs is measured (see
`context`) and kept in its model file. Each row of tiles is returned when it is finished: a large picture needs memory
for its input and one row of tiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acutance.errors import ConfigError, DataError, ModelError
from acutance.inference.context import fits_whole, made_picture, measured_context
from acutance.inference.inputs import network_inputs

ALIGNMENT = 4
SMALLEST_SIDE = 8
BATCH_PIXELS = 256 * 256
FADE = 0.25
TILE = 192
"""The side of a tile in pixels. A network that needs much context gets larger tiles."""

CONTEXT = 3 / 8
"""The share of an overlap that is context, on each of its sides."""


class Tiles(NamedTuple):
    """The side of a tile, and the overlap of neighbouring tiles, in input pixels."""

    tile: int
    overlap: int


def tiles_for(context: int) -> Tiles:
    """Return the tiles that give every pixel at least this many pixels of context."""
    overlap = max(2 * SMALLEST_SIDE, -(-math.ceil(context / CONTEXT) // ALIGNMENT) * ALIGNMENT)
    return Tiles(max(TILE, 5 * overlap // 2), overlap)


_measured: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


def context_of(network: nn.Module, description: Mapping[str, Any]) -> int:
    """Return how many pixels of context a network needs: from its model file, or measured once.

    Raises:
        ModelError: when the network needs more than a picture.
    """
    told = description.get("context")
    if told is None and network not in _measured:
        _measured[network] = measured_context(network, network_inputs(network, description, made_picture() / 255))
    return int(_measured[network] if told is None else told)


def restore(
    network: nn.Module,
    description: Mapping[str, Any],
    picture: np.ndarray,
    *,
    tiles: Tiles | None = None,
    rounded: bool = True,
    on_tiles: Callable[[Tiles], object] | None = None,
) -> dict[str, np.ndarray]:
    """Run a network on one picture; the same input gives the same output.

    Args:
        network: on any device.
        description: of the model file; `derive` says how derived columns are made.
        picture: uint8 (h,w,3) RGB, any size; or float32 with black 0 and white 1 (noise may exceed this range).
        tiles: None restores the whole picture at once; if memory is too small, in tiles with the context that the
            network needs.
        rounded: False returns "image" as float32, clipped but not rounded to 8 bits.
        on_tiles: called with the tiles if memory is too small for the whole picture.

    Returns:
        The network's outputs by name, at `network.scale` times the size: "image" uint8 (H,W,3), or float32 in 0..1 if
        not rounded, "detail" float32 (H,W) as 2^x or (H,W,3) as a difference, others float32 (H,W,C).

    Raises:
        DataError: when `picture` is not such an array.
        ModelError: when the network needs more than a picture, or returns values that are not finite.
    """
    if picture.dtype not in (np.uint8, np.float32) or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise DataError(
            f"not an 8-bit RGB picture: {picture.dtype} {picture.shape}",
            fix="give uint8, or float32 of 0..1, of shape (height, width, 3)",
        )
    levels = picture * np.float32(255) if picture.dtype == np.float32 else np.array(picture, order="C")
    pixels = torch.from_numpy(levels).permute(2, 0, 1)[None].float()
    bands: dict[str, list[np.ndarray]] = {}
    columns = network_inputs(network, description, _at_least(pixels, SMALLEST_SIDE) / 255)
    if tiles is None and fits_whole(network, columns):
        tiles = _whole(pixels)
    elif tiles is None:
        tiles = tiles_for(context_of(network, description))
        if on_tiles and max(pixels.shape[-2:]) > tiles.tile:
            on_tiles(tiles)
    for band in _cut_bands(network, columns, pixels.shape, tiles):
        for name, output in band.items():
            bands.setdefault(name, []).append(_array(name, output[0], rounded))
    return {name: np.concatenate(parts) for name, parts in bands.items()}


def _whole(pixels: Tensor) -> Tiles:
    overlap = 2 * SMALLEST_SIDE
    return Tiles(max(*pixels.shape[-2:], 2 * overlap + ALIGNMENT), overlap)


def restore_bands(
    network: nn.Module, description: Mapping[str, Any], pixels: Tensor, *, tiles: Tiles | None = None
) -> Iterator[dict[str, Tensor]]:
    """Run a network on pictures of one size; yield its outputs in bands of rows from top to bottom.

    Args:
        pixels: (N,3,h,w) RGB in 0..255, any size and precision; all pictures are in the same batches.
        tiles: None uses tiles with the context that the network needs.

    Yields:
        The network's outputs by name, (N,C,rows,W) float32 on the CPU, not clipped. The number of
        rows is a multiple of the scale; all bands together have H rows.

    Raises:
        As `restore`.
    """
    columns = network_inputs(network, description, _at_least(pixels.float(), SMALLEST_SIDE) / 255)
    if tiles is None:
        small = max(pixels.shape[-2:]) <= TILE
        tiles = tiles_for(0 if small else context_of(network, description))
    yield from _cut_bands(network, columns, pixels.shape, tiles)


def _cut_bands(
    network: nn.Module, columns: Mapping[str, Tensor], shape: torch.Size, tiles: Tiles
) -> Iterator[dict[str, Tensor]]:
    """Yield bands without the padding of pictures that are smaller than the network needs."""
    scale: int = network.scale  # type: ignore[assignment]
    height, width = (side * scale for side in shape[-2:])
    for band in _bands(network, columns, *tiles):
        if rows := min(height, next(iter(band.values())).shape[-2]):
            yield {name: output[..., :rows, :width] for name, output in band.items()}
        height -= rows


def restore_tensors(network: nn.Module, columns: Mapping[str, Tensor], tiles: Tiles) -> dict[str, Tensor]:
    """Run a network tile by tile in eval mode.

    Args:
        network: on any device; its mode is restored afterwards.
        columns: the inputs by name, (N,C,h,w) each, sides of 8 or more.

    Returns:
        Its outputs by name, (N,C,H,W) float32 on the CPU, not clipped.

    Raises:
        ConfigError: for a tile that leaves nothing beside its overlaps.
        ModelError: when an output is not finite.
    """
    bands = list(_bands(network, columns, *tiles))
    return {name: torch.cat([band[name] for band in bands], dim=-2) for name in bands[0]}


@torch.inference_mode()
def _bands(network: nn.Module, columns: Mapping[str, Tensor], tile: int, overlap: int) -> Iterator[dict[str, Tensor]]:
    if overlap < SMALLEST_SIDE or tile < 2 * overlap + ALIGNMENT:
        raise ConfigError(
            f"tile {tile} and overlap {overlap} do not go together",
            where="tile, overlap",
            fix=f"use an overlap of {SMALLEST_SIDE} or more and a tile over twice as large",
        )
    inputs = [columns[name] for name in network.inputs]  # type: ignore[union-attr]
    scale: int = network.scale  # type: ignore[assignment]
    height, width = inputs[0].shape[-2:]
    rows, spans = _spans(height, tile, overlap, scale), _spans(width, tile, overlap, scale)
    training = network.training
    network.eval()
    below: dict[str, Tensor] = {}
    try:
        for row, following in zip(rows, [*rows[1:], None], strict=True):
            band = _run_row(network, inputs, row, spans)
            for name, unfinished in below.items():
                band[name][..., : unfinished.shape[-2], :] += unfinished
            finished = ((following.start if following else row.end) - row.start) * scale
            below = {name: output[..., finished:, :].clone() for name, output in band.items()}
            yield {name: _finite(name, output[..., :finished, :]) for name, output in band.items()}
    finally:
        network.train(training)


def _run_row(network: nn.Module, inputs: list[Tensor], row: Span, spans: list[Span]) -> dict[str, Tensor]:
    """Return the weighted outputs of one row of tiles; the next row of tiles completes its lower pixel rows."""
    scale: int = network.scale  # type: ignore[assignment]
    count, width = inputs[0].shape[0], inputs[0].shape[-1]
    outputs: dict[str, Tensor] = {}
    for batch in _batches(spans, count * (row.end - row.start)):
        for name, pieces in _forward(network, inputs, row, batch).items():
            size = (count, pieces.shape[1], (row.end - row.start) * scale, width * scale)
            whole = outputs.setdefault(name, torch.zeros(size))
            for span, piece in zip(batch, pieces.split(count), strict=True):
                whole[..., span.start * scale : span.end * scale].add_(piece * row.weight[:, None] * span.weight)
    return outputs


def _finite(name: str, output: Tensor) -> Tensor:
    if not bool(torch.isfinite(output).all()):
        raise ModelError(f"the network's {name} holds values that are not finite", fix="train or fetch it again")
    return output


class Span(NamedTuple):
    """A tile's extent along one axis in input pixels, and the weights of its output pixels."""

    start: int
    end: int
    weight: Tensor


def _spans(size: int, tile: int, overlap: int, scale: int) -> list[Span]:
    """Cut an axis into tiles. They start at multiples of 4, so strides align as on the whole picture."""
    step = (tile - overlap) // ALIGNMENT * ALIGNMENT
    shared = tile - step
    starts = range(0, max(size - shared, 1), step)
    ends = [min(start + tile, size) for start in starts]
    return [
        Span(start, end, _weight(start, end, shared, scale, first=start == 0, last=end == size))
        for start, end in zip(starts, ends, strict=True)
    ]


def _weight(start: int, end: int, shared: int, scale: int, *, first: bool, last: bool) -> Tensor:
    """Return a tile's weights (L*scale,): they rise from 0 to 1 in an overlap, and are 1 at the picture's border."""
    position = (torch.arange((end - start) * scale, dtype=torch.float64) + 0.5) / scale
    rise = _fade((position - shared / 2) / (FADE * shared))
    fall = 1 - _fade((position - (end - start - shared / 2)) / (FADE * shared))
    return ((rise if not first else 1.0) * (fall if not last else torch.ones_like(position))).float()


def _fade(t: Tensor) -> Tensor:
    """Rise smoothly from 0 to 1 while t goes from -1/2 to 1/2."""
    return torch.sin(torch.pi / 2 * (t + 0.5).clamp(0, 1)) ** 2


def _batches(spans: list[Span], rows: int) -> list[list[Span]]:
    """Group tiles of one width into batches of about BATCH_PIXELS; `rows` is the height of all pictures together."""
    alike: dict[int, list[Span]] = {}
    for span in spans:
        alike.setdefault(span.end - span.start, []).append(span)
    batches = []
    for width, group in alike.items():
        count = max(1, BATCH_PIXELS // (rows * width))
        batches += [group[i : i + count] for i in range(0, len(group), count)]
    return batches


def _forward(network: nn.Module, inputs: list[Tensor], row: Span, batch: list[Span]) -> dict[str, Tensor]:
    parameter = next(network.parameters())
    pieces = (torch.cat([whole[..., row.start : row.end, span.start : span.end] for span in batch]) for whole in inputs)
    outputs = network(*(piece.to(parameter.device, parameter.dtype) for piece in pieces))
    return {name: output.float().cpu() for name, output in outputs.items()}


def _at_least(picture: Tensor, side: int) -> Tensor:
    """Pad a picture to a side by repeating its last row and column: reflecting padding needs a minimal size."""
    bottom, right = max(0, side - picture.shape[-2]), max(0, side - picture.shape[-1])
    return F.pad(picture, (0, right, 0, bottom), mode="replicate")


def _array(name: str, output: Tensor, rounded: bool) -> np.ndarray:
    if name == "image":
        output = (output * 255 + 0.5).floor().clamp(0, 255).to(torch.uint8) if rounded else output.clamp(0, 1)
    channels_last = output.permute(1, 2, 0).contiguous().numpy()
    return channels_last[..., 0] if name == "detail" and output.shape[0] == 1 else channels_last
