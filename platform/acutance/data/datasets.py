"""Which pictures a dataset's name stands for: the catalogue of `pipelines/datasets.yaml`, or any folder.

A catalogue entry lists pictures packaged inside installed Python distributions, or a folder below the one
that the environment variable ACUTANCE_DATA names. Nothing is opened here; `read_picture` does that.
"""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field, model_validator

from acutance.data.pictures import EXTENSIONS
from acutance.errors import ConfigError, DataError
from acutance.schema import Strict, load_yaml, nearest, validate

ROOT_VARIABLE = "ACUTANCE_DATA"


class Packaged(Strict):
    """A picture inside an installed package; `distribution` is what to install where that differs in name."""

    package: str
    file: str
    distribution: str | None = None


class Archive(Strict):
    """A published .zip of a dataset: what it holds is the sub-folder `holds`, unpacked into the dataset's folder."""

    url: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    holds: str


class Entry(Strict):
    """One dataset of the catalogue: either `packaged` pictures or a `folder`.

    `hr` is the sub-folder of the pictures themselves. `lr` names, per scale, the sub-folder of low-resolution
    pictures of the same stem, followed by `lr_suffix`, in which `{scale}` stands for the scale; `hr_for` a sub-folder
    whose pictures stand in for those of `hr` at that scale. `archives` is what may be downloaded into the folder.
    """

    about: str
    source: str
    licence: str
    packaged: list[Packaged] | None = None
    folder: str | None = None
    hr: str = "."
    lr: dict[int, str] = Field(default_factory=dict)
    lr_suffix: str = ""
    hr_for: dict[int, str] = Field(default_factory=dict)
    archives: list[Archive] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_place(self) -> Entry:
        if bool(self.packaged) == bool(self.folder):
            raise ValueError("a dataset has either 'packaged' pictures or a 'folder'")
        if self.archives and not self.folder:
            raise ValueError("'archives' need a 'folder' to be unpacked into")
        return self


@dataclass(frozen=True)
class Source:
    """One picture of a dataset: where it lies, and its stored low-resolution versions by scale.

    `hr_paths` holds, by scale, the picture that replaces `path` as ground truth at that scale.
    """

    name: str
    path: Path
    lr_paths: dict[int, Path] = field(default_factory=dict)
    hr_paths: dict[int, Path] = field(default_factory=dict)

    def hr_path(self, scale: int) -> Path:
        """Return the ground truth at a scale."""
        return self.hr_paths.get(scale, self.path)


@dataclass(frozen=True)
class Listed:
    """One row of the list of datasets; `where` is its place, or why it is not there."""

    name: str
    present: bool
    pictures: int
    where: str
    about: str


class _File(Strict):
    datasets: dict[str, Entry]


@dataclass(frozen=True)
class Catalogue:
    """The datasets that have a name."""

    entries: dict[str, Entry]
    file: str

    def find(self, name: str) -> list[Source]:
        """Return the pictures of a dataset, or of a folder given by its path, sorted by name.

        Raises:
            ConfigError: for a name that is neither in the catalogue nor a folder.
            DataError: for data that is not on this machine, and for a folder without pictures.
        """
        if name in self.entries:
            return self._entry_sources(name, self.entries[name])
        if "://" in name:
            raise ConfigError("pictures are read from local folders", where=name, fix="copy them to one")
        if "/" in name or Path(name).is_dir():
            folder = Path(name).expanduser().absolute()
            return _folder_sources(folder, "give the path of a local folder of pictures")
        raise self._unknown(name)

    def entry(self, name: str) -> Entry:
        """Return the entry of a name; ConfigError for one that is not in the catalogue."""
        if name not in self.entries:
            raise self._unknown(name)
        return self.entries[name]

    def place(self, name: str) -> str:
        """Return the folder of a dataset, present or not, or the distributions that it is inside of."""
        entry = self.entry(name)
        if entry.packaged:
            return "inside " + ", ".join(sorted({p.distribution or p.package for p in entry.packaged}))
        return str(_root() / str(entry.folder))

    def listing(self) -> list[Listed]:
        """Return one row a dataset, present or not."""
        return [self._row(name, entry) for name, entry in sorted(self.entries.items())]

    def _row(self, name: str, entry: Entry) -> Listed:
        try:
            found = self.find(name)
        except DataError as error:
            return Listed(name, False, 0, f"{error.what}{f': {error.where}' if error.where else ''}", entry.about)
        return Listed(name, True, len(found), self.place(name), entry.about)

    def _unknown(self, name: str) -> ConfigError:
        return ConfigError(
            f"no dataset is called {name!r}{nearest(name, self.entries)}",
            where=self.file,
            fix="choose one of its datasets, or give a folder as ./NAME",
        )

    def _entry_sources(self, name: str, entry: Entry) -> list[Source]:
        if entry.packaged:
            return _named([_packaged_path(picture, name) for picture in entry.packaged])
        folder = _root() / str(entry.folder)
        fetch = f"run `acutance data fetch {name}`, or " if entry.archives else ""
        fix = f"{fetch}put {name} there ({entry.source}), or point {ROOT_VARIABLE} at what holds {entry.folder}"
        sources = _folder_sources(folder / entry.hr, fix)
        alone = f"{fix}, or name {folder / entry.hr} in place of {name} to use the pictures without their LR"
        lr = {scale: _lr_by_name(folder / below, entry, scale, alone) for scale, below in entry.lr.items()}
        for scale, paths in lr.items():
            _require_all(sources, paths, folder / entry.lr[scale], f"complete it from {entry.source}")
        hr = {scale: _by_name(folder / below, fix) for scale, below in entry.hr_for.items()}
        return [Source(s.name, s.path, _of(s.name, lr), _of(s.name, hr)) for s in sources]


def load_catalogue(path: str | Path) -> Catalogue:
    """Read a catalogue of datasets.

    Raises:
        ConfigError: naming the file and the key that is wrong.
    """
    return Catalogue(validate(_File, load_yaml(path), str(path)).datasets, str(path))


def _root() -> Path:
    root = os.environ.get(ROOT_VARIABLE)
    if not root:
        raise DataError(
            f"the environment variable {ROOT_VARIABLE} is not set",
            fix=f"set {ROOT_VARIABLE} to the folder that holds benchmarks/ and train/",
        )
    return Path(root).expanduser().absolute()


def _packaged_path(picture: Packaged, dataset: str) -> Path:
    spec = importlib.util.find_spec(picture.package)  # finds a package without importing it
    places = [Path(place) / picture.file for place in (spec.submodule_search_locations or [])] if spec else []
    for place in places:
        if place.is_file():
            return place
    raise DataError(
        f"{dataset} needs {picture.file} of the package {picture.package}, which is not installed here",
        where=str(places[0]) if places else picture.package,
        fix=f"pip install {picture.distribution or picture.package}",
    )


def _folder_sources(folder: Path, fix: str) -> list[Source]:
    if not folder.is_dir():
        raise DataError("there is no such folder", where=str(folder), fix=fix)
    paths = [p for p in folder.rglob("*") if _is_picture(p.relative_to(folder)) and p.is_file()]
    if not paths:
        raise DataError(f"no picture ({' '.join(EXTENSIONS)}) is in this folder", where=str(folder), fix=fix)
    return _named(paths, folder)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not any(part.startswith(".") for part in path.parts)


def _named(paths: list[Path], folder: Path | None = None) -> list[Source]:
    """Name pictures by their path without extension; those that would share a name keep the extension."""
    full = [path.relative_to(folder) if folder else Path(path.name) for path in paths]
    short = [name.with_suffix("") for name in full]
    shared = Counter(short)
    names = [name if shared[bare] > 1 else bare for name, bare in zip(full, short, strict=True)]
    sources = [Source(name.as_posix(), path) for name, path in zip(names, paths, strict=True)]
    return sorted(sources, key=lambda source: source.name)


def _by_name(folder: Path, fix: str) -> dict[str, Path]:
    return {source.name: source.path for source in _folder_sources(folder, fix)}


def _lr_by_name(folder: Path, entry: Entry, scale: int, fix: str) -> dict[str, Path]:
    suffix = entry.lr_suffix.replace("{scale}", str(scale))
    return {name.removesuffix(suffix): path for name, path in _by_name(folder, fix).items() if name.endswith(suffix)}


def _require_all(sources: list[Source], lr: dict[str, Path], folder: Path, fix: str) -> None:
    """A data set whose LR is there in part would be measured on a mixture of its own LR and ours."""
    missing = [source.name for source in sources if source.name not in lr]
    if missing:
        what = f"the LR of {len(missing)} of {len(sources)} pictures is missing, the first that of {missing[0]}"
        raise DataError(what, where=str(folder), fix=fix)


def _of(name: str, by_scale: dict[int, dict[str, Path]]) -> dict[int, Path]:
    return {scale: paths[name] for scale, paths in by_scale.items() if name in paths}
