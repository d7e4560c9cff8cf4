"""A picture file in full: its pixels at their own depth, grey or colour, its transparency, and which colours it means.

What a file is, its content decides; its extension says nothing. Nothing doubtful is repaired: a picture is
read in full or refused.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms
from PIL.ImageFile import ImageFile

from acutance.data.decoding import PIECE, LateError, TimedFile, count_scans
from acutance.errors import DataError
from acutance.limits import VARIABLE, Limits, limits

# Only these decoders are tried: others, such as PostScript, start programs.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
ORIENTATION = 0x0112
BITS_PER_SAMPLE = 258
TILE_WIDTH, TILE_LENGTH = 322, 323
PNG_COLOUR = (b"cICP", b"cHRM", b"gAMA", b"sRGB")
SPACES = {1: b"GRAY", 3: b"RGB "}


class PictureError(DataError):
    """One picture that cannot be used; `what` is the reason."""


class NoPictureError(PictureError):
    """Bytes that are no picture in a format that is read."""


class PictureTooLargeError(PictureError):
    """A picture that claims more than the limits, in pixels, decoded bytes, passes or time."""

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what, where=where, fix=fix or f"leave it out, or raise the limit in {VARIABLE}")


@dataclass(frozen=True)
class Layers:
    """A picture, upright.

    Attributes:
        pixels: (H, W, 1) grey or (H, W, 3) RGB; uint8, or uint16 over all of 0..65535.
        alpha: (H, W) of the same dtype, 0 where nothing is seen; None where the file has no transparency.
        profile: the ICC profile of the pixels.
        colour: what a PNG file says about its colours besides the profile: name and content of its chunks.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    profile: bytes | None = None
    colour: tuple[tuple[bytes, bytes], ...] = ()


def read_layers(content: bytes, *, formats: Sequence[str] = FORMATS, within: Limits | None = None) -> Layers:
    """Decode the bytes of a picture file.

    Palettes become RGB; one bit becomes grey; a colour that the file declares transparent becomes an alpha channel;
    CMYK becomes sRGB, by its profile where it has one; the EXIF orientation is applied.

    Args:
        formats: the decoders to try, of FORMATS.
        within: what is over these limits is refused before anything is decoded; None: those of this process.

    Raises:
        NoPictureError: for bytes that are no picture, or none.
        PictureTooLargeError: for one that is over the limits.
        PictureError: for a file that is truncated, corrupt, several pictures, or of another depth.
        ConfigError: for limits in the environment that are none.
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


def _read(content: bytes, formats: Sequence[str], within: Limits) -> Layers:
    file = TimedFile(content, within.seconds)
    _open(file, formats, within).verify()  # the check sums of a PNG: decoding alone does not look at them
    file.seek(0)
    image = _open(file, formats, within)
    _refuse_unusual(image)
    pixels, alpha = _deep(content, image) if _is_deep(image) else _of_8_bits(image)
    orientation = image.getexif().get(ORIENTATION, 1)  # read last: Pillow turns a TIFF as it loads it
    profile = _profile(image, pixels.shape[2])
    colour = _png_colour(content) if image.format == "PNG" else ()
    return Layers(
        _upright(pixels, orientation), None if alpha is None else _upright(alpha, orientation), profile, colour
    )


def _open(file: TimedFile, formats: Sequence[str], within: Limits) -> ImageFile:
    Image.init()  # or decoders besides the commonest would be missing
    if Image.MAX_IMAGE_PIXELS is not None:  # Pillow's own limit, which would refuse what ours allow
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, int(within.megapixels * 1e6))
    image = Image.open(file, formats=tuple(formats))
    image.decodermaxblock = PIECE
    _refuse_too_large(image, file, within)
    return image


def _refuse_too_large(image: ImageFile, file: TimedFile, within: Limits) -> None:
    pixels = image.width * image.height
    if pixels > within.megapixels * 1e6:
        raise _too_many_pixels(within)
    if image.format == "TIFF":  # a tile is decoded as a whole, however little of it the picture shows
        tags = image.tag_v2  # type: ignore[attr-defined]
        pixels = max(pixels, int(tags.get(TILE_WIDTH, 0)) * int(tags.get(TILE_LENGTH, 0)))
    if pixels * len(image.getbands()) * (2 if _is_deep(image) else 1) > within.megabytes * 1e6:
        raise PictureTooLargeError(f"its pixels take more than {within.megabytes:g} megabytes once decoded")
    if image.format in ("JPEG", "MPO") and (scans := count_scans(file.getvalue())) > within.scans:
        raise PictureTooLargeError(f"it is a JPEG of {scans} scans, more than {within.scans}")


def _too_many_pixels(within: Limits) -> PictureTooLargeError:
    return PictureTooLargeError(f"it claims more than {within.megapixels:.3g} megapixels")


def _spoken(form: str) -> str:
    return "WebP" if form == "WEBP" else form


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _refuse_unusual(image: ImageFile) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # cameras append a preview to a JPEG and call it MPO
        raise PictureError(f"it holds {frames} pictures, not one")
    if image.mode not in MODES and not _is_deep(image):
        raise PictureError(f"its pixels are of a kind ({image.mode}) other than 8 or 16 bits, grey or colour")


def _is_deep(image: ImageFile) -> bool:
    """Tell whether the file has 16 bits a channel, whatever Pillow would make of them."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return True
    if image.format == "TIFF" and image.mode in ("RGB", "RGBA"):
        return max(image.tag_v2.get(BITS_PER_SAMPLE, (8,))) == 16  # type: ignore[attr-defined]
    return image.format == "PNG" and "16B" in str(image.tile[0].args)


def _of_8_bits(image: ImageFile) -> tuple[np.ndarray, np.ndarray | None]:
    channels = 1 if image.mode in ("1", "L", "LA") else 3
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        pixels = np.asarray(image.convert("RGBA"))
        return pixels[..., :channels], pixels[..., 3]
    if channels == 1:
        return np.asarray(image.convert("L"))[..., None], None
    return np.asarray(_from_cmyk(image) if image.mode == "CMYK" else image.convert("RGB")), None


def _from_cmyk(image: ImageFile) -> Image.Image:
    profile = image.info.get("icc_profile")
    if not profile:
        return image.convert("RGB")
    inks, screen = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, inks, screen, outputMode="RGB")
    assert converted is not None  # None is for conversions in place
    return converted


def _deep(content: bytes, image: ImageFile) -> tuple[np.ndarray, np.ndarray | None]:
    pixels = _decode_deep(content, image)
    if "transparency" in image.info:
        hidden = (pixels == np.asarray(image.info["transparency"])).all(axis=2)
        return pixels, np.where(hidden, 0, 65535).astype(np.uint16)
    if pixels.shape[2] in (2, 4):
        return pixels[..., :-1], pixels[..., -1]
    return pixels, None


def _decode_deep(content: bytes, image: ImageFile) -> np.ndarray:
    """Return uint16 (H, W, channels) with all 16 bits; Pillow would cut colour to 8 without rounding."""
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.uint16)[..., None]
    if image.format == "TIFF":
        import tifffile

        with tifffile.TiffFile(io.BytesIO(content)) as file:
            # Not `imread`: that believes what OME and others write beside the picture about its size.
            return _channels_last(file.pages[0].asarray())
    import torch
    from torchvision.io import ImageReadMode, decode_image

    encoded = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return decode_image(encoded, mode=ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()


def _channels_last(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise PictureError(f"this layout of a 16-bit TIFF is not read ({pixels.dtype} {pixels.shape})")
    return pixels


def _profile(image: ImageFile, channels: int) -> bytes | None:
    """Return the ICC profile where it is one of the pixels as they are now."""
    profile = image.info.get("icc_profile")
    return profile if profile and profile[16:20] == SPACES[channels] else None


def _png_colour(content: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Return the colour chunks of a PNG that was verified; they come before its pixels."""
    found, start = [], 8
    while (kind := content[start + 4 : start + 8]) not in (b"IDAT", b"IEND", b""):
        size = int.from_bytes(content[start : start + 4])
        if kind in PNG_COLOUR:
            found.append((kind, content[start + 8 : start + 8 + size]))
        start += size + 12
    return tuple(found)


def _upright(pixels: np.ndarray, orientation: Any) -> np.ndarray:
    """Undo the EXIF orientation (1 to 8; anything else is taken as upright)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
