"""What training sees of a picture: patches from anywhere in it, of sub-images all of its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from acutance.config import pipeline as pipelines
from acutance.config.data import DataSettings, SubImages
from acutance.config.mistakes import validate
from acutance.data.datasets import Catalogue
from acutance.data.manifest import Manifest
from acutance.data.prepare import found_shards, prepare
from acutance.data.shards import open_columns, sub_images
from acutance.data.stream import Stream
from acutance.data.subimages import corners
from acutance.errors import ConfigError

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"
PATCH = 192
SMALL = np.random.default_rng(0).integers(0, 256, (100, 150, 3), dtype=np.uint8)


@pytest.fixture
def scored(tmp_path: Path) -> str:
    """Of TID2013's layout: a picture whose pixels tell where they are, a small one, and a small one to validate on."""
    y, x = np.mgrid[:480, :640]
    told = np.stack([x % 256, y % 256, x // 256 + 16 * (y // 256)], axis=2).astype(np.uint8)
    pictures = {"i04_01_1.bmp": told, "i05_01_1.bmp": SMALL, "i01_01_1.bmp": SMALL}
    (tmp_path / "tid" / "distorted_images").mkdir(parents=True)
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(tmp_path / "tid" / "distorted_images" / name)
    (tmp_path / "tid" / "mos_with_names.txt").write_text("".join(f"5.5 {name}\n" for name in pictures))
    (tmp_path / "tid" / "mos_std.txt").write_text("0.8\n" * 3)
    return str(tmp_path / "tid")


def made(train: str, **changes: object) -> tuple[Manifest, dict[str, Any]]:
    content = {"train": train, "label": "distribution", "subimages": {"size": PATCH, "stride": "anywhere"}, **changes}
    root = Path(train).parent
    manifest = prepare(
        validate(DataSettings, content, "a test"), 1, Catalogue({}, ""), str(root / "out"), in_process=True
    )
    return manifest, open_columns(str(found_shards(str(root / "out"), manifest.fingerprint)), manifest.columns, root)


def stream_of(manifest: Manifest, columns: dict[str, Any], batch: int) -> Stream:
    return Stream(
        columns,
        divisors={name: manifest.columns[name].divisor for name in columns},
        codings={name: manifest.columns[name].coding for name in columns},
        patch=PATCH,
        batch=batch,
        key=3,
        augment="none",
    )


def test_patches_cover_a_picture_as_uniform_crops_do(scored: str) -> None:
    manifest, columns = made(scored)
    hr = stream_of(manifest, columns, 400).batch(0)["hr"].mul(255).round().int().numpy()
    corner = hr[[tuple(patch[:, 0, 0]) != tuple(SMALL[0, 0]) and patch[2].max() < 19 for patch in hr], :, 0, 0]
    left, top = corner[:, 0] + 256 * (corner[:, 2] % 16), corner[:, 1] + 256 * (corner[:, 2] // 16)
    assert len(corner) == 200
    for start, side in ((left, 640), (top, 480)):
        pixels, places = np.arange(side), side - PATCH + 1
        seen = np.mean([(pixels >= at) & (pixels < at + PATCH) for at in start], axis=0)
        expected = (np.minimum(pixels, places - 1) - np.maximum(pixels - PATCH + 1, 0) + 1) / places
        assert np.abs(seen - expected).max() < 0.13
    # The patch from the middle, on which predictors are validated.
    shared = np.maximum(0, PATCH - abs(left - 224)) * np.maximum(0, PATCH - abs(top - 144)) / PATCH**2
    assert shared.max() > 0.8
    assert shared.mean() > 0.2


def test_pictures_stay_the_files_that_they_are_and_small_ones_are_enlarged(scored: str) -> None:
    manifest, columns = made(scored)
    file = Path(scored, "distorted_images", "i04_01_1.bmp").read_bytes()
    assert bytes(columns["hr"].content[: len(file)]) == file
    assert len(file) < manifest.column_bytes("hr") < len(file) + PATCH * 288 * 4
    whole, small = columns["hr"].decoded([0, 1])
    larger = np.asarray(Image.fromarray(SMALL).resize((288, PATCH), Image.Resampling.BILINEAR))
    assert (whole.shape, small.shape) == ((480, 640, 3), (PATCH, 288, 3))
    assert np.array_equal(small, larger)
    held_out = made(scored, split="val", subimages={"size": PATCH, "stride": "centre"})[1]["hr"]
    assert np.array_equal(held_out[0], larger[:, 48:240])


def test_workers_see_their_parts_of_one_batch_however_many_they_are(scored: str) -> None:
    stream = stream_of(*made(scored), 8)
    parts = [stream.batch(5, rank, 4) for rank in range(4)]
    for name, whole in stream.batch(5).items():
        assert np.array_equal(whole, np.concatenate([part[name] for part in parts]))
    upright = stream.upright([1, 0])["hr"]
    assert np.array_equal(upright[1, 0, 0].mul(255).round(), np.arange(PATCH))


def test_nothing_else_is_stored_of_pictures_that_are_cut_anywhere(scored: str) -> None:
    with pytest.raises(ConfigError, match="cut anywhere no degradation"):
        made(scored, degradation={"type": "bicubic"})
    manifest, _ = made(scored)
    folder = str(found_shards(str(Path(scored).parent / "out"), manifest.fingerprint))
    assert list(sub_images(folder)) == [(slice(0, 1), [(0, 0)]), (slice(1, 2), [(0, 0)])]


SIZES = {
    "DIV2K_train": (1356, 2040),
    "Flickr2K_train": (1356, 2040),
    "SIDD_train": (3000, 5328),
    "REDS_train": (720, 1280),
}


@pytest.mark.parametrize("file", sorted(PIPELINES.glob("*.yaml")), ids=lambda file: file.stem)
def test_sub_images_of_every_pipeline_show_all_pixels(file: Path) -> None:
    if file.stem == "datasets":
        return
    pipeline = pipelines.load(file)
    for data in (pipeline.data_of(name) for name in pipeline.stages):
        cuts = data.subimages or SubImages(size=32, stride=32)
        if cuts.stride == "anywhere" or data.train not in SIZES:
            assert data.label or data.train == "photographs_train"
            continue
        height, width = SIZES[data.train]
        seen = np.zeros((height, width), bool)
        for top, left in corners(height, width, cuts):
            seen[top : top + data.size[0], left : left + data.size[1]] = True
        assert seen.all(), data.train
