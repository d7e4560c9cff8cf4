"""The spectrogram sheet: how much of each frequency a restored picture has, beside the truth's own."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw

from acutance import storage
from acutance.evaluation.sheet import GAP, GREY, INK, LINE, MARGIN, PAPER, Panel, Strip, font
from acutance.imaging.colour import rgb_to_y
from acutance.imaging.frequency import high_frequency_share, spectrogram

WIDTH = 200
LEFT_OUT = {"LR", "detail layer"}
"""Panels of a picture sheet that have another size, or are no picture."""

LEGEND = (
    "log(1 + |F|) of luminance. Corners: even areas and slow changes; centre: the finest detail. The same greys in\n"
    "each row. The percentage is the share of energy beyond half the Nyquist frequency."
)


def spectrogram_sheet(uri: str, strips: Sequence[Strip], *, title: str) -> None:
    """Write the spectrograms of a picture sheet's restored pictures and truths as PNG, whole or not at all.

    Args:
        uri: a path or s3:// URI.
        strips: those of the picture sheet; at least one.
        title: one line.
    """
    rows = [[panel for panel in strip.panels if panel.heading not in LEFT_OUT] for strip in strips]
    height, columns = WIDTH + 3 * LINE, max(map(len, rows))
    size = (2 * MARGIN + columns * (WIDTH + GAP) - GAP, 2 * MARGIN + 5 * LINE + len(rows) * height)
    sheet = Image.new("RGB", (max(size[0], 760), size[1]), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, font=font(24))
    draw.multiline_text((MARGIN, MARGIN + 1.8 * LINE), LEGEND, GREY, font=font(14))
    for index, (strip, panels) in enumerate(zip(strips, rows, strict=True)):
        top = MARGIN + 4 * LINE + index * height
        draw.text((MARGIN, top), strip.title, INK, font=font(17))
        brightest = max(_spectrum(panel).max() for panel in panels)
        for place, panel in enumerate(panels):
            left = MARGIN + place * (WIDTH + GAP)
            draw.text((left, top + LINE + 4), panel.heading, INK, font=font(14))
            share = f"{100 * _share(panel):.3f} %"
            draw.text((left + WIDTH, top + LINE + 4), share, GREY, font=font(13), anchor="ra")
            sheet.paste(_shown(panel, brightest), (left, top + 2 * LINE + 2))
    file = io.BytesIO()
    sheet.save(file, format="PNG", optimize=True)
    storage.write_bytes(uri, file.getvalue())


def _spectrum(panel: Panel) -> np.ndarray:
    return spectrogram(_tensor(panel))[0].numpy()


def _share(panel: Panel) -> float:
    return float(high_frequency_share(rgb_to_y(_tensor(panel).double())))


def _tensor(panel: Panel) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(panel.pixels.transpose(2, 0, 1)))


def _shown(panel: Panel, brightest: float) -> Image.Image:
    grey = (255 * _spectrum(panel) / max(brightest, 1e-9)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(grey).resize((WIDTH, WIDTH), Image.Resampling.BOX).convert("RGB")
