"""Classified pictures: CIFAR's binary versions made up in small, and the subset in one file."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from acutance.data.classified import CIFAR, Classified, read_classified
from acutance.data.datasets import Catalogue, load_catalogue
from acutance.errors import ConfigError, DataError

REPOSITORY = Path(__file__).resolve().parents[2]
RECORDS = {"train": 3, "test": 2}
CLASSES = ("aquarium_fish", "bear", "cup")
LAYOUTS = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}


@pytest.fixture
def catalogue() -> Catalogue:
    return load_catalogue(REPOSITORY / "pipelines" / "datasets.yaml")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACUTANCE_DATA", str(tmp_path))
    for layout in LAYOUTS:
        monkeypatch.setitem(CIFAR, layout, replace(CIFAR[layout], records=RECORDS))
    return tmp_path


def make_cifar(root: Path, layout: str) -> dict[str, Classified]:
    """Write a binary version, of random pictures; return its splits."""
    cifar, made = CIFAR[layout], {}
    random = np.random.default_rng(0)
    folder = root / LAYOUTS[layout] / cifar.folder
    folder.mkdir(parents=True)
    (folder / cifar.names).write_text("".join(f"{name}\n" for name in CLASSES) + "\n")
    for split, files in cifar.splits.items():
        count = RECORDS[split] * len(files)
        pixels = random.integers(0, 256, (count, 32, 32, 3), np.uint8)
        labels = random.integers(0, len(CLASSES), count)
        records = b""
        for picture, label in zip(pixels, labels, strict=True):
            coarse = bytes([19]) if layout == "cifar100" else b""
            records += coarse + bytes([label]) + picture.transpose(2, 0, 1).tobytes()  # red, then green, then blue
        size = len(records) // len(files)
        for number, file in enumerate(files):
            (folder / file).write_bytes(records[number * size : (number + 1) * size])
        made[split] = Classified(pixels, labels, CLASSES)
    return made


def assert_same(found: Classified, made: Classified) -> None:
    np.testing.assert_array_equal(found.pixels, made.pixels)
    np.testing.assert_array_equal(found.labels, made.labels)
    assert found.class_names == made.class_names
    assert (found.pixels.dtype, found.labels.dtype, found.pixels.flags["C_CONTIGUOUS"]) == (np.uint8, np.int64, True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_binary_versions(catalogue: Catalogue, root: Path, layout: str) -> None:
    made = make_cifar(root, layout)
    for split in ("train", "test"):
        assert_same(catalogue.classified(LAYOUTS[layout], split), made[split])
    assert catalogue.count(LAYOUTS[layout]) == len(made["train"].labels) + len(made["test"].labels)
    assert_same(catalogue.classified(str(root / LAYOUTS[layout]), "test"), made["test"])
    with pytest.raises(ConfigError, match=f"{layout} has no split 'val'") as caught:
        catalogue.classified(LAYOUTS[layout], "val")
    assert "train, test" in str(caught.value.fix)


def test_the_published_sizes() -> None:
    """30,730,000 bytes a file of CIFAR-10; 50,000 and 10,000 records of 3074 bytes in CIFAR-100."""
    ten, hundred = CIFAR["cifar10"], CIFAR["cifar100"]
    assert {ten.record * records for records in ten.records.values()} == {30_730_000}
    assert {split: hundred.record * n for split, n in hundred.records.items()} == {
        "train": 153_700_000,
        "test": 30_740_000,
    }


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_truncated_file_is_named_with_its_sizes(catalogue: Catalogue, root: Path, split: str) -> None:
    make_cifar(root, "cifar10")
    file = root / "CIFAR10" / "cifar-10-batches-bin" / {"train": "data_batch_3.bin", "test": "test_batch.bin"}[split]
    file.write_bytes(file.read_bytes()[:3073])  # whole records, though not all
    for attempt in (lambda: catalogue.classified("CIFAR10", split), lambda: catalogue.count("CIFAR10")):
        with pytest.raises(DataError, match=f"{file.name} has 3,073 bytes, not {RECORDS[split] * 3073:,}") as caught:
            attempt()
        assert caught.value.where == str(file)
        assert "cs.toronto.edu" in str(caught.value.fix)


@pytest.mark.parametrize("gone", ["data_batch_2.bin", "test_batch.bin", "batches.meta.txt", ""])
def test_a_missing_file_is_named(catalogue: Catalogue, root: Path, gone: str) -> None:
    make_cifar(root, "cifar10")
    folder = root / "CIFAR10" / "cifar-10-batches-bin"
    for file in [folder / gone] if gone else folder.iterdir():
        file.unlink()
    with pytest.raises(DataError, match=f"there is no {gone or 'batches.meta.txt'}") as caught:
        catalogue.count("CIFAR10")
    assert caught.value.where == str(folder / (gone or "batches.meta.txt"))
    assert "acutance data fetch CIFAR10" in str(caught.value.fix)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_pickled_version_is_not_read(catalogue: Catalogue, root: Path, layout: str) -> None:
    with pytest.raises(DataError, match=f"there is no {CIFAR[layout].folder}"):
        catalogue.count(LAYOUTS[layout])
    (root / LAYOUTS[layout] / CIFAR[layout].pickled).mkdir(parents=True)
    with pytest.raises(DataError, match="only the version for Python") as caught:
        catalogue.classified(LAYOUTS[layout], "train")
    assert CIFAR[layout].archive in str(caught.value.fix)
    make_cifar(root, layout)
    assert len(catalogue.classified(LAYOUTS[layout], "test").labels) == 2


def test_a_label_without_a_name_is_refused(catalogue: Catalogue, root: Path) -> None:
    make_cifar(root, "cifar10")
    (root / "CIFAR10" / "cifar-10-batches-bin" / "batches.meta.txt").write_text("cat\n")
    with pytest.raises(DataError, match="the names of 1 classes"):
        catalogue.classified("CIFAR10", "train")


def test_the_subset(catalogue: Catalogue, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACUTANCE_DATA", str(data_root))
    for split, count in {"train": 2000, "val": 500, "test": 761}.items():
        found = catalogue.classified("CIFAR10_subset", split)
        assert (found.pixels.shape, found.pixels.dtype) == ((count, 32, 32, 3), np.uint8)
        assert (found.labels.shape, found.labels.dtype) == ((count,), np.int64)
        assert (len(found.class_names), found.class_names[9]) == (10, "truck")
        if split != "test":
            assert set(np.bincount(found.labels)) == {count // 10}
    assert catalogue.count("CIFAR10_subset") == 3261
    assert_same(catalogue.classified(str(data_root / "cifar10_subset.npz"), "test"), found)


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


PIXELS, NAMES = np.zeros((2, 32, 32, 3), np.uint8), np.array(["cat", "dog"])
WHOLE = npz(x_train=PIXELS, y_train=np.array([0, 1]), class_names=NAMES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (WHOLE[:5000], "damaged"),
        (WHOLE.replace(b"\0" * 3000, b"\1" * 3000), "damaged"),
        (b"", "damaged"),
        (pickle.dumps([1, 2]), "damaged"),
        (npz(x_train=PIXELS, y_train=np.array([0, {}]), class_names=NAMES), "damaged"),
        (npz(x_train=PIXELS, class_names=NAMES), "an array is missing: y_train"),
        (npz(x_train=PIXELS.astype(float), y_train=np.array([0, 1]), class_names=NAMES), "not uint8"),
        (npz(x_train=PIXELS[:, :16], y_train=np.array([0, 1]), class_names=NAMES), "not uint8"),
        (npz(x_train=PIXELS, y_train=np.array([0, 1, 1]), class_names=NAMES), "no labels of 2 pictures"),
        (npz(x_train=PIXELS, y_train=np.array([0.0, 1]), class_names=NAMES), "no labels of 2 pictures"),
        (npz(x_train=PIXELS, y_train=np.array([0, 2]), class_names=NAMES), "labels 0 to 2, and the names of 2"),
        (npz(x_train=PIXELS, y_train=np.array([-1, 1]), class_names=NAMES), "labels -1 to 1"),
        (npz(x_train=PIXELS[:0], y_train=np.array([0])[:0], class_names=NAMES), "there are no pictures"),
    ],
)
def test_a_file_of_arrays_that_is_not_one(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.npz").write_bytes(WHOLE)
    np.testing.assert_array_equal(read_classified(str(tmp_path / "a.npz"), "npz", "train").labels, [0, 1])
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_classified(str(tmp_path / "a.npz"), "npz", "train")
    assert caught.value.where == str(tmp_path / "a.npz")


def test_classified_pictures_are_not_pictures_to_restore(catalogue: Catalogue, root: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"CIFAR10_subset is a dataset of classified pictures \(npz\), not of pictures"
    ):
        catalogue.find("CIFAR10_subset")
    with pytest.raises(ConfigError, match=r"AVA is a dataset of scored pictures .*, not of classified pictures"):
        catalogue.classified("AVA", "train")
    with pytest.raises(DataError, match="there is no such file") as caught:
        catalogue.classified("CIFAR10_subset", "train")
    assert caught.value.where == str(root / "cifar10_subset.npz")
    assert "x_train" in str(caught.value.fix)
