"""TIFF files of 8 and 16 bits a channel, grey, RGB or CMYK; Pillow reads the others.

Only the first page is read, by its own tags; metadata of OME and others about its size are ignored.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from acutance.data.decode_limits import TimedFile

if TYPE_CHECKING:
    from tifffile import TiffPage

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
CHANNELS = {"MINISWHITE": 1, "MINISBLACK": 1, "RGB": 3, "SEPARATED": 4}
ASSOCIATED, UNASSOCIATED = 1, 2
MOST_PAGES = 100
REDUCED, MASK = 1, 4
"""Kinds of pages beside a picture, as bits of a tag: itself smaller, and its transparency."""


def open_page(content: bytes, seconds: float) -> TiffPage:
    """Return the first page of a TIFF file, not decoded yet; reading it is limited to `seconds`.

    Raises:
        Exception: of many kinds, for a file that is damaged.
    """
    import tifffile

    page = tifffile.TiffFile(TimedFile(content, seconds)).pages[0]
    assert isinstance(page, tifffile.TiffPage)  # a frame is a later page
    return page


def count_pictures(page: TiffPage) -> int:
    """Return how many pictures the file has, up to MOST_PAGES; smaller copies and masks are none."""
    found = 1
    for number in count(1):
        try:
            other = page.parent.pages.get(number)
        except IndexError:
            return found
        found += not int(getattr(other, "subfiletype", 0)) & (REDUCED | MASK)
        if number == MOST_PAGES:
            return found
    raise AssertionError


def decoded_bytes(page: TiffPage) -> int:
    """Return how many bytes are decoded at least: a tile as a whole, however little of it the picture shows."""
    pixels = max(page.imagewidth * page.imagelength, page.tilewidth * page.tilelength)
    return pixels * page.samplesperpixel * max(1, -(-_depth(page) // 8))


def is_read(page: TiffPage) -> bool:
    """Return whether `read_page` can decode a page that is not damaged."""
    return _depth(page) in (8, 16) and page.sampleformat in (1, 4) and _kind(page) in CHANNELS


def _kind(page: TiffPage) -> str:
    return str(getattr(page.photometric, "name", page.photometric))  # a number, where it is none that is known


def _depth(page: TiffPage) -> int:
    return page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)


def read_page(page: TiffPage) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode a page of 8 or 16 bits.

    Returns:
        uint8 or uint16 (H, W, 1) grey, (H, W, 3) RGB or (H, W, 4) CMYK, in which white is the highest value but for
        CMYK; and alpha (H, W); pixels are not multiplied by it.

    Raises:
        ValueError: for fewer channels than its colours have.
        Exception: of many kinds, for a file that is damaged.
    """
    kind = _kind(page)
    colours = CHANNELS[kind]
    if page.samplesperpixel < colours:
        raise ValueError(f"{page.samplesperpixel} channels are no {kind}")
    pixels = page.asarray().reshape(_whole_shape(page))
    pixels = np.moveaxis(pixels, 0, -1) if page.planarconfig == 2 else pixels
    seen, alpha = pixels[..., :colours], _alpha(page, pixels, colours)
    if kind == "MINISWHITE":
        seen = np.iinfo(seen.dtype).max - seen
    if alpha is not None and ASSOCIATED in page.extrasamples:
        seen = _divided(seen, alpha)
    return seen, alpha


def _whole_shape(page: TiffPage) -> tuple[int, int, int]:
    size, samples = (page.imagelength, page.imagewidth), page.samplesperpixel
    return (samples, *size) if page.planarconfig == 2 else (*size, samples)


def _alpha(page: TiffPage, pixels: np.ndarray, colours: int) -> np.ndarray | None:
    """Return the first extra channel that is marked as alpha; others have no known meaning."""
    for channel, kind in enumerate(page.extrasamples, colours):
        if kind in (ASSOCIATED, UNASSOCIATED) and channel < pixels.shape[2]:
            return pixels[..., channel]
    return None


def _divided(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Undo the multiplication by alpha; fully transparent pixels stay as they are."""
    most = np.iinfo(pixels.dtype).max
    share = np.where(alpha == 0, most, alpha)[..., None] / most
    return np.floor(pixels / share + 0.5).clip(0, most).astype(pixels.dtype)
