"""Decodes a picture file: pixels at their own depth, grey or colour, transparency, colour profile and metadata.

The content decides the format, not the extension. Damaged files are not repaired: a picture is decoded completely or
refused.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms
from PIL.ImageFile import ImageFile

from acutance.config.limits import VARIABLE, Limits, limits
from acutance.data import tiff
from acutance.data.decode_limits import PIECE, LateError, TimedFile, count_scans
from acutance.data.metadata import NO_METADATA, ORIENTATION, Metadata, about
from acutance.data.png import SIGNATURE
from acutance.data.png_chunks import Png, claimed_pixels, take_apart
from acutance.errors import DataError

# Only these decoders are tried: others, such as PostScript, start programs.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
PROFILE = 34675  # the tag of a TIFF
SPACES = {1: b"GRAY", 3: b"RGB "}


class PictureError(DataError):
    """One picture that cannot be used; `what` is the reason."""


class NoPictureError(PictureError):
    """Bytes that are no picture in a format that is read."""


class PictureTooLargeError(PictureError):
    """A picture beyond the limits: of pixels, decoded bytes, JPEG scans or time."""

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what, where=where, fix=fix or f"leave it out, or raise the limit in {VARIABLE}")


@dataclass(frozen=True)
class DecodedImage:
    """A picture, upright.

    Attributes:
        pixels: (H, W, 1) grey or (H, W, 3) RGB; uint8, or uint16 over all of 0..65535.
        alpha: (H, W) of the same dtype, 0 where transparent; None where the file has no transparency.
        profile: the ICC profile of the pixels.
        colour: name and content of the chunks of a PNG file about its colours, without the profile.
        about: camera, date, copyright and the like.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    profile: bytes | None = None
    colour: tuple[tuple[bytes, bytes], ...] = ()
    about: Metadata = NO_METADATA


def decode_image(content: bytes, *, formats: Sequence[str] = FORMATS, within: Limits | None = None) -> DecodedImage:
    """Decode the bytes of a picture file.

    Palettes become RGB; one bit becomes grey; a colour that the file declares transparent becomes an alpha channel;
    CMYK becomes sRGB, by its profile where it has one; the EXIF orientation is applied.

    Args:
        formats: the decoders to try, of FORMATS.
        within: limits, which are checked before anything is decoded; None: those of this process.

    Raises:
        NoPictureError: for bytes that are no picture, or none.
        PictureTooLargeError: for one that is over the limits.
        PictureError: for a file that is truncated or corrupt, holds several pictures, or has another depth.
        ConfigError: for invalid limits in the environment.
    """
    if not content:
        raise NoPictureError("the file is empty")
    within = within or limits()
    try:
        return _read(content, formats, within)
    except PictureError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many_pixels(within) from None
    except LateError:
        raise PictureTooLargeError(f"it takes longer than {within.seconds:g} seconds to decode") from None
    except Image.UnidentifiedImageError:
        raise NoPictureError(f"it is no picture in a known format ({', '.join(map(_spoken, formats))})") from None
    except Exception as error:  # decoders raise nearly anything on hostile bytes
        raise PictureError(f"it is corrupt or truncated ({_first_line(error)})") from error


def _read(content: bytes, formats: Sequence[str], within: Limits) -> DecodedImage:
    if content.startswith(tiff.STARTS) and "TIFF" in formats:
        page = tiff.open_page(content, within.seconds)
        _refuse_too_large(page.imagewidth * page.imagelength, tiff.decoded_bytes(page), within)
        _refuse_several(tiff.count_pictures(page))
        if tiff.is_read(page):
            return _by_tifffile(page, content, within)
    png = None
    if content.startswith(SIGNATURE) and "PNG" in formats:
        _refuse_too_large(claimed_pixels(content), 0, within)
        png = take_apart(content)
    image = _open(png.pixels if png else content, formats, within)
    if image.format not in ("MPO", "TIFF"):  # cameras append a preview to a JPEG and call it MPO
        _refuse_several(getattr(image, "n_frames", 1))
    return _by_pillow(image, png or Png(profile=image.info.get("icc_profile"), xmp=image.info.get("xmp")))


def _open(content: bytes, formats: Sequence[str], within: Limits) -> ImageFile:
    Image.init()  # registers all decoders
    if Image.MAX_IMAGE_PIXELS is not None:  # Pillow's own limit, which would refuse what ours allow
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, int(within.megapixels * 1e6))
    image = Image.open(TimedFile(content, within.seconds), formats=tuple(formats))
    image.decodermaxblock = PIECE
    pixels = image.width * image.height
    _refuse_too_large(pixels, pixels * len(image.getbands()) * (2 if _is_deep(image) else 1), within)
    if image.format in ("JPEG", "MPO") and (scans := count_scans(content)) > within.scans:
        raise PictureTooLargeError(f"it is a JPEG of {scans} scans, more than {within.scans}")
    return image


def _refuse_too_large(pixels: int, decoded: int, within: Limits) -> None:
    if pixels > within.megapixels * 1e6:
        raise _too_many_pixels(within)
    if decoded > within.megabytes * 1e6:
        raise PictureTooLargeError(f"its pixels take more than {within.megabytes:g} megabytes once decoded")


def _too_many_pixels(within: Limits) -> PictureTooLargeError:
    return PictureTooLargeError(f"it claims more than {within.megapixels:.3g} megapixels")


def _refuse_several(pictures: int) -> None:
    if pictures > 1:
        raise PictureError(f"it holds {pictures} pictures, not one")


def _spoken(form: str) -> str:
    return "WebP" if form == "WEBP" else form


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _by_tifffile(page: Any, content: bytes, within: Limits) -> DecodedImage:
    tags = {code: tag.value for code in (ORIENTATION, PROFILE) if (tag := page.tags.get(code))}
    pixels, alpha = tiff.read_page(page)
    if pixels.shape[2] == 4:
        inks = Image.frombytes("CMYK", pixels.shape[1::-1], to_8_bits(pixels).tobytes())
        pixels, alpha = np.asarray(_from_cmyk(inks, tags.get(PROFILE))), None if alpha is None else to_8_bits(alpha)
    metadata = NO_METADATA
    with suppress(Image.UnidentifiedImageError):  # Pillow knows fewer pixel formats, but reads the metadata
        _, metadata = _metadata_of(_open(content, ["TIFF"], within))
    return _upright(
        pixels, alpha, tags.get(ORIENTATION, 1), profile=_profile(tags.get(PROFILE), pixels), about=metadata
    )


def _by_pillow(image: ImageFile, png: Png) -> DecodedImage:
    if image.mode not in MODES and not _is_deep(image):
        raise PictureError(f"its pixels are of a kind ({image.mode}) other than 8 or 16 bits, grey or colour")
    if png.xmp:
        image.info["xmp"] = png.xmp
    # Loading removes the orientation of a TIFF; in a PNG it may follow the pixels.
    early = _metadata_of(image) if image.format == "TIFF" else None
    pixels, alpha = _deep(png.pixels, image) if _is_deep(image) else _of_8_bits(image, png.profile)
    turned, metadata = early or _metadata_of(image)
    profile = _profile(png.profile, pixels)
    return _upright(pixels, alpha, turned, profile=profile, colour=tuple(png.colour), about=metadata)


def _metadata_of(image: ImageFile) -> tuple[Any, Metadata]:
    """Return a picture's EXIF orientation and its other metadata."""
    exif = image.getexif()
    return exif.get(ORIENTATION, 1), about(exif, image.info.get("xmp"), image.info.get("dpi"))


def _is_deep(image: ImageFile) -> bool:
    """Return whether the file has 16 bits a channel."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return True
    return image.format == "PNG" and "16B" in str(image.tile[0].args)


def _of_8_bits(image: ImageFile, profile: bytes | None) -> tuple[np.ndarray, np.ndarray | None]:
    channels = 1 if image.mode in ("1", "L", "LA") else 3
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        pixels = np.asarray(image.convert("RGBA"))
        return pixels[..., :channels], pixels[..., 3]
    if channels == 1:
        return np.asarray(image.convert("L"))[..., None], None
    return np.asarray(_from_cmyk(image, profile) if image.mode == "CMYK" else image.convert("RGB")), None


def _from_cmyk(image: Image.Image, profile: bytes | None) -> Image.Image:
    if not profile:
        return image.convert("RGB")
    inks, screen = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, inks, screen, outputMode="RGB")
    assert converted is not None  # None is for conversions in place
    return converted


def _deep(png: bytes, image: ImageFile) -> tuple[np.ndarray, np.ndarray | None]:
    """Return uint16 pixels with all 16 bits, and alpha; Pillow would cut colour to 8 without rounding."""
    if image.format != "PNG":
        return np.asarray(image).astype(np.uint16)[..., None], None
    from imagecodecs import png_decode  # few pictures need it

    pixels = np.atleast_3d(png_decode(png))
    return (pixels[..., :-1], pixels[..., -1]) if pixels.shape[2] in (2, 4) else (pixels, None)


def to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """Return uint8; `round(x / 257)` maps 0..65535 onto 0..255 evenly."""
    return pixels if pixels.dtype == np.uint8 else ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _profile(profile: Any, pixels: np.ndarray) -> bytes | None:
    """Return the ICC profile if its colour space is that of the decoded pixels."""
    return profile if profile and profile[16:20] == SPACES[pixels.shape[2]] else None


def _upright(pixels: np.ndarray, alpha: np.ndarray | None, orientation: Any, **more: Any) -> DecodedImage:
    """Undo the EXIF orientation (1 to 8; anything else is taken as upright)."""

    def turned(plane: np.ndarray) -> np.ndarray:
        if orientation in (5, 6, 7, 8):
            plane = plane.swapaxes(0, 1)
        if orientation in (3, 4, 7, 8):
            plane = plane[::-1]
        if orientation in (2, 3, 6, 7):
            plane = plane[:, ::-1]
        return np.ascontiguousarray(plane)

    return DecodedImage(turned(pixels), None if alpha is None else turned(alpha), **more)
