"""Picture files to picture files: what is kept, what is refused, and what counts as done."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from made_for_restoring import DEEP, GREY, RGB, Nearest, deep_png, encoded, enlarged, ink_profile, restorer
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from acutance.data.decode import decode_image
from acutance.data.png import chunk
from acutance.imaging.resize import imresize
from acutance.inference.origin import is_marked, mark_of
from acutance.inference.picture_file import Outcome, Restorer, open_restorer, read_model, restore_file

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
MAGENTA = Image.new("CMYK", (16, 16), (0, 255, 0, 0))


def made(folder: Path, content: bytes, target: str = "large.png", by: Restorer | None = None) -> Outcome:
    source = folder / "source"
    source.write_bytes(content)
    return restore_file(by or restorer(), str(source), str(folder / target))


def opened(folder: Path, content: bytes, target: str = "large.png") -> Any:
    outcome = made(folder, content, target)
    assert outcome.state == "written", outcome.why
    image = Image.open(folder / target)
    image.load()
    return image


def refused(folder: Path, content: bytes, target: str = "large.png") -> str:
    outcome = made(folder, content, target)
    assert outcome.state == "failed"
    assert sorted(path.name for path in folder.iterdir()) == ["source"]
    return outcome.why


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(RGB),
        Image.fromarray(GREY),
        Image.fromarray(np.dstack([GREY, np.full_like(GREY, 255)]), "LA"),
        Image.fromarray(np.dstack([RGB, np.full_like(GREY, 255)])),
    ],
)
def test_the_kind_of_picture_stays(tmp_path: Path, image: Image.Image) -> None:
    found = opened(tmp_path, encoded(image))
    assert (found.format, found.mode) == ("PNG", image.mode)
    assert np.array_equal(np.asarray(found), enlarged(np.asarray(image)))


@pytest.mark.parametrize("pixels", [DEEP[..., 0], DEEP[..., :3]])
def test_16_bits_stay(tmp_path: Path, pixels: np.ndarray) -> None:
    assert made(tmp_path, deep_png(pixels)).state == "written"
    found = cv2.imread(str(tmp_path / "large.png"), cv2.IMREAD_UNCHANGED)
    assert found.dtype == np.uint16
    assert np.array_equal(found if found.ndim == 2 else found[..., ::-1], enlarged(pixels))


def test_16_bits_with_transparency_stay(tmp_path: Path) -> None:
    pixels = DEEP.copy()
    pixels[..., 3] = 65535
    assert made(tmp_path, deep_png(pixels)).state == "written"
    layers = decode_image((tmp_path / "large.png").read_bytes())
    assert np.array_equal(np.dstack([layers.pixels, layers.alpha]), enlarged(pixels))


def test_a_palette_becomes_colour_with_its_transparency(tmp_path: Path) -> None:
    palette = Image.fromarray(RGB).quantize(8)
    assert opened(tmp_path, encoded(palette)).mode == "RGB"
    found = opened(tmp_path, encoded(palette, transparency=3))
    assert found.mode == "RGBA"
    alpha = np.where(np.asarray(palette) == 3, 0, 255)
    smooth = imresize(torch.from_numpy(alpha)[None], 4)[0].add(0.5).floor().clamp(0, 255)
    assert np.array_equal(np.asarray(found)[..., 3], smooth)


def test_a_16_bit_colour_declared_transparent(tmp_path: Path) -> None:
    pixels = np.full((24, 36, 3), 5000, np.uint16)
    pixels[:12] = (1, 2, 3)
    content = deep_png(pixels)
    end = content.index(b"IDAT") - 4
    transparent = content[:end] + chunk(b"tRNS", struct.pack(">3H", 1, 2, 3)) + content[end:]
    assert made(tmp_path, transparent).state == "written"
    layers = decode_image((tmp_path / "large.png").read_bytes())
    assert layers.alpha is not None
    assert (layers.alpha[:40] == 0).all()
    assert (layers.alpha[-40:] == 65535).all()
    assert (layers.pixels == 5000).all()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_the_colour_profile_is_kept(tmp_path: Path, form: str) -> None:
    found = opened(tmp_path, encoded(Image.fromarray(RGB), form, icc_profile=SRGB))
    assert found.info["icc_profile"] == SRGB


def test_a_profile_of_other_colours_is_left_out(tmp_path: Path) -> None:
    assert "icc_profile" not in opened(tmp_path, encoded(Image.fromarray(GREY), "TIFF", icc_profile=SRGB)).info


def test_what_a_png_says_about_its_colours_is_kept(tmp_path: Path) -> None:
    content = encoded(Image.fromarray(RGB))
    start = 8 + 25
    said = chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"cHRM", struct.pack(">8I", *range(30000, 30008)))
    found = opened(tmp_path, content[:start] + said + chunk(b"tEXt", b"Author\0someone") + content[start:])
    assert found.info["gamma"] == 0.45455
    assert found.info["chromaticity"][0] == 0.3
    assert "Author" not in found.info


def test_inks_become_colours_by_their_profile(tmp_path: Path) -> None:
    plain = np.asarray(opened(tmp_path, encoded(MAGENTA, "TIFF")))
    assert (plain == (255, 0, 255)).all()
    found = opened(tmp_path, encoded(MAGENTA, "TIFF", icc_profile=ink_profile()))
    assert np.abs(np.asarray(found).astype(int) - (206, 63, 122)).max() <= 3
    assert "icc_profile" not in found.info
    jpeg = np.asarray(opened(tmp_path, encoded(MAGENTA, "JPEG", icc_profile=ink_profile())))
    assert np.abs(jpeg.astype(int) - (206, 63, 122)).max() <= 6
    assert "profile" in refused(_new(tmp_path), encoded(MAGENTA, "TIFF", icc_profile=b"no profile" * 20)).lower()


def _new(folder: Path) -> Path:
    new = folder / "new"
    new.mkdir()
    return new


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_pictures_are_upright_without_being_told(tmp_path: Path, orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "the maker"
    pixels = np.dstack([RGB, np.full_like(GREY, 255)])
    content = encoded(Image.fromarray(pixels), form, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    found = opened(tmp_path, content)
    assert np.array_equal(np.asarray(found), enlarged(upright))
    assert dict(found.getexif()) == {0x0112: 1, 0x010F: "the maker"}


XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:Description tiff:Orientation=\"6\" dc:rights='mine'/></x:xmpmeta>"


def told() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0110], exif[0x8298] = 6, "Maker", "Camera", "(c) someone"
    exif[0x8769] = {0x9003: "2024:05:06 07:08:09", 0xA002: 36, 0x829D: 2.8}
    exif[0x8825] = {1: "N"}
    return exif


@pytest.mark.parametrize("target", ["large.png", "large.jpg", "large.webp"])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_what_a_camera_told_is_kept(tmp_path: Path, form: str, target: str) -> None:
    options: dict[str, Any] = {"xmp": XMP} if form in ("JPEG", "WEBP") else {}
    if form == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
    content = encoded(Image.fromarray(RGB), form, exif=told().tobytes(), dpi=(300, 300), **options)
    found = opened(tmp_path, content, target)
    assert found.size == (96, 144)
    exif = found.getexif()
    assert {exif[tag] for tag in (0x010F, 0x0110, 0x8298)} == {"Maker", "Camera", "(c) someone"}
    assert (exif[0x0112], exif.get_ifd(0x8769)[0x9003]) == (1, "2024:05:06 07:08:09")
    assert 0xA002 not in exif.get_ifd(0x8769)
    assert exif.get_ifd(0x8825)[1] == "N"
    if form != "TIFF":
        assert found.info["xmp"] == XMP.replace(b'"6"', b'"1"')
    if "webp" not in target and form != "WEBP":
        assert [round(dots) for dots in found.info["dpi"]] == [300, 300]


def test_strip_leaves_out_what_was_told_but_no_colours(tmp_path: Path) -> None:
    source, target = tmp_path / "a.jpg", tmp_path / "b.png"
    source.write_bytes(encoded(Image.fromarray(RGB), "JPEG", exif=told(), xmp=XMP, dpi=(300, 300), icc_profile=SRGB))
    assert restore_file(restorer(), str(source), str(target)).state == "written"
    assert restore_file(restorer(), str(source), str(target), strip=True).state == "written"
    assert restore_file(restorer(), str(source), str(target), strip=True).state == "kept"
    found = Image.open(target)
    assert set(found.info) == {"acutance", "icc_profile"}
    assert not found.getexif()


def test_xmp_that_a_jpeg_does_not_hold_is_refused_there(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "x" * 70_000)
    content = encoded(Image.fromarray(RGB), pnginfo=text)
    assert "--strip" in refused(tmp_path, content, "a.jpg")
    assert opened(tmp_path, content).info["xmp"] == b"x" * 70_000


def test_jpeg_and_webp_where_they_are_asked_for(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(24), np.arange(36)).astype(np.uint8)
    colour = np.dstack([smooth, smooth * 2, smooth * 4])
    for name, form in (("a.jpg", "JPEG"), ("b.JPEG", "JPEG"), ("c.webp", "WEBP")):
        found = opened(tmp_path, encoded(Image.fromarray(colour), icc_profile=SRGB), name)
        assert (found.format, found.mode) == (form, "RGB")
        assert np.abs(np.asarray(found).astype(int) - enlarged(colour)).mean() < 3
        assert found.info["icc_profile"] == SRGB
    assert opened(tmp_path, encoded(Image.fromarray(smooth)), "grey.jpg").mode == "L"
    deep = opened(tmp_path, deep_png(np.dstack([smooth.astype(np.uint16) * 257] * 3)), "deep.jpg")
    assert np.abs(np.asarray(deep).astype(int) - enlarged(smooth)[..., None]).max() < 4


def test_transparency_in_jpeg_and_webp(tmp_path: Path) -> None:
    alpha = np.full_like(GREY, 255)
    content = encoded(Image.fromarray(np.dstack([RGB, alpha])))
    assert opened(_new(tmp_path), content, "a.jpg").mode == "RGB"
    alpha[:, :18] = 0
    content = encoded(Image.fromarray(np.dstack([RGB, alpha])))
    assert np.asarray(opened(tmp_path / "new", content, "b.webp"))[:, :60, 3].max() == 0
    (tmp_path / "other").mkdir()
    assert "JPEG has no transparency" in refused(tmp_path / "other", content, "c.jpg")


def test_sizes_that_a_format_does_not_reach_are_refused(tmp_path: Path) -> None:
    wide = encoded(Image.new("L", (4100, 1)))
    assert "16383 pixels" in refused(tmp_path, wide, "a.webp")
    assert "65500 pixels" in refused(tmp_path, encoded(Image.new("L", (16400, 1))), "a.jpg")
    assert opened(tmp_path, wide).size == (16400, 4)


def test_bad_files_are_told_and_nothing_is_written(tmp_path: Path) -> None:
    page = Image.fromarray(RGB)
    several = encoded(page, "WEBP", save_all=True, append_images=[page.rotate(90)])
    assert "2 pictures" in refused(tmp_path, several)
    assert "corrupt" in refused(tmp_path, encoded(page)[:-400])
    assert "no picture" in refused(tmp_path, b"GIF89a text")
    assert "no such file" in restore_file(restorer(), str(tmp_path / "none.png"), str(tmp_path / "b.png")).why


def test_what_a_network_does_wrong_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    network = Nearest()
    torch.nn.init.constant_(network.gain, float("nan"))
    outcome = made(tmp_path, encoded(Image.fromarray(RGB)), by=restorer(network))
    assert "not finite" in outcome.why
    network.inputs = ("lr", "score")  # type: ignore[misc]
    assert "score" in made(tmp_path, encoded(Image.fromarray(RGB)), by=restorer(network)).why
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_target_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    outcome = made(tmp_path, encoded(Image.fromarray(RGB)), "file/large.png")
    assert outcome.state == "failed"
    assert "Error" in outcome.why


def test_a_picture_that_this_model_made_is_kept_and_no_other(tmp_path: Path) -> None:
    content, target = encoded(Image.fromarray(RGB)), tmp_path / "large.png"
    assert made(tmp_path, content).state == "written"
    first = target.read_bytes()
    assert made(tmp_path, content).state == "kept"
    assert made(tmp_path, content, by=restorer(sha256="b" * 64)).state == "written"
    assert made(tmp_path, content).state == "written"
    assert target.read_bytes() == first
    assert made(tmp_path, encoded(Image.fromarray(RGB[::-1]))).state == "written"
    for wrong in (
        first[:-1],
        first[:600],
        b"",
        encoded(Image.fromarray(enlarged(RGB))),
        first.replace(b"IEND", b"IENX"),
    ):
        target.write_bytes(wrong)
        assert made(tmp_path, content).state == "written", len(wrong)
        assert target.read_bytes() == first


def test_the_mark_must_be_the_whole_of_its_chunk(tmp_path: Path) -> None:
    content = encoded(Image.fromarray(RGB))
    made(tmp_path, content)
    mark = mark_of("a" * 64, content)
    assert is_marked(str(tmp_path / "large.png"), mark)
    assert not is_marked(str(tmp_path / "large.png"), mark[:-1])
    assert not is_marked(str(tmp_path / "none.png"), mark)


def test_the_rows_done_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(Image.new("L", (8, 400))))
    heard: list[tuple[int, int]] = []
    restore_file(restorer(), str(tmp_path / "a.png"), str(tmp_path / "b.png"), lambda *rows: heard.append(rows))
    assert heard[-1] == (1600, 1600)
    assert len(heard) == 3


def test_a_model_travels_as_bytes(tmp_path: Path) -> None:
    from made_for_restoring import model_file

    opened_again = open_restorer(*read_model(model_file(tmp_path / "m.safetensors")))
    assert made(tmp_path, encoded(Image.fromarray(RGB)), by=opened_again).state == "written"
    assert Image.open(tmp_path / "large.png").size == (144, 96)
