"""Shards made in this process, without Ray: statistics of weight maps, and the data set's own degraded pictures."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from acutance.config.data import DataSettings
from acutance.config.mistakes import validate
from acutance.data import shard_task
from acutance.data.columns import dataset_fingerprint
from acutance.data.datasets import Catalogue
from acutance.data.entries import Entry
from acutance.data.inputs import contents
from acutance.data.manifest import Manifest
from acutance.data.pictures import write_picture
from acutance.data.prepare import found_shards, prepare
from acutance.data.shards import open_columns
from acutance.errors import DataError
from acutance.imaging.weightmap import difference_statistics

SIZES = {"a": (51, 70), "b": (48, 64)}


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Half of it smooth, half of it noise, so that a weight map has something to choose."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    noise[:, width // 2 :] = 100 + np.arange(width - width // 2, dtype=np.uint8)[:, None]
    return noise


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name, (height, width) in SIZES.items():
        write_picture(tmp_path / "pictures" / f"{name}.png", picture(height, width, ord(name)))
    return tmp_path / "pictures"


def prepared(pictures: Path, catalogue: Catalogue | None = None, *, scale: int = 2, **changes: object) -> Manifest:
    content = {"train": str(pictures), "subimages": {"size": 32, "stride": 16}, **changes}
    settings = validate(DataSettings, content, "a test")
    return prepare(settings, scale, catalogue or Catalogue({}, ""), str(pictures.parent / "out"), in_process=True)


def columns(pictures: Path, manifest: Manifest, *names: str) -> dict[str, np.memmap]:
    scratch = pictures.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    return open_columns(str(found_shards(f"{pictures.parent}/out", manifest.fingerprint)), names, scratch)


def weight_map(alpha: float) -> dict[str, dict[str, object]]:
    differences = {"type": "difference_statistics", "of": "hr", "stored": True}
    weight = {"type": "weight_map", "of": ["hr", "hr_differences"], "margin": 1, "alpha": alpha}
    return {"hr_differences": differences, "hr_weight": weight}


def test_of_a_weight_map_each_row_has_the_statistics_of_its_whole_picture(pictures: Path) -> None:
    """The picture as it was cropped to the scale; any alpha takes the same shards."""
    manifest = prepared(pictures, derive=weight_map(0.2))
    stored = columns(pictures, manifest, "hr_differences")["hr_differences"]
    rows = {source.name: source.rows for source in manifest.sources}
    first = difference_statistics(torch.from_numpy(picture(*SIZES["a"], ord("a"))[:50].transpose(2, 0, 1).copy()))
    assert np.array_equal(stored[: rows["a"]], np.tile(first.numpy(), (rows["a"], 1)))
    assert not np.isclose(stored[rows["a"] :, 1], stored[0, 1]).any()
    assert prepared(pictures, derive=weight_map(0)).fingerprint == manifest.fingerprint
    assert prepared(pictures).fingerprint != manifest.fingerprint


def test_names_of_files_need_not_be_utf_8(pictures: Path) -> None:
    """They are told with their bytes written out; a bad one is left out by that name."""
    odd = os.fsdecode(b"b\xfcro-\xe6\x97\xa5")
    (pictures / f"{odd}.png").write_bytes((pictures / "a.png").read_bytes())
    (pictures / f"{odd}2.png").write_bytes(b"no picture")
    manifest = prepared(pictures)
    assert [source.name for source in manifest.sources] == ["a", "b", "b\\xfcro-日"]
    assert [skipped.name for skipped in manifest.skipped] == ["b\\xfcro-日2"]
    with pytest.raises(DataError, match="xfcro-日2"):
        prepared(pictures, bad_pictures="stop")


def test_raised_limits_make_shards_of_their_own(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was left out under the old ones is looked at again; another time limit changes nothing."""
    usual = prepared(pictures)
    monkeypatch.setenv("ACUTANCE_LIMITS", "seconds=99")
    assert prepared(pictures).fingerprint == usual.fingerprint
    monkeypatch.setenv("ACUTANCE_LIMITS", "megapixels=0.0032")
    assert [skipped.name for skipped in prepared(pictures).skipped] == ["a"]


PAIRS = {"degradation": {"type": "paired"}, "train": "pairs"}


@pytest.fixture
def pairs(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """The pictures with noisy versions of their size, and half-size ones whose odd last pixel is half outside."""
    for index, (name, (height, width)) in enumerate(SIZES.items()):
        write_picture(pictures.parent / "noisy" / f"{name}.png", picture(height, width, index))
        write_picture(pictures.parent / "half" / f"{name}.png", picture(-(-height // 2), width // 2, index))
    monkeypatch.setenv("ACUTANCE_DATA", str(pictures.parent))
    lr = {1: "noisy", 2: "half"}
    entry = Entry(about="", source="a page", licence="free", folder=str(pictures.parent), hr="pictures", lr=lr)
    return Catalogue({"pairs": entry, "plain": entry.model_copy(update={"lr": {}})}, "datasets.yaml")


@pytest.mark.parametrize(("scale", "folder"), [(1, "noisy"), (2, "half")])
def test_pairs_are_cut_alike(pictures: Path, pairs: Catalogue, scale: int, folder: str) -> None:
    manifest = prepared(pictures, pairs, scale=scale, **PAIRS)
    stored = columns(pictures, manifest, "hr", "lr")
    assert stored["lr"].shape[1:] == (32 // scale, 32 // scale, 3)
    hr, lr = picture(*SIZES["a"], ord("a")), picture(-(-SIZES["a"][0] // scale), SIZES["a"][1] // scale, 0)
    assert np.array_equal(stored["hr"][1], hr[:32, 16:48])
    assert np.array_equal(stored["lr"][1], lr[: 32 // scale, 16 // scale : 48 // scale])
    assert folder in pairs.find("pairs", scale)[0].lr_paths[scale]


def test_an_lr_that_changes_makes_another_shard_set(pictures: Path, pairs: Catalogue) -> None:
    def marks() -> list[str]:
        settings = validate(DataSettings, {**PAIRS, "subimages": {"size": 32, "stride": 16}}, "a test")
        found = [contents([settings], at, pairs, str(pictures.parent / "out"))[settings.source] for at in (1, 2)]
        return [dataset_fingerprint(settings, at, one.inputs) for at, one in zip((1, 2), found, strict=True)]

    before = marks()
    assert prepared(pictures, pairs, scale=1, **PAIRS).fingerprint == before[0]
    write_picture(pictures.parent / "noisy" / "b.png", picture(*SIZES["b"], seed=9))
    assert marks()[0] != before[0]
    assert marks()[1] == before[1]


@pytest.mark.parametrize("bad", ["small", "damaged"])
def test_an_lr_that_cannot_be_used_is_skipped_or_stops(pictures: Path, pairs: Catalogue, bad: str) -> None:
    file = pictures.parent / "noisy" / "b.png"
    if bad == "small":
        write_picture(file, picture(47, 64))
    else:
        file.write_bytes(file.read_bytes()[:99])
    manifest = prepared(pictures, pairs, scale=1, **PAIRS)
    assert [source.name for source in manifest.sources] == ["a"]
    assert manifest.skipped[0].name == "b"
    assert manifest.skipped[0].reason.startswith("its LR: ")
    assert ("64x47 at x1 is not 64x48" in manifest.skipped[0].reason) == (bad == "small")
    with pytest.raises(DataError, match="a picture cannot be used: its LR") as caught:
        prepared(pictures, pairs, scale=1, bad_pictures="stop", **PAIRS)
    assert caught.value.where == str(file)


def test_a_picture_without_a_degraded_version_is_named(pictures: Path, pairs: Catalogue) -> None:
    for data in ("plain", str(pictures)):
        with pytest.raises(DataError, match="a has no degraded version of its own at scale 1") as caught:
            prepared(pictures, pairs, scale=1, **{**PAIRS, "train": data})
        assert caught.value.where == str(pictures / "a.png")
    with pytest.raises(DataError, match="at scale 4"):
        prepared(pictures, pairs, scale=2, lr_scales=[4], **PAIRS)


class Died(BaseException):
    """In place of the end of a whole process."""


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pictures that are tried; `a` takes down who tries it. All calls are of one driver, until that is changed."""
    tried: list[str] = []
    add = shard_task._add_picture

    def die(writer: Any, one: Any, *more: Any) -> int:
        tried.append(one.name)
        if one.name == "a":
            raise Died
        return add(writer, one, *more)

    monkeypatch.setattr(shard_task, "_add_picture", die)
    monkeypatch.setattr(uuid, "uuid4", lambda: SimpleNamespace(hex="0" * 32))
    return tried


def test_a_picture_that_takes_its_worker_down_is_left_out_after_two_tries(pictures: Path, deadly: list[str]) -> None:
    for _ in range(2):
        with pytest.raises(Died):
            prepared(pictures)
    manifest = prepared(pictures)
    assert deadly == ["a", "a", "b"]
    assert [source.name for source in manifest.sources] == ["b"]
    assert [(skipped.name, skipped.reason[:34]) for skipped in manifest.skipped] == [
        ("a", "its worker died 2 times: it needs ")
    ]
    [folder] = (pictures.parent / "out" / "shards").iterdir()
    assert not list(folder.glob("*.attempts.json"))


def test_a_driver_that_was_killed_says_nothing_of_its_pictures(
    pictures: Path, deadly: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for driver in "123":
        monkeypatch.setattr(uuid, "uuid4", lambda driver=driver: SimpleNamespace(hex=driver * 32))
        with pytest.raises(Died):
            prepared(pictures)
    assert deadly == ["a"] * 3


def test_one_that_may_not_be_left_out_ends_the_run(pictures: Path, deadly: list[str]) -> None:
    for _ in range(2):
        with pytest.raises(Died):
            prepared(pictures, bad_pictures="stop")
    with pytest.raises(DataError, match="its worker died 2 times"):
        prepared(pictures, bad_pictures="stop")
