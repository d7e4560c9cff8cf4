"""The picture sheet: for each picture a strip of small whole ones, and below it a part of them enlarged."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import uniform_filter

from acutance import storage
from acutance.data.pictures import read_picture
from acutance.evaluation.pictures import INPUT, LR, picture_file
from acutance.evaluation.results import GROUND_TRUTH, Evaluation
from acutance.imaging.colour import rgb_to_y
from acutance.imaging.frequency import highpass

ZOOM = 3
WIDTHS = (240, 216, 192, 168, 132)
"""Widths of a panel to try in turn until the file is small enough."""

LARGEST_FILE = 3_000_000
MOST_PICTURES = 8
GAP, MARGIN, LINE = 10, 28, 22
PAPER, INK, GREY, FRAME = (255, 255, 255), (24, 24, 24), (110, 110, 110), (255, 196, 0)


@dataclass(frozen=True)
class Panel:
    """One column of a strip: uint8 (H, W, 3), no larger than the truth."""

    heading: str
    caption: str
    pixels: np.ndarray


@dataclass(frozen=True)
class Strip:
    """One picture of the sheet; `region` is the centre (row, column) of the enlarged part in the truth."""

    title: str
    panels: tuple[Panel, ...]
    region: tuple[int, int]


def strips_of(evaluation: Evaluation, pictures_at: str) -> list[Strip]:
    """Return the strips of an evaluation: LR, the candidates, the ground truth, the detail layer of the last.

    LR is left out where it is the candidate INPUT.

    Args:
        pictures_at: where `evaluate` kept its pictures (its `pictures_to`).

    Raises:
        DataError: when they are not there.
    """
    keys = evaluation.pictures()
    chosen = keys[:: -(-len(keys) // MOST_PICTURES)]
    return [_strip(evaluation, pictures_at, dataset, picture) for dataset, picture in chosen]


def picture_sheet(uri: str, strips: Sequence[Strip], *, title: str) -> None:
    """Write a sheet as PNG of less than 3 MB, whole or not at all.

    Args:
        uri: a path or s3:// URI.
        strips: at least one; all with the same columns.
        title: one line.
    """
    for width in WIDTHS:
        file = io.BytesIO()
        _render(strips, title, width).save(file, format="PNG", optimize=True)
        if file.tell() <= LARGEST_FILE:
            break
    storage.write_bytes(uri, file.getvalue())


def sharpest(picture: np.ndarray, side: int) -> tuple[int, int]:
    """Return the centre (row, column) of the square of a picture that holds the most fine detail.

    Args:
        picture: uint8 (H, W, 3).
        side: of the square in pixels; it lies inside the picture, or in its middle where that is too small.
    """
    height, width = picture.shape[:2]
    half = side // 2
    if min(height, width) <= 2 * half:
        return height // 2, width // 2
    luma = rgb_to_y(torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float64)))
    energy = uniform_filter(highpass(luma, cutoff=0.25)[0].numpy() ** 2, 2 * half)
    inside = energy[half : height - half, half : width - half]
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(row) + half, int(column) + half


def region(lr: np.ndarray, truth: np.ndarray, side: int = WIDTHS[0] // ZOOM) -> tuple[int, int]:
    """Return where in the truth to look: where the LR has edges, for there restorers differ.

    An LR of the truth's size may have noise all over, and shows less than the truth where they are.

    Args:
        lr: of the truth's size or smaller by a whole number; both as `sharpest` takes them.
        side: of the square that is looked at, in pixels of the truth.
    """
    scale = truth.shape[0] // lr.shape[0]
    if scale == 1:
        return sharpest(truth, side)
    row, column = sharpest(lr, max(side // scale, 1))
    return row * scale, column * scale


def _strip(evaluation: Evaluation, root: str, dataset: str, picture: str) -> Strip:
    def kept(name: str) -> np.ndarray:
        return read_picture(picture_file(root, dataset, picture, name), minimum_side=1)

    candidates = [name for name in evaluation.candidates if name != GROUND_TRUTH]
    truth, lr = kept(GROUND_TRUTH), kept(LR)
    # The input is the very picture that was given.
    panels = [] if INPUT in candidates else [Panel("LR", f"{lr.shape[1]} x {lr.shape[0]} pixels", lr)]
    for name in candidates:
        value = evaluation.values(name, "psnr_y").get((dataset, picture))
        panels.append(Panel(name, "" if value is None else f"PSNR-Y {value:.2f} dB", kept(name)))
    panels.append(Panel(GROUND_TRUTH, f"{truth.shape[1]} x {truth.shape[0]} pixels", truth))
    for name in reversed(candidates):
        if storage.exists(picture_file(root, dataset, picture, f"{name}.detail")):
            panels.append(Panel("detail layer", f"of {name}", kept(f"{name}.detail")))
            break
    return Strip(picture, tuple(panels), region(lr, truth))


def _render(strips: Sequence[Strip], title: str, width: int) -> Image.Image:
    heights = [max(_fitted(p, width).height for p in strip.panels) + width + 4 * LINE + GAP for strip in strips]
    columns = max(len(strip.panels) for strip in strips)
    size = (2 * MARGIN + columns * width + (columns - 1) * GAP, 2 * MARGIN + 4 * LINE + sum(heights))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, font=font(24))
    draw.text((MARGIN, MARGIN + 1.6 * LINE), _legend(strips), GREY, font=font(14))
    top = MARGIN + 3 * LINE + GAP
    for strip, height in zip(strips, heights, strict=True):
        _draw_strip(sheet, draw, strip, top, width)
        top += height
    return sheet


def _legend(strips: Sequence[Strip]) -> str:
    text = (
        f"{strips[0].panels[0].heading} is what was given. Below each picture its framed part, {ZOOM} times enlarged."
    )
    details = [panel.pixels for strip in strips for panel in strip.panels if panel.heading == "detail layer"]
    if any(np.ptp(pixels, axis=-1).any() for pixels in details):
        text += " Detail layer: the difference that is added; grey 0, white 1/2, black -1/2 of the whole range."
    elif details:
        text += " Detail layer: the factor by which brightness is multiplied; grey 1, white 4, black 1/4."
    return text


def _draw_strip(sheet: Image.Image, draw: ImageDraw.ImageDraw, strip: Strip, top: int, width: int) -> None:
    draw.line((MARGIN, top, sheet.width - MARGIN, top), fill=(220, 220, 220))
    draw.text((MARGIN, top + 6), strip.title, INK, font=font(17))
    below = top + 2 * LINE + 6
    tallest = max(_fitted(panel, width).height for panel in strip.panels)
    truth = max(panel.pixels.shape[0] for panel in strip.panels)
    for index, panel in enumerate(strip.panels):
        left = MARGIN + index * (width + GAP)
        whole = _fitted(panel, width)
        draw.text((left, below - LINE + 2), panel.heading, INK, font=font(14))
        if panel.caption:
            draw.text((left + width, below - LINE + 2), panel.caption, GREY, font=font(13), anchor="ra")
        sheet.paste(whole, (left, below))
        _frame(draw, strip.region, whole.height / truth, width // ZOOM, (left, below))
        enlarged = _enlarged(panel, strip.region, truth, width)
        sheet.paste(enlarged, (left, below + tallest + GAP))


def _fitted(panel: Panel, width: int) -> Image.Image:
    """The whole picture inside a square of this width; pixels stay visible where it must grow."""
    image = Image.fromarray(panel.pixels)
    ratio = min(width / image.width, width / image.height)
    size = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
    return image.resize(size, Image.Resampling.NEAREST if ratio >= 1 else Image.Resampling.LANCZOS)


def _enlarged(panel: Panel, region: tuple[int, int], truth: int, width: int) -> Image.Image:
    """The square around `region`, each pixel of the truth `ZOOM` pixels wide."""
    factor = panel.pixels.shape[0] / truth
    side = width / ZOOM * factor
    top, left = region[0] * factor - side / 2, region[1] * factor - side / 2
    image = Image.fromarray(panel.pixels)
    box = (left, top, left + side, top + side)
    return image.transform((width, width), Image.Transform.EXTENT, box, Image.Resampling.NEAREST, fillcolor=PAPER)


def _frame(
    draw: ImageDraw.ImageDraw, region: tuple[int, int], ratio: float, side: int, corner: tuple[int, int]
) -> None:
    row, column, half = corner[1] + region[0] * ratio, corner[0] + region[1] * ratio, side * ratio / 2
    box = (column - half, row - half, column + half, row + half)
    draw.rectangle((box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1), outline=(0, 0, 0))
    draw.rectangle(box, outline=FRAME, width=2)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font of all sheets."""
    return ImageFont.load_default(size)
