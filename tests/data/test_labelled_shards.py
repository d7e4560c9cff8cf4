"""Shards of scored and of classified pictures, and what training sees of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from acutance.config.data import DataSettings
from acutance.config.mistakes import validate
from acutance.data.columns import columns_of, dataset_fingerprint
from acutance.data.datasets import Catalogue, load_catalogue
from acutance.data.inputs import contents, find_inputs
from acutance.data.manifest import Manifest
from acutance.data.pictures import write_picture
from acutance.data.prepare import found_shards, prepare
from acutance.data.shards import open_columns
from acutance.data.stream import Stream
from acutance.errors import ConfigError, DataError
from acutance.imaging.resize import imresize_uint8
from acutance.inference.enlarger import Enlarger

REPOSITORY = Path(__file__).resolve().parents[2]
RANDOM = np.random.default_rng(0)


@pytest.fixture
def catalogue() -> Catalogue:
    return load_catalogue(REPOSITORY / "pipelines" / "datasets.yaml")


@pytest.fixture
def tid(tmp_path: Path) -> Path:
    """Six distorted pictures of four references, 60 x 40, the first of which is for validation."""
    folder = tmp_path / "tid"
    names = [f"i{reference:02}_01_{level}.png" for reference in (1, 4) for level in (1, 2, 3)]
    for name in names:
        write_picture(folder / "distorted_images" / name, RANDOM.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    (folder / "mos_with_names.txt").write_text("".join(f"{2 + n}.5 {name}\n" for n, name in enumerate(names)))
    (folder / "mos_std.txt").write_text("0.8\n" * len(names))
    return folder


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    arrays = {f"x_{split}": RANDOM.integers(0, 256, (n, 32, 32, 3), np.uint8) for split, n in SPLITS.items()}
    arrays |= {f"y_{split}": RANDOM.integers(0, 10, n, np.int64) for split, n in SPLITS.items()}
    np.savez(tmp_path / "cifar.npz", class_names=np.array(list("abcdefghij")), **arrays)
    return tmp_path / "cifar.npz"


SPLITS = {"train": 12, "val": 4, "test": 6}


def settings(**content: object) -> DataSettings:
    return validate(DataSettings, content, "a test")


def made(
    wanted: DataSettings, catalogue: Catalogue, root: Path, by: Enlarger | None = None
) -> tuple[Manifest, dict[str, np.memmap]]:
    mark = by.fingerprint if by else ""
    manifest = prepare(wanted, 1, catalogue, str(root), enlarge=by, enlarger=mark, in_process=True)
    folder = str(found_shards(str(root), manifest.fingerprint))
    return manifest, open_columns(folder, manifest.columns, root / "scratch")


def test_each_sub_image_of_a_scored_picture_has_its_scores(tid: Path, catalogue: Catalogue, tmp_path: Path) -> None:
    wanted = settings(train=str(tid), label="distribution", subimages={"size": 40, "stride": 20})
    manifest, columns = made(wanted, catalogue, tmp_path)
    assert [(source.name, source.rows) for source in manifest.sources] == [(f"i04_01_{n}", 2) for n in (1, 2, 3)]
    truth = [one.distribution for one in catalogue.scored(str(tid)) if one.split == "train"]
    np.testing.assert_allclose(columns["distribution"], np.repeat(np.float32(truth), 2, axis=0))
    assert columns["hr"].shape == (6, 40, 40, 3)
    assert set(manifest.columns) == {"hr", "distribution"}


def test_validation_takes_the_middle_of_the_other_pictures(tid: Path, catalogue: Catalogue, tmp_path: Path) -> None:
    cuts = {"size": 16, "stride": "centre"}
    wanted = settings(train=str(tid), label="distribution", split="val", subimages=cuts)
    manifest, columns = made(wanted, catalogue, tmp_path)
    assert [source.name for source in manifest.sources] == ["i01_01_1", "i01_01_2", "i01_01_3"]
    from acutance.data.pictures import read_picture

    whole = read_picture(tid / "distorted_images" / "i01_01_2.png")
    np.testing.assert_array_equal(columns["hr"][1], whole[12:28, 22:38])


def test_other_scores_make_another_shard_set(tid: Path, catalogue: Catalogue, tmp_path: Path) -> None:
    wanted = settings(train=str(tid), label="distribution", subimages={"size": 32, "stride": 32})

    def mark() -> str:
        known = contents([wanted], 1, catalogue, str(tmp_path))
        return dataset_fingerprint(wanted, 1, known[wanted.source].inputs)

    before = mark()
    (tid / "mos_std.txt").write_text("0.7\n" * 6)
    assert mark() != before


def test_classified_pictures_stay_as_they_are(cifar: Path, catalogue: Catalogue, tmp_path: Path) -> None:
    wanted = settings(train=str(cifar), label="class", split="test")
    _, columns = made(wanted, catalogue, tmp_path)
    whole = catalogue.classified(str(cifar), "test")
    np.testing.assert_array_equal(columns["hr"], whole.pixels)
    np.testing.assert_array_equal(columns["class"][:, 0], whole.labels)


def test_classified_pictures_are_enlarged_into_the_shards(cifar: Path, catalogue: Catalogue, tmp_path: Path) -> None:
    wanted = settings(train=str(cifar), label="class", enlarge={"by": "bicubic", "scale": 2})
    plain = settings(train=str(cifar), label="class")
    manifest, columns = made(wanted, catalogue, tmp_path, Enlarger(None, "bicubic", 2))
    other, _ = made(plain, catalogue, tmp_path)
    assert manifest.fingerprint != other.fingerprint
    pixels = torch.from_numpy(catalogue.classified(str(cifar), "train").pixels).permute(0, 3, 1, 2)
    np.testing.assert_array_equal(columns["hr"], imresize_uint8(pixels, 2).permute(0, 2, 3, 1).numpy())
    assert columns_of(wanted, 2)["hr"].shape == (64, 64, 3)


def test_what_enlarges_is_part_of_the_fingerprint_and_where_it_lies_is_not(
    cifar: Path, catalogue: Catalogue, tmp_path: Path
) -> None:
    here, there = (settings(train=str(cifar), label="class", enlarge={"by": by}) for by in ("one", "another"))
    known = contents([here], 2, catalogue, str(tmp_path))[here.source].inputs
    assert dataset_fingerprint(here, 2, known, "x") == dataset_fingerprint(there, 2, known, "x")
    assert dataset_fingerprint(here, 2, known, "x") != dataset_fingerprint(here, 2, known, "y")


def test_classified_pictures_that_change_on_the_way_are_noticed(
    cifar: Path, catalogue: Catalogue, tmp_path: Path
) -> None:
    [excerpt] = find_inputs(settings(train=str(cifar), label="class"), 1, catalogue, str(tmp_path))
    with np.load(cifar) as arrays:
        changed = {name: arrays[name].copy() for name in arrays}
    changed["x_train"][0, 0, 0, 0] ^= 1
    np.savez(cifar, **changed)
    with pytest.raises(DataError, match="changed"):
        excerpt.read()  # type: ignore[union-attr]


def test_a_padded_patch_moves_within_zeros_and_keeps_its_label(
    cifar: Path, catalogue: Catalogue, tmp_path: Path
) -> None:
    manifest, columns = made(settings(train=str(cifar), label="class"), catalogue, tmp_path)
    stream = Stream(
        columns,
        divisors=dict.fromkeys(columns, 1),
        codings={name: column.coding for name, column in manifest.columns.items()},
        patch=32,
        batch=6,
        key=3,
        augment="mirror",
        pad=4,
    )
    seen = [stream.batch(step) for step in range(4)]
    known = {label: set() for label in range(10)}  # type: ignore[var-annotated]
    for pixels, label in zip(columns["hr"], columns["class"], strict=True):
        known[int(label[0])] |= set(map(bytes, pixels.reshape(-1, 3)))
    moved = 0
    for batch in seen:
        assert batch["class"].dtype == torch.int64
        for patch, label in zip((255 * batch["hr"]).round().to(torch.uint8), batch["class"], strict=True):
            edge = (patch == 0).all(0)
            moved += bool(edge.all(0).any() or edge.all(1).any())
            inside = patch.permute(1, 2, 0)[~edge].numpy()
            assert set(map(bytes, inside)) <= known[int(label)]
    assert moved > 10  # of 24, where one in 81 is not moved


@pytest.mark.parametrize(("side", "pad", "places"), [(32, 2, 25), (64, 4, 81), (64, 8, 289)])
def test_a_padded_patch_may_begin_at_every_pixel(side: int, pad: int, places: int) -> None:
    across = np.broadcast_to(np.arange(1, side + 1, dtype=np.uint8), (side, side))
    hr = np.stack([across.T, across, np.full_like(across, 255)], axis=-1)[None]
    columns = {"hr": hr, "class": np.zeros((1, 1), np.int64)}
    kinds = {"divisors": {"hr": 1, "class": 1}, "codings": {"hr": "pixels", "class": "label"}}
    seen = Stream(columns, **kinds, patch=side, batch=12 * places, key=0, pad=pad, augment="none").batch(0)["hr"]
    assert len({patch.numpy().tobytes() for patch in seen}) == places


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "subimages: say how pictures are cut"),
        ({"label": "class", "subimages": {"size": 32, "stride": 32}}, "stay whole"),
        ({"label": "class", "degradation": {"type": "bicubic"}}, "not of classified pictures"),
        ({"subimages": {"size": 32, "stride": 32}, "enlarge": {"by": "bicubic"}}, "for classified pictures alone"),
        ({"subimages": {"size": 32, "stride": 32}, "split": "val"}, "name another data set"),
        ({"label": "distribution", "subimages": {"size": 32, "stride": "middle"}}, "stride"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(content: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings(train="anything", **content)


def test_a_data_set_of_another_kind_or_split_is_refused(tid: Path, catalogue: Catalogue, tmp_path: Path) -> None:
    cuts, root = {"size": 32, "stride": 32}, str(tmp_path)
    with pytest.raises(ConfigError, match="no pictures of the split 'test'"):
        find_inputs(settings(train=str(tid), label="distribution", split="test", subimages=cuts), 1, catalogue, root)
    with pytest.raises(ConfigError, match="not of scored"):
        find_inputs(settings(train="BSD100", label="distribution", subimages=cuts), 1, catalogue, root)
