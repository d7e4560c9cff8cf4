"""Degraded and clean pictures of one size, in the published layouts of REDS and SIDD."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from acutance.config.data import DataSettings
from acutance.config.mistakes import validate
from acutance.data.columns import dataset_fingerprint
from acutance.data.datasets import Catalogue, load_catalogue
from acutance.data.inputs import list_pictures
from acutance.errors import ConfigError, DataError

REPOSITORY = Path(__file__).resolve().parents[2]
SIDD = "SIDD_Medium_Srgb/Data"
SCENES = {"0001": "001_S6_00100_00060_3200_L", "0034": "002_GP_00100_00160_3200_N", "0198": "010_GP_00100_00200_5500_N"}


@pytest.fixture
def catalogue() -> Catalogue:
    return load_catalogue(REPOSITORY / "pipelines" / "datasets.yaml")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACUTANCE_DATA", str(tmp_path))
    return tmp_path


def picture(path: Path, side: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side)).save(path, "JPEG" if path.suffix.lower() == ".jpg" else "PNG")


def make_reds(root: Path, part: str) -> None:
    """Two clips of two frames; the degraded ones are JPEGs."""
    for frame in ("000/00000008", "000/00000009", "001/00000009", "001/00000019"):
        picture(root / f"REDS/{part}/{part}_sharp/{frame}.png")
        picture(root / f"REDS/{part}/{part}_blur_jpeg/{frame}.jpg")
        picture(root / f"REDS/{part}/{part}_blur_bicubic/X4/{frame}.png", 2)


def make_sidd(root: Path) -> None:
    for instance, scene in SCENES.items():
        for kind in ("GT", "NOISY"):
            for burst in ("010", "011"):
                picture(root / SIDD / f"{instance}_{scene}" / f"{instance}_{kind}_SRGB_{burst}.PNG")


def test_reds_pairs_frames_of_clips(catalogue: Catalogue, root: Path) -> None:
    make_reds(root, "train")
    found = catalogue.find("REDS_train", 4, [1, 4])
    assert [s.name for s in found] == ["000/00000008", "000/00000009", "001/00000009", "001/00000019"]
    assert found[0].path == str(root / "REDS/train/train_sharp/000/00000008.png")
    assert found[0].lr_paths == {
        1: str(root / "REDS/train/train_blur_jpeg/000/00000008.jpg"),
        4: str(root / "REDS/train/train_blur_bicubic/X4/000/00000008.png"),
    }
    with pytest.raises(DataError, match="no such folder") as caught:
        catalogue.find("REDS_val")
    assert caught.value.where == str(root / "REDS/val/val_sharp")


def test_the_validation_of_reds_is_the_frames_that_end_in_9(catalogue: Catalogue, root: Path) -> None:
    make_reds(root, "val")
    (root / "REDS/val/val_blur_jpeg/000/00000008.jpg").unlink()  # not one of them
    found = catalogue.find("REDS_val", 1)
    assert [s.name for s in found] == ["000/00000009", "001/00000009", "001/00000019"]
    assert found[2].lr_paths == {1: str(root / "REDS/val/val_blur_jpeg/001/00000019.jpg")}
    for frame in (root / "REDS/val/val_sharp").rglob("*9.png"):
        frame.unlink()
    with pytest.raises(DataError, match=r"no picture called \*9") as caught:
        catalogue.find("REDS_val")
    assert "seungjunnah.github.io" in str(caught.value.fix)
    assert "in place of" not in str(caught.value.fix)


@pytest.mark.parametrize(("scale", "unread"), [(1, "train_blur_bicubic"), (4, "train_blur_jpeg")])
def test_pairs_that_are_not_read_need_not_be_here(catalogue: Catalogue, root: Path, scale: int, unread: str) -> None:
    make_reds(root, "train")
    shutil.rmtree(root / "REDS/train" / unread)
    assert {tuple(source.lr_paths) for source in catalogue.find("REDS_train", scale)} == {(scale,)}
    assert len(catalogue.find("REDS_train")) == 4


@pytest.mark.parametrize(
    ("gone", "message", "where"),
    [
        ("train_blur_jpeg/001/00000009.jpg", "the degraded version of 1 of 4 .* that of 001/00000009", "blur_jpeg"),
        ("train_blur_bicubic/X4/000/00000008.png", "the LR of 1 of 4 .* that of 000/00000008", "X4"),
        ("train_sharp/000/00000009.png", "the pictures of 1 degraded versions .* that of 000/00000009", "train_sharp"),
    ],
)
def test_what_is_missing_of_a_pair_is_named(
    catalogue: Catalogue, root: Path, gone: str, message: str, where: str
) -> None:
    make_reds(root, "train")
    (root / "REDS/train" / gone).unlink()
    with pytest.raises(DataError, match=message) as caught:
        catalogue.find("REDS_train", 4, [1, 4])
    assert str(caught.value.where).endswith(where)
    assert "seungjunnah.github.io" in str(caught.value.fix)


def test_sidd_pairs_noisy_and_clean_of_one_folder_and_splits_by_scene(catalogue: Catalogue, root: Path) -> None:
    make_sidd(root)
    train, val = catalogue.find("SIDD_train", 1), catalogue.find("SIDD_val", 1)
    assert {s.name.partition("/")[0][:8] for s in train} == {"0001_001", "0198_010"}
    assert [Path(s.path).name for s in train[:2]] == ["0001_GT_SRGB_010.PNG", "0001_GT_SRGB_011.PNG"]
    assert [Path(s.path).name for s in val] == ["0034_GT_SRGB_010.PNG", "0034_GT_SRGB_011.PNG"]
    for source in [*train, *val]:
        assert source.lr_paths == {1: source.path.replace("_GT_", "_NOISY_")}


@pytest.mark.parametrize(
    ("kind", "message"), [("NOISY", "the degraded version of 1 of 2"), ("GT", "the pictures of 1")]
)
def test_sidd_without_one_of_a_pair(catalogue: Catalogue, root: Path, kind: str, message: str) -> None:
    make_sidd(root)
    (root / SIDD / f"0034_{SCENES['0034']}" / f"0034_{kind}_SRGB_011.PNG").unlink()
    assert len(catalogue.find("SIDD_train", 1)) == 4
    with pytest.raises(DataError, match=message) as caught:
        catalogue.find("SIDD_val", 1)
    assert caught.value.where == str(root / SIDD)
    assert "kamel/sidd" in str(caught.value.fix)


def test_an_empty_folder_is_not_sidd(catalogue: Catalogue, root: Path) -> None:
    (root / SIDD).mkdir(parents=True)
    with pytest.raises(DataError, match=r"no picture called \?{4}_002"):
        catalogue.find("SIDD_val")


def test_every_scene_of_sidd_is_on_one_side(catalogue: Catalogue, root: Path) -> None:
    for scene in range(1, 11):
        for kind in ("GT", "NOISY"):
            picture(root / SIDD / f"0001_{scene:03}_S6_00100_00060_3200_L" / f"0001_{kind}_SRGB_010.PNG")
    train, val = ({s.name[5:8] for s in catalogue.find(f"SIDD_{part}")} for part in ("train", "val"))
    assert val == {"002"}
    assert train == {f"{scene:03}" for scene in range(1, 11)} - val


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("folder: x, lr: {0: LR}", "datasets.mine.lr"),
        ("folder: x, lr_suffix: x", "'lr_suffix' and 'lr_swap' name"),
        ("folder: x, lr: {1: .}, lr_swap: {_GT_: _N_}", "'only' must hold"),
        ("folder: x, lr: {1: .}, only: '*', lr_swap: {'': _N_}", "'only' must hold"),
        ("folder: x, lr: {1: .}, only: '*_GT_*', lr_swap: _N_", "datasets.mine.lr_swap"),
        ("folder: x, layout: ava, hr: HR", "'hr' is for a 'folder' of pictures"),
        ("packaged: [{package: p, file: f}], only: '*'", "'only' is for a 'folder' of pictures"),
        ("packaged: [{package: p, file: f}], layout: ava", "the layout ava needs a 'folder'"),
        ("folder: x, file: y.npz, layout: npz", "give one of"),
        ("folder: x, layout: npz", "a 'file' needs the layout npz"),
        ("file: x.npz", "a 'file' needs the layout npz"),
        ("folder: x, layout: cifar", "datasets.mine.layout"),
        ("folder: x, archives: [{url: 'h/a.rar', checksum: 'md5:00', holds: y}]", "archives.0.checksum"),
    ],
)
def test_keys_that_make_no_sense_are_refused(tmp_path: Path, entry: str, message: str) -> None:
    path = tmp_path / "datasets.yaml"
    path.write_text(f"datasets:\n  mine: {{about: a, source: s, licence: l, {entry}}}\n")
    with pytest.raises(ConfigError, match=message):
        load_catalogue(path)


def test_two_folders_are_a_data_set(tmp_path: Path) -> None:
    def listed_in(**folders: str) -> dict[str, str]:
        data = {"train": folders, "subimages": {"size": 8, "stride": 8}}
        settings = validate(DataSettings, data, "a test")
        assert settings == validate(DataSettings, settings.model_dump(mode="json"), "a test")
        return {one.name: one.lr_paths[4] for one in list_pictures(settings, 4, Catalogue({}, ""))}

    hr, lr = (str(tmp_path / name) for name in ("hr", "lr"))
    for name, shrunk in (("a", "a"), ("b/c", "b/cx4")):
        picture(Path(hr) / f"{name}.png")
        picture(Path(lr) / f"{shrunk}.png", 2)
    assert listed_in(hr=hr, lr=lr) == {"a": f"{lr}/a.png", "b/c": f"{lr}/b/cx4.png"}
    picture(Path(hr) / "d.png")
    with pytest.raises(DataError, match="1 of 3 pictures have no LR here: d"):
        listed_in(hr=hr, lr=lr)
    with pytest.raises(ConfigError, match=r"two folders are given as {hr: FOLDER, lr: FOLDER}"):
        listed_in(hr=hr, low=lr)


def test_where_two_folders_lie_does_not_count() -> None:
    def mark(lr: str) -> str:
        data = {"train": {"hr": "/x", "lr": lr}, "subimages": {"size": 8, "stride": 8}}
        return dataset_fingerprint(validate(DataSettings, data, "a test"), 4, [("a", "0 1")])

    assert mark("/one") == mark("/other")
