"""Files as cameras, scanners and programs write them: each has the pixels of its upright twin."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from acutance.data.decode import DecodedImage, decode_image

HEIGHT, WIDTH = 24, 36
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH] / [[[HEIGHT]], [[WIDTH]]]
SMOOTH = np.dstack([ROWS, COLUMNS, (ROWS + COLUMNS) / 2])
DEEP = np.round(SMOOTH * 65535).astype(np.uint16)
RGB = np.round(SMOOTH * 255).astype(np.uint8)
GREY, DEEP_GREY = RGB[..., 2], DEEP[..., 2]
BITS = GREY > 127
PICTURE = Image.fromarray(RGB)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LONG = "much to say " * 200_000
JPEG_LOSS = 12

Variant = tuple[bytes, np.ndarray, int]
"""A file, its pixels, and by how much they may differ."""


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def tiff(pixels: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    colours = "rgb" if pixels.ndim == 3 else "minisblack"
    tifffile.imwrite(file, pixels, **{"photometric": colours, "metadata": None, **options})
    return file.getvalue()


def with_channel(pixels: np.ndarray, value: int) -> np.ndarray:
    return np.dstack([pixels, np.full(pixels.shape[:2], value, pixels.dtype)])


def tiffs() -> Iterator[tuple[str, Variant]]:
    kinds = {"8 bits": RGB, "8 bits grey": GREY, "16 bits": DEEP, "16 bits grey": DEEP_GREY}
    for kind, pixels in kinds.items():
        for compression in ("none", "lzw", "zlib", "zstd", "packbits", "lzma"):
            yield f"TIFF {kind} {compression}", (tiff(pixels, compression=compression), pixels, 0)
        for compression in ("lzw", "zlib", "zstd"):
            content = tiff(pixels, compression=compression, predictor=True)
            yield f"TIFF {kind} {compression} predicted", (content, pixels, 0)
        yield f"TIFF {kind} tiles", (tiff(pixels, tile=(16, 16), compression="zlib"), pixels, 0)
        yield f"TIFF {kind} BigTIFF", (tiff(pixels, bigtiff=True), pixels, 0)
        yield f"TIFF {kind} big-endian", (tiff(pixels, byteorder=">"), pixels, 0)
        yield f"TIFF {kind} strips of one row", (tiff(pixels, rowsperstrip=1, compression="lzw"), pixels, 0)
    for kind, pixels in {"8 bits": RGB, "16 bits": DEEP}.items():
        planes = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
        yield f"TIFF {kind} planes", (tiff(planes, planarconfig="separate", compression="lzw"), pixels, 0)
        most = np.iinfo(pixels.dtype).max
        for extra in ("unassalpha", "assocalpha", "unspecified"):
            content = tiff(with_channel(pixels, most), extrasamples=[extra])
            yield f"TIFF {kind} further channel {extra}", (content, pixels, 0)
        grey = pixels[..., 2]
        inverse = tiff(most - grey, photometric="miniswhite")
        yield f"TIFF {kind} white is 0", (inverse, grey, 0)
        content = tiff(with_channel(grey, most), photometric="minisblack", extrasamples=["unassalpha"])
        yield f"TIFF {kind} grey and alpha", (content, grey, 0)
        inks = with_channel(most - pixels, 0)
        yield f"TIFF {kind} CMYK", (tiff(inks, photometric="separated"), RGB, 1)
    for compression in ("raw", "group3", "group4", "packbits"):
        content = saved(Image.fromarray(BITS), "TIFF", compression=compression)
        yield f"TIFF 1 bit {compression}", (content, np.where(BITS, 255, 0), 0)
    yield "TIFF 1 bit white is 0", (tiff(~BITS, photometric="miniswhite"), np.where(BITS, 255, 0), 0)
    palette = PICTURE.quantize(64)
    yield "TIFF palette", (saved(palette, "TIFF"), np.asarray(palette.convert("RGB")), 0)
    yield "TIFF JPEG", (saved(PICTURE, "TIFF", compression="jpeg", quality=95), RGB, JPEG_LOSS)
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(DEEP, photometric="rgb", metadata=None)
        writer.write(RGB[::4, ::4], photometric="rgb", subfiletype=1, metadata=None)
    yield "TIFF with a preview", (file.getvalue(), DEEP, 0)


def png(pixels: np.ndarray, bits: int, colour: int, *chunks: tuple[bytes, bytes], interlaced: bool = False) -> bytes:
    """Encode (H, W) or (H, W, C) of values below 2^bits, interlaced in seven passes or not, without filters."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def row(values: np.ndarray) -> bytes:
        if bits < 8:
            ones = (values.reshape(-1, 1) >> np.arange(bits - 1, -1, -1)) & 1
            return b"\0" + np.packbits(ones).tobytes()
        return b"\0" + values.astype(f">u{bits // 8}").tobytes()

    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [pixels[top::down, left::right] for top, left, down, right in passes] if interlaced else [pixels]
    data = zlib.compress(b"".join(row(line) for part in parts for line in part))
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], bits, colour, 0, 0, int(interlaced))
    middle = [chunk(*one) for one in chunks]
    cut = len(data) // 2
    pixels_in_two = chunk(b"IDAT", data[:cut]) + chunk(b"IDAT", data[cut:])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(middle) + pixels_in_two + chunk(b"IEND", b"")


def pngs() -> Iterator[tuple[str, Variant]]:
    for interlaced in (False, True):
        word = " interlaced" if interlaced else ""
        for bits in (1, 2, 4, 8, 16):
            values = DEEP_GREY >> (16 - bits)
            seen = values if bits == 16 else (values * (255 // (2**bits - 1))).astype(np.uint8)
            yield f"PNG grey {bits} bits{word}", (png(values, bits, 0, interlaced=interlaced), seen, 0)
        yield f"PNG 16 bits{word}", (png(DEEP, 16, 2, interlaced=interlaced), DEEP, 0)
        yield f"PNG 8 bits{word}", (png(RGB, 8, 2, interlaced=interlaced), RGB, 0)
    for bits in (1, 2, 4, 8):
        colours = np.random.default_rng(0).integers(0, 256, (2**bits, 3), dtype=np.uint8)
        values = DEEP_GREY >> (16 - bits)
        yield f"PNG palette {bits} bits", (png(values, bits, 3, (b"PLTE", colours.tobytes())), colours[values], 0)
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", LONG)
    yield "PNG with a long text", (saved(PICTURE, "PNG", pnginfo=text), RGB, 0)
    packed = PngImagePlugin.PngInfo()
    packed.add_text("Comment", LONG, zip=True)
    yield "PNG with a long packed text", (saved(PICTURE, "PNG", pnginfo=packed), RGB, 0)
    packet = PngImagePlugin.PngInfo()
    packet.add_itxt("XML:com.adobe.xmp", LONG, zip=True)
    yield "PNG with long XMP", (saved(PICTURE, "PNG", pnginfo=packet), RGB, 0)
    large = (b"iCCP", b"a\0\0" + zlib.compress(SRGB + bytes(3_000_000)))
    yield "PNG with a large profile", (png(RGB, 8, 2, large), RGB, 0)
    deep = png(DEEP, 16, 2, large, (b"tEXt", b"a\0" + LONG.encode()))
    yield "PNG 16 bits with a large profile and text", (deep, DEEP, 0)
    packet = PngImagePlugin.PngInfo()
    packet.add_itxt("XML:com.adobe.xmp", '<a tiff:Orientation="3"/>')
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(RGB, 2)))
    yield "PNG turned, as its XMP says", (saved(stored, "PNG", pnginfo=packet), RGB, 0)
    yield "PNG with opaque alpha", (png(with_channel(RGB, 255), 8, 6), RGB, 0)
    yield "PNG 16 bits with opaque alpha", (png(with_channel(DEEP, 65535), 16, 6), DEEP, 0)
    yield "PNG with bytes behind its end", (png(RGB, 8, 2) + b"more", RGB, 0)


def jpegs() -> Iterator[tuple[str, Variant]]:
    kinds: dict[str, dict[str, Any]] = {
        "4:2:0": {"subsampling": 2},
        "4:4:4": {"subsampling": 0},
        "progressive": {"progressive": True},
        "restart markers": {"restart_marker_blocks": 2},
        "profile": {"icc_profile": SRGB},
        "large profile": {"icc_profile": SRGB + bytes(200_000)},
        "RGB inside": {"keep_rgb": True},
        "comment": {"comment": b"x" * 60_000},
        "XMP": {"xmp": b"x" * 60_000},
    }
    for kind, options in kinds.items():
        yield f"JPEG {kind}", (saved(PICTURE, "JPEG", quality=95, **options), RGB, JPEG_LOSS)
    yield "JPEG grey", (saved(Image.fromarray(GREY), "JPEG", quality=95), GREY, JPEG_LOSS)
    inks = Image.fromarray(with_channel(255 - RGB, 0), "CMYK")
    yield "JPEG CMYK", (saved(inks, "JPEG", quality=95), RGB, JPEG_LOSS)
    preview = saved(PICTURE, "MPO", quality=95, save_all=True, append_images=[PICTURE.resize((8, 8))])
    yield "JPEG of a camera, with a preview", (preview, RGB, JPEG_LOSS)
    yield "JPEG with bytes behind its end", (saved(PICTURE, "JPEG", quality=95) + b"more", RGB, JPEG_LOSS)


def others() -> Iterator[tuple[str, Variant]]:
    yield "WebP lossless", (saved(PICTURE, "WEBP", lossless=True), RGB, 0)
    yield "WebP", (saved(PICTURE, "WEBP", quality=95), RGB, JPEG_LOSS)
    yield "BMP", (saved(PICTURE, "BMP"), RGB, 0)
    yield "BMP grey", (saved(Image.fromarray(GREY), "BMP"), GREY, 0)
    yield "BMP 1 bit", (saved(Image.fromarray(BITS), "BMP"), np.where(BITS, 255, 0), 0)
    yield "PPM", (saved(PICTURE, "PPM"), RGB, 0)
    size = f"{WIDTH} {HEIGHT}".encode()
    yield "PPM with a comment", (b"P6\n# from a scanner\n" + size + b"\n255\n" + RGB.tobytes(), RGB, 0)
    yield "PPM in words", (b"P3 " + size + b" 255 " + " ".join(map(str, RGB.ravel())).encode(), RGB, 0)
    yield "PGM 16 bits", (b"P5 " + size + b" 65535\n" + DEEP_GREY.astype(">u2").tobytes(), DEEP_GREY, 0)
    yield "PBM", (saved(Image.fromarray(BITS), "PPM"), np.where(BITS, 255, 0), 0)


def turned() -> Iterator[tuple[str, Variant]]:
    undo: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        3: lambda p: np.rot90(p, 2),
        6: lambda p: np.rot90(p, 1),
        8: lambda p: np.rot90(p, -1),
        5: lambda p: p.swapaxes(0, 1),
    }
    for orientation, stored in undo.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        shown = {"8": np.ascontiguousarray(stored(RGB)), "16": np.ascontiguousarray(stored(DEEP))}
        for form, loss in (("JPEG", JPEG_LOSS), ("PNG", 0)):
            options = {"quality": 95} if loss else {}
            content = saved(Image.fromarray(shown["8"]), form, exif=exif, **options)
            yield f"{form} turned {orientation}", (content, RGB, loss)
        tag = (0x0112, "H", 1, orientation, True)
        for bits, twin in (("8", RGB), ("16", DEEP)):
            content = tiff(shown[bits], extratags=[tag], compression="lzw")
            yield f"TIFF {bits} bits turned {orientation}", (content, twin, 0)


VARIANTS = dict([*tiffs(), *pngs(), *jpegs(), *others(), *turned()])


@pytest.mark.parametrize("name", VARIANTS)
def test_each_variant_has_the_pixels_of_its_twin(name: str) -> None:
    content, twin, loss = VARIANTS[name]
    found = decode_image(content)
    expected = twin.reshape(HEIGHT, WIDTH, -1)
    assert found.pixels.shape == expected.shape
    assert found.pixels.dtype == (np.uint16 if twin.dtype == np.uint16 else np.uint8)
    assert np.abs(found.pixels.astype(int) - expected).max() <= loss
    assert found.alpha is None or (found.alpha == np.iinfo(found.alpha.dtype).max).all()


def test_there_are_many_of_them() -> None:
    assert len(VARIANTS) > 100


@pytest.mark.parametrize("associated", [False, True])
@pytest.mark.parametrize("pixels", [RGB, DEEP], ids=["8", "16"])
def test_transparency_of_a_tiff(pixels: np.ndarray, associated: bool) -> None:
    most = np.iinfo(pixels.dtype).max
    half = most // 2 + 1
    stored = np.round(pixels * (half / most)).astype(pixels.dtype) if associated else pixels
    extra = "assocalpha" if associated else "unassalpha"
    found: DecodedImage = decode_image(tiff(with_channel(stored, half), extrasamples=[extra]))
    assert found.alpha is not None
    assert (found.alpha == half).all()
    assert np.abs(found.pixels.astype(int) - pixels).max() <= int(associated)
