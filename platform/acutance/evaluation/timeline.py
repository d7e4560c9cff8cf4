"""How a restorer changes while it is trained: the same parts of pictures after more and more steps, as one picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from acutance.evaluation.sheet import GAP, GREY, INK, LINE, MARGIN, PAPER, font

PANEL = 144
"""Width of a part of a picture in the sheet, in pixels."""


@dataclass(frozen=True)
class Column:
    """The parts of all pictures at one time, uint8 (h, w, 3); or of their bicubic enlargements, or the truth."""

    heading: str
    caption: str
    parts: Sequence[np.ndarray]


def timeline(columns: Sequence[Column], pictures: Sequence[str], *, title: str) -> bytes:
    """Return a sheet as the bytes of a PNG file: a row for each picture, a column for each time.

    Args:
        columns: at least one, each with as many parts as there are pictures.
        pictures: their names.
    """
    width = 2 * MARGIN + len(columns) * (PANEL + GAP) - GAP
    sheet = Image.new("RGB", (width, 2 * MARGIN + 4 * LINE + len(pictures) * (PANEL + LINE + GAP)), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, font=font(20))
    for index, column in enumerate(columns):
        left = MARGIN + index * (PANEL + GAP)
        draw.text((left, MARGIN + 2 * LINE), column.heading, INK, font=font(14))
        draw.text((left, MARGIN + 3 * LINE - 2), column.caption, GREY, font=font(13))
        for row, part in enumerate(column.parts):
            top = MARGIN + 4 * LINE + row * (PANEL + LINE + GAP)
            image = Image.fromarray(part)
            side = max(image.size)
            size = (image.width * PANEL // side, image.height * PANEL // side)
            sheet.paste(image.resize(size, Image.Resampling.NEAREST), (left, top + LINE))
            if index == 0:
                draw.text((left, top), pictures[row], INK, font=font(14))
    file = io.BytesIO()
    sheet.save(file, format="PNG", optimize=True)
    return file.getvalue()
