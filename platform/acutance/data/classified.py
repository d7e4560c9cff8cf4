"""Small pictures with a class each: CIFAR-10 and CIFAR-100 in their binary versions, and a subset in one .npz file.

CIFAR: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; www.cs.toronto.edu/~kriz/cifar.html
describes the files. Nothing here reads a pickle, which the versions for Python consist of.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass

import numpy as np

from acutance import storage
from acutance.config.data import SIDE
from acutance.data.entries import Layout
from acutance.errors import ConfigError, DataError

PIXELS = 3 * SIDE * SIDE
NPZ_SPLITS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Classified:
    """Pictures and their classes: `pixels` uint8 (N, 32, 32, 3) RGB, `labels` int64 (N,) into `class_names`."""

    pixels: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class Cifar:
    """The files of a binary version; a record is `labels` bytes, of which the last is the class, then the pixels."""

    folder: str
    names: str
    labels: int
    splits: dict[str, tuple[str, ...]]
    records: dict[str, int]
    """How many records a file of each split has."""
    pickled: str
    archive: str

    @property
    def record(self) -> int:
        """The bytes of a record."""
        return self.labels + PIXELS


CIFAR: dict[str, Cifar] = {
    "cifar10": Cifar(
        folder="cifar-10-batches-bin",
        names="batches.meta.txt",
        labels=1,
        splits={"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)},
        records={"train": 10_000, "test": 10_000},
        pickled="cifar-10-batches-py",
        archive="cifar-10-binary.tar.gz",
    ),
    "cifar100": Cifar(
        folder="cifar-100-binary",
        names="fine_label_names.txt",
        labels=2,
        splits={"train": ("train.bin",), "test": ("test.bin",)},
        records={"train": 50_000, "test": 10_000},
        pickled="cifar-100-python",
        archive="cifar-100-binary.tar.gz",
    ),
}


def read_classified(place: str, layout: Layout, split: str) -> Classified:
    """Return one split of classified pictures.

    Args:
        place: for "npz" the file, with the arrays x_SPLIT, y_SPLIT and class_names; else the folder that contains the
            folder of the published archive, such as cifar-10-batches-bin.
        layout: "npz", "cifar10" or "cifar100".
        split: "train" or "test"; npz has "val" too.

    Raises:
        ConfigError: for a split that the layout does not have.
        DataError: for files that are missing, of another size than the published, or of another content.
    """
    _require_split(place, layout, split)
    return _read_npz(place, split) if layout == "npz" else _read_cifar(place, CIFAR[layout], split)


def classified_files(place: str, layout: Layout, split: str) -> list[str]:
    """Return the files that one split is read from; raises as `read_classified` does for those that are missing."""
    _require_split(place, layout, split)
    if layout == "npz":
        return [_require_file(place)]
    cifar = CIFAR[layout]
    return [*_cifar_files(place, cifar, split), storage.join(place, cifar.folder, cifar.names)]


def _require_split(place: str, layout: Layout, split: str) -> None:
    splits = NPZ_SPLITS if layout == "npz" else tuple(CIFAR[layout].splits)
    if split not in splits:
        fix = f"choose one of {', '.join(splits)}"
        raise ConfigError(f"the layout {layout} has no split {split!r}", where=place, fix=fix)


def count_classified(place: str, layout: Layout) -> int:
    """Return the number of pictures in all splits, without reading their pixels; raises as `read_classified` does."""
    if layout == "npz":
        return sum(len(_npz_arrays(place, f"y_{split}")[0]) for split in NPZ_SPLITS)
    cifar = CIFAR[layout]
    files = [(file, split) for split in cifar.splits for file in _cifar_files(place, cifar, split)]
    return sum(cifar.records[split] for _, split in files)


def _cifar_files(place: str, cifar: Cifar, split: str) -> list[str]:
    """Return the files of a split, after checking that they and the class names are present and complete."""
    folder = storage.join(place, cifar.folder)
    if not storage.is_folder(folder) and storage.is_folder(storage.join(place, cifar.pickled)):
        what = f"only the version for Python, {cifar.pickled}, is here; its pickles are not read, as they run code"
        raise DataError(what, where=place, fix=f"get the binary version, {cifar.archive}")
    files = [storage.join(folder, name) for name in cifar.splits[split]]
    names, expected = storage.join(folder, cifar.names), cifar.record * cifar.records[split]
    found_states = storage.states([names, *files])
    for file in (folder, names, *files):
        if file not in found_states and not (file == folder and storage.is_folder(folder)):
            fix = f"unpack the binary version, {cifar.archive}, into {place}"
            raise DataError(f"there is no {file.rpartition('/')[2]}", where=file, fix=fix)
    for file in files:
        if found_states[file].size != expected:
            what = f"{file.rpartition('/')[2]} has {found_states[file].size:,} bytes, not {expected:,}"
            raise DataError(what, where=file, fix=f"unpack {cifar.archive} again")
    return files


def _read_cifar(place: str, cifar: Cifar, split: str) -> Classified:
    files = _cifar_files(place, cifar, split)
    try:
        names = storage.read_bytes(storage.join(place, cifar.folder, cifar.names)).decode("ascii")
        content = [np.frombuffer(storage.read_bytes(file), np.uint8) for file in files]
        raw = np.concatenate([records.reshape(-1, cifar.record) for records in content])
    except (OSError, ValueError) as error:
        raise DataError(f"{cifar.folder} cannot be read: {error}", where=place) from error
    planes = raw[:, cifar.labels :].reshape(-1, 3, SIDE, SIDE)
    return _checked(planes.transpose(0, 2, 3, 1), raw[:, cifar.labels - 1], tuple(names.split()), place)


def _read_npz(file: str, split: str) -> Classified:
    pixels, labels, names = _npz_arrays(file, f"x_{split}", f"y_{split}", "class_names")
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (SIDE, SIDE, 3):
        what = f"x_{split} is {pixels.dtype} {pixels.shape}, not uint8 (N, {SIDE}, {SIDE}, 3)"
        raise DataError(what, where=file)
    if labels.dtype.kind not in "ui" or labels.shape != pixels.shape[:1] or names.dtype.kind != "U":
        what = f"y_{split} and class_names are no labels of {len(pixels)} pictures and their names"
        raise DataError(what, where=file)
    return _checked(pixels, labels, tuple(names.tolist()), file)


def _npz_arrays(file: str, *names: str) -> list[np.ndarray]:
    _require_file(file)
    try:
        with storage.open_file(file) as content, np.load(content, allow_pickle=False) as arrays:
            return [arrays[name] for name in names]
    except KeyError as error:
        raise DataError(f"an array is missing: {error.args[0]}", where=file) from None
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"this is no .npz file, or it is damaged: {error}", where=file) from error


def _require_file(file: str) -> str:
    if file not in storage.states([file]):
        raise DataError("there is no such file", where=file)
    return file


def _checked(pixels: np.ndarray, labels: np.ndarray, names: tuple[str, ...], where: str) -> Classified:
    if not len(labels) or labels.min() < 0 or labels.max() >= len(names):
        found = f"labels {labels.min()} to {labels.max()}" if len(labels) else "no pictures"
        raise DataError(f"there are {found}, and the names of {len(names)} classes", where=where)
    return Classified(np.ascontiguousarray(pixels), labels.astype(np.int64), names)
