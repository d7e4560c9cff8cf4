"""Picture files at the edge of the house: any of them in, uint8 (H, W, 3) RGB out, or a reason why not.

What a file is, its content decides; its extension says nothing. Nothing doubtful is repaired: a picture is
read in full or refused.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from acutance import storage
from acutance.errors import DataError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm")
# Only these decoders are tried: others, such as PostScript, start programs.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
# Where Pillow itself takes a header for a decompression bomb; the pictures of DIV2K have under 4 million.
MAX_PIXELS = 178_956_970
ORIENTATION = 0x0112
BITS_PER_SAMPLE = 258


class PictureError(DataError):
    """One picture that cannot be used; `what` is the reason."""


def read_picture(source: str | Path | bytes, *, minimum_side: int = 2) -> np.ndarray:
    """Return a picture as uint8 (H, W, 3), RGB, upright.

    Grey becomes three equal channels; palettes and CMYK become RGB; 16 bits become 8 (`round(x / 257)`); an
    alpha channel is dropped where all of it is opaque; the EXIF orientation is applied.

    Args:
        source: a path, an s3:// URI, or the bytes of the file.
        minimum_side: the fewest pixels that either side may have.

    Raises:
        PictureError: for a file that is missing, empty, truncated, corrupt, no picture, transparent, several
            pictures, of another depth, larger than `MAX_PIXELS` or smaller than `minimum_side`.
    """
    where = None if isinstance(source, bytes) else str(source)
    try:
        content = source if isinstance(source, bytes) else _read_bytes(str(source))
        pixels = _decode(content)
        if min(pixels.shape[:2]) < minimum_side:
            size = f"{pixels.shape[1]}x{pixels.shape[0]}"
            raise PictureError(f"it is {size} pixels, less than {minimum_side} on a side")
    except PictureError as error:
        fix = "mend, replace or remove this file"
        raise PictureError(error.what, where=where, fix=fix) from error.__cause__
    return pixels


def write_picture(path: str | Path, pixels: np.ndarray) -> None:
    """Write uint8 (H, W, 3) or (H, W) as a PNG, whole or not at all, to a path or an s3:// URI.

    Raises:
        ValueError: for an array of another type or shape.
    """
    storage.write_bytes(str(path), encode_png(pixels))


def encode_png(pixels: np.ndarray) -> bytes:
    """Return uint8 (H, W, 3) or (H, W) as the bytes of a PNG file.

    Raises:
        ValueError: for an array of another type or shape.
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise ValueError(f"a picture is uint8 (H, W, 3) or (H, W), not {pixels.dtype} {pixels.shape}")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def _read_bytes(uri: str) -> bytes:
    try:
        return storage.read_bytes(uri)
    except FileNotFoundError:
        raise PictureError("there is no such file") from None
    except OSError as error:
        raise PictureError(f"the file cannot be read: {error.strerror or error}") from error


def _decode(content: bytes) -> np.ndarray:
    if not content:
        raise PictureError("the file is empty")
    try:
        _open(content).verify()  # the check sums of all chunks of a PNG; decoding alone does not look at them
        image = _open(content)
        _refuse_unusual(image)
        pixels = _to_8_bits(_decode_deep(content, image)) if _is_deep(image) else _to_rgb(image)
        orientation = image.getexif().get(ORIENTATION, 1)  # read last: Pillow turns a TIFF as it loads it
    except PictureError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(f"it claims more than {MAX_PIXELS // 10**6} megapixels") from None
    except Image.UnidentifiedImageError:
        raise PictureError("it is no picture in a known format (PNG, JPEG, TIFF, BMP, WebP, PPM)") from None
    except Exception as error:  # decoders raise nearly anything on hostile bytes
        raise PictureError(f"it is corrupt or truncated ({_first_line(error)})") from error
    return np.ascontiguousarray(_upright(pixels, orientation))


def _open(content: bytes) -> ImageFile:
    Image.init()  # or decoders besides the commonest would be missing
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    return image


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


def _decode_deep(content: bytes, image: ImageFile) -> np.ndarray:
    """Return uint16 (H, W, channels) with all 16 bits; Pillow would cut colour to 8 without rounding."""
    if "transparency" in image.info:
        raise PictureError("one of its 16-bit colours is transparent, and what lies behind it is unknown")
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.uint16)[..., None]
    if image.format == "TIFF":
        import tifffile

        return _channels_last(tifffile.imread(io.BytesIO(content)))
    import torch
    from torchvision.io import ImageReadMode, decode_image

    encoded = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return decode_image(encoded, mode=ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()


def _channels_last(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise PictureError(f"this layout of a 16-bit TIFF is not read ({pixels.dtype} {pixels.shape})")
    return pixels


def _to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """Return uint8 (H, W, 3) for uint16 (H, W, 1 to 4): `round(x / 257)` maps 0..65535 onto 0..255 evenly."""
    if pixels.shape[2] in (2, 4):
        _refuse_transparent(pixels[..., -1], 65535)
        pixels = pixels[..., :-1]
    small = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.broadcast_to(small, (*small.shape[:2], 3))


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        pixels = np.asarray(image.convert("RGBA"))
        _refuse_transparent(pixels[..., 3], 255)
        return pixels[..., :3]
    return np.asarray(image.convert("RGB"))


def _refuse_transparent(alpha: np.ndarray, opaque: int) -> None:
    if (alpha != opaque).any():
        raise PictureError("it is partly transparent, and what lies behind it is unknown")


def _upright(pixels: np.ndarray, orientation: Any) -> np.ndarray:
    """Undo the EXIF orientation (1 to 8; anything else is taken as upright)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
