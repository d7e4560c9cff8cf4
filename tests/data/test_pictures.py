"""Any picture in, uint8 RGB out, or a reason why not."""

from __future__ import annotations

import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from acutance.config.limits import VARIABLE, Limits
from acutance.data.decode import decode_image
from acutance.data.pictures import PictureError, read_picture, write_picture
from acutance.errors import ConfigError, DataError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (24, 36, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (24, 36, 4), dtype=np.uint16)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format=form, **options)
    return file.getvalue()


def png_16_bits(pixels: np.ndarray, colour_type: int) -> bytes:
    """Encode uint16 (H, W, C) as a PNG of 16 bits a channel, which Pillow cannot write for colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def rounded(pixels: np.ndarray) -> np.ndarray:
    return np.round(pixels / 257).astype(np.uint8)


def refused(content: bytes | Path, **options: int) -> str:
    with pytest.raises(PictureError) as caught:
        read_picture(content, **options)
    return caught.value.what


def test_colour_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", RGB)
    assert np.array_equal(read_picture(tmp_path / "a.png"), RGB)
    assert np.array_equal(read_picture(str(tmp_path / "a.png")), RGB)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_what_is_no_picture_is_not_written(tmp_path: Path) -> None:
    for wrong in (RGB.astype(np.float32), RGB[..., :2], RGB[None]):
        with pytest.raises(ValueError, match="uint8"):
            write_picture(tmp_path / "a.png", wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_the_content_decides_not_the_extension(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(Image.fromarray(RGB), form))
    assert np.array_equal(read_picture(path), RGB)


def test_grey_becomes_three_equal_channels() -> None:
    grey = read_picture(encoded(Image.fromarray(RGB[..., 0])))
    assert grey.shape == (24, 36, 3)
    assert all(np.array_equal(grey[..., channel], RGB[..., 0]) for channel in range(3))


def test_one_bit_becomes_black_and_white() -> None:
    bits = RGB[..., 0] > 127
    assert np.array_equal(read_picture(encoded(Image.fromarray(bits)))[..., 1], np.where(bits, 255, 0))


def test_an_opaque_alpha_channel_is_dropped() -> None:
    opaque = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
    assert np.array_equal(read_picture(encoded(Image.fromarray(opaque))), RGB)
    grey = np.dstack([RGB[..., 0], opaque[..., 3]])
    assert np.array_equal(read_picture(encoded(Image.fromarray(grey, "LA")))[..., 2], RGB[..., 0])


def test_transparency_is_refused() -> None:
    alpha = np.full(RGB.shape[:2], 255, np.uint8)
    alpha[3, 5] = 254
    assert "transparent" in refused(encoded(Image.fromarray(np.dstack([RGB, alpha]))))
    assert "transparent" in refused(encoded(Image.fromarray(np.dstack([RGB[..., 0], alpha]), "LA")))
    palette = Image.fromarray(RGB).quantize(16)
    assert "transparent" in refused(encoded(palette, transparency=3))
    colour = tuple(int(value) for value in RGB[0, 0])
    assert "transparent" in refused(encoded(Image.fromarray(RGB), transparency=colour))


def test_a_palette_becomes_colour() -> None:
    palette = Image.fromarray(RGB).quantize(16)
    assert np.array_equal(read_picture(encoded(palette)), np.asarray(palette.convert("RGB")))


def test_cmyk_becomes_colour() -> None:
    smooth = np.asarray(Image.fromarray(RGB).resize((36, 24)).convert("CMYK"))
    read = read_picture(encoded(Image.fromarray(smooth, "CMYK"), "TIFF"))
    assert np.array_equal(read, RGB)
    jpeg = encoded(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG")  # cyan none, magenta and yellow full
    assert np.abs(read_picture(jpeg).astype(int) - [255, 0, 0]).max() < 8


@pytest.mark.parametrize(("channels", "colour_type"), [(1, 0), (2, 4), (3, 2), (4, 6)])
def test_16_bits_a_channel_are_rounded_to_8(channels: int, colour_type: int) -> None:
    pixels = DEEP[..., :channels].copy()
    if channels in (2, 4):
        pixels[..., -1] = 65535
    read = read_picture(png_16_bits(pixels, colour_type))
    colours = pixels[..., : channels - (channels in (2, 4))]
    assert np.array_equal(read, np.broadcast_to(rounded(colours), (24, 36, 3)))
    if channels in (2, 4):
        pixels[7, 7, -1] = 65534
        assert "transparent" in refused(png_16_bits(pixels, colour_type))


def test_16_bit_tiffs_are_rounded_to_8(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "colour.tif", DEEP[..., :3], photometric="rgb", compression="zlib")
    tifffile.imwrite(tmp_path / "grey.tif", DEEP[..., 0])
    assert np.array_equal(read_picture(tmp_path / "colour.tif"), rounded(DEEP[..., :3]))
    assert np.array_equal(read_picture(tmp_path / "grey.tif")[..., 0], rounded(DEEP[..., 0]))
    pgm = b"P5 36 24 65535\n" + DEEP[..., 0].astype(">u2").tobytes()
    assert np.array_equal(read_picture(pgm)[..., 1], rounded(DEEP[..., 0]))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_pictures_are_turned_upright(orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(RGB), form, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    assert np.array_equal(read_picture(content), upright)
    assert read_picture(content).shape == ((36, 24, 3) if orientation > 4 else (24, 36, 3))


def test_16_bit_pictures_are_turned_upright(tmp_path: Path) -> None:
    for name, pixels in (("grey", DEEP[..., 0]), ("colour", DEEP[..., :3])):
        path = tmp_path / f"{name}.tif"
        tag = (0x0112, "H", 1, 6, True)  # to be turned by 90 degrees clockwise
        tifffile.imwrite(path, pixels, extratags=[tag], photometric="rgb" if pixels.ndim == 3 else "minisblack")
        turned = np.rot90(rounded(pixels), -1)
        assert np.array_equal(read_picture(path), turned if pixels.ndim == 3 else np.dstack([turned] * 3))


def test_files_that_are_no_pictures_are_refused(tmp_path: Path) -> None:
    text, empty = tmp_path / "text.png", tmp_path / "empty.png"
    text.write_text("this is not a picture\n" * 50)
    empty.touch()
    assert "known format" in refused(text)
    assert "empty" in refused(empty)
    assert "no such file" in refused(tmp_path / "absent.png")
    assert "cannot be read" in refused(tmp_path)
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"
    assert "known format" in refused(postscript)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
def test_truncated_files_are_refused(form: str) -> None:
    content = encoded(Image.fromarray(RGB), form)
    for length in (len(content) // 2, len(content) - len(content) // 8):
        assert "corrupt or truncated" in refused(content[:length])


def test_corrupt_files_are_refused() -> None:
    content = bytearray(encoded(Image.fromarray(RGB)))
    content[len(content) // 2] ^= 0xFF
    assert "corrupt" in refused(bytes(content))
    deep = bytearray(png_16_bits(DEEP[..., :3], 2))
    deep[len(deep) // 2] ^= 0xFF
    assert "corrupt" in refused(bytes(deep))


@pytest.mark.filterwarnings("ignore")
def test_hostile_bytes_give_an_error_of_ours() -> None:
    """Whatever bytes follow, a decoder's own exception never escapes."""
    good = [encoded(Image.fromarray(RGB), form) for form in ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "PPM")]
    for content in [*good, png_16_bits(DEEP, 6)]:
        for _ in range(40):
            damaged = bytearray(content)
            for place in RNG.integers(0, len(content), 3):
                damaged[place] = RNG.integers(0, 256)
            try:
                assert read_picture(bytes(damaged)).dtype == np.uint8
            except PictureError:
                continue


def test_decompression_bombs_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def claims(width: int, height: int) -> bytes:
        return f"P6 {width} {height} 255\n".encode()

    assert "megapixels" in refused(claims(20_000, 20_000))
    assert "megapixels" in refused(claims(178_956_971, 1))
    assert "truncated" in refused(claims(100, 100))
    monkeypatch.setenv(VARIABLE, "megapixels=0.009")
    assert "0.009 megapixels" in refused(claims(100, 100))
    monkeypatch.setenv(VARIABLE, "megapixels=401, megabytes=0.02")
    assert "0.02 megabytes" in refused(claims(100, 100))


def test_a_limit_may_be_higher_than_pillows_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_picture(encoded(Image.fromarray(RGB))).shape == RGB.shape


@pytest.mark.parametrize("text", ["megapixels=", "pixels=4", "seconds=0", "scans=1.5", "megabytes=nan", "400"])
def test_limits_that_are_none_are_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"seconds=5,{text}")
    with pytest.raises(ConfigError, match=text):
        read_picture(encoded(Image.fromarray(RGB)))


def progressive(side: int, scans: int) -> bytes:
    """Encode a grey JPEG whose scans but the first hold nothing: a few bytes each, and a pass over all blocks."""

    def segment(kind: int, data: bytes) -> bytes:
        return bytes([0xFF, kind]) + struct.pack(">H", len(data) + 2) + data

    one_code = bytes([1, *[0] * 15])  # of one bit
    blocks = (side // 8) ** 2
    runs = -(-blocks // 32767)
    bits = ("0" + "1" * 14) * runs
    nothing = int(bits + "1" * (-len(bits) % 8), 2).to_bytes(-(-len(bits) // 8)).replace(b"\xff", b"\xff\0")
    start = segment(0xE1, b"Exif\0\0" + b"\xff\xda" * 200)  # as a preview has
    tables = segment(0xDB, bytes([0, *[1] * 64])) + segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    codes = segment(0xC4, b"\0" + one_code + b"\0") + segment(0xC4, b"\x10" + one_code + b"\xe0")
    first = segment(0xDA, b"\1\1\0\0\0\0") + bytes(-(-blocks // 8))
    others = (segment(0xDA, b"\1\1\0\1\x3f\0") + nothing) * (scans - 1)
    return b"\xff\xd8" + start + tables + codes + first + others + b"\xff\xd9"


def test_jpegs_of_many_scans_are_refused_before_they_are_decoded() -> None:
    assert (read_picture(progressive(64, 100)) == 128).all()
    began = time.process_time()
    assert "1001 scans" in refused(progressive(4000, 1001))
    assert time.process_time() - began < 0.5  # decoded, it takes seconds
    photograph = Image.fromarray(RGB).resize((640, 400))
    assert read_picture(encoded(photograph, "JPEG", progressive=True, quality=95)).shape == (400, 640, 3)


def test_decoding_ends_when_its_time_is_over() -> None:
    with pytest.raises(PictureError, match=r"0\.05 seconds"):
        decode_image(progressive(2400, 1000), within=Limits(scans=1000, seconds=0.05))
    file = io.BytesIO()
    tifffile.imwrite(file, np.tile(RGB, (20, 20, 1)), rowsperstrip=1, compression="lzw")
    with pytest.raises(PictureError, match="seconds"):
        decode_image(file.getvalue(), within=Limits(seconds=0.001))


def test_what_is_written_beside_a_tiff_about_its_size_is_not_believed(tmp_path: Path) -> None:
    told = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="36" SizeY="24" SizeC="3" SizeZ="1" '
        'SizeT="999"><Channel ID="Channel:0:0" SamplesPerPixel="3"/><TiffData IFD="0" PlaneCount="1"/>'
        "</Pixels></Image></OME>"
    )
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, DEEP[..., :3], photometric="rgb", description=told, metadata=None)
    assert np.array_equal(read_picture(path), rounded(DEEP[..., :3]))


def test_a_tiff_of_huge_tiles_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", tile=(16, 16), compression="zlib")
    content = (tmp_path / "a.tif").read_bytes()
    for tag in (322, 323):
        entry = struct.pack("<HHII", tag, 4, 1, 16), struct.pack("<HHII", tag, 4, 1, 65536)
        short = struct.pack("<HHIHH", tag, 3, 1, 16, 0)
        content = content.replace(*entry).replace(short, entry[1])
    assert "megabytes" in refused(content)


def test_several_pictures_in_one_file_are_refused() -> None:
    page = Image.fromarray(RGB)
    assert "2 pictures" in refused(encoded(page, "TIFF", save_all=True, append_images=[page.rotate(180)]))
    assert "2 pictures" in refused(encoded(page, "PNG", save_all=True, append_images=[page.rotate(180)]))


def test_the_preview_that_cameras_append_does_not_matter() -> None:
    page = Image.fromarray(RGB)
    camera = encoded(page, "MPO", save_all=True, append_images=[page.resize((8, 8))])
    assert np.array_equal(read_picture(camera), read_picture(encoded(page, "JPEG")))


def test_other_depths_are_refused() -> None:
    assert "kind" in refused(encoded(Image.fromarray(RGB[..., 0].astype(np.float32)), "TIFF"))


def test_pictures_too_small_are_refused() -> None:
    assert "1x1" in refused(encoded(Image.new("RGB", (1, 1))))
    assert "36x24" in refused(encoded(Image.fromarray(RGB)), minimum_side=25)
    assert read_picture(encoded(Image.fromarray(RGB)), minimum_side=24).shape == (24, 36, 3)


def test_the_error_names_the_file_and_is_the_users(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no")
    with pytest.raises(DataError) as caught:
        read_picture(tmp_path / "bad.png")
    assert str(tmp_path / "bad.png") in str(caught.value)
    assert caught.value.exit_code == 2
