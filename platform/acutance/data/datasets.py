"""Finds the pictures of a data set by its name in a catalogue, or of any folder.

A catalogue entry lists pictures packaged inside installed Python distributions, or a folder below the one
that the environment variable ACUTANCE_DATA names, on a disk or in an object store. No picture is opened here;
`read_picture` does that.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from pydantic import model_validator

from acutance import storage
from acutance.config.data import DegradationChoice, Steps, plain
from acutance.config.mistakes import validate
from acutance.config.overrides import load_yaml
from acutance.config.packaged import CATALOGUE, packaged_catalogue
from acutance.config.schema import Strict
from acutance.data.classified import Classified, classified_files, count_classified, read_classified
from acutance.data.entries import KINDS, Entry, Kind, Layout, Packaged, layout_in
from acutance.data.folders import Source, entry_sources, folder_sources, named, paired_sources
from acutance.data.scored import READERS, Scored, notes_of
from acutance.errors import AbsentError, ConfigError, DataError, UnreachableError, nearest, readable

ROOT_VARIABLE = "ACUTANCE_DATA"
HELD = {"pictures": "pictures to restore", "scored": "scored pictures", "classified": "classified pictures"}
T = TypeVar("T")


@dataclass(frozen=True)
class Listed:
    """One row of the list of datasets; `where` is its path, or why it is absent."""

    name: str
    kind: Kind
    present: bool
    pictures: int
    where: str
    about: str


class _File(Strict):
    datasets: dict[str, Entry]

    @model_validator(mode="after")
    def _of_pictures(self) -> _File:
        named = {name: entry.of for name, entry in self.datasets.items() if entry.of}
        plain = [name for name, entry in self.datasets.items() if entry.kind == "pictures" and not entry.of]
        problems = [
            f"datasets.{n}.of: there is no {of!r}{nearest(of, plain)}" for n, of in named.items() if of not in plain
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self


class _Degraded(Strict):
    degrade: Steps


@dataclass(frozen=True)
class Catalogue:
    """The datasets that have a name."""

    entries: dict[str, Entry]
    file: str

    def find(
        self, name: str, scale: int | None = None, lr: Collection[int] | None = None, *, lr_in: str | None = None
    ) -> list[Source]:
        """Return the pictures of a dataset, or of a folder given by its path or s3:// URI, sorted by name.

        Args:
            scale: at which they are used; None for the pictures alone.
            lr: the scales whose stored LR is read; None for `scale`. LR of other scales may be absent.
            lr_in: a folder with the LR of that scale, in place of the dataset's own.

        Raises:
            ConfigError: for a name that is neither in the catalogue nor a folder, or of scored or classified pictures.
            AbsentError: for data that is not here, and for a folder without pictures.
            DataError: for data that is here in part.
        """
        if lr_in is not None and scale is not None:
            return paired_sources(self.find(name, scale, []), self._given(lr_in), scale)
        if name not in self.entries:
            return folder_sources(self._given(name), "give the path of a folder of pictures")
        read = lr if lr is not None else [scale] if scale else []
        return self._pictures(name, self._entry_of(name, "pictures"), scale, read)

    def _pictures(self, name: str, entry: Entry, scale: int | None, lr: Collection[int]) -> list[Source]:
        if entry.of:
            found = self._pictures(entry.of, self.entries[entry.of], scale, [])
            kept = [source for source in found if fnmatchcase(source.name, entry.only)]
            if not kept:
                raise DataError(f"no picture of {entry.of} is called {entry.only}", where=name, fix="mend its `only`")
            degrade = tuple(plain(self.steps(name)))
            return [replace(source, degrade=degrade) for source in kept]
        if entry.packaged:
            return named([_packaged_path(picture, name) for picture in entry.packaged])
        return entry_sources(self.place(name), name, entry, self._remedy(name), scale, lr)

    def scored(self, name: str) -> list[Scored]:
        """Return the scored pictures of a dataset, or of a folder in the layout of one, in the published order.

        Raises:
            ConfigError: for a name that is neither in the catalogue nor a folder, or of other pictures.
            DataError: for data that is not on this machine, all or in part, or is not what was published.
        """
        return self._read(name, "scored", lambda place, layout: READERS[layout](place))

    def classified(self, name: str, split: str) -> Classified:
        """Return a split ("train", "val" or "test") of the classified pictures of a dataset, or of a path.

        Raises:
            ConfigError: for a name that is neither in the catalogue nor a path, or of other pictures, and for a split
                that the dataset does not have.
            DataError: for data that is not on this machine, all or in part, or is not what was published.
        """
        return self._read(name, "classified", lambda place, layout: read_classified(place, layout, split))

    def classified_files(self, name: str, split: str) -> list[str]:
        """Return the files of a split, not read yet; errors as of `classified` otherwise."""
        return self._read(name, "classified", lambda place, layout: classified_files(place, layout, split))

    def located(self, name: str) -> tuple[str, Layout]:
        """Return where a dataset lies, or a path given in place of a name, and its layout."""
        if name in self.entries:
            return self.place(name), self.entries[name].layout
        place = self._given(name)
        return place, layout_in(place)

    def notes(self, name: str) -> tuple[str, ...]:
        """Return notes that models trained on a dataset or path must show, such as that its scores are synthetic."""
        place, layout = self.located(name)
        return tuple(notes_of(place)) if KINDS[layout] == "scored" else ()

    def count(self, name: str) -> int:
        """Return the number of pictures of a dataset, of whichever kind; raises as reading them would."""
        kind = self.entry(name).kind
        if kind == "scored":
            return len(self.scored(name))
        return self._read(name, kind, count_classified) if kind == "classified" else len(self.find(name))

    def entry(self, name: str) -> Entry:
        """Return the entry of a name; ConfigError for one that is not in the catalogue."""
        if name not in self.entries:
            raise self._unknown(name)
        return self.entries[name]

    def steps(self, name: str) -> list[DegradationChoice]:
        """Return what degrades the pictures of a dataset; none where they lie degraded on the disk, or not at all.

        Raises:
            ConfigError: for a setting that a degradation does not take.
        """
        return validate(_Degraded, {"degrade": self.entry(name).degrade}, f"{self.file}: datasets.{name}").degrade

    def place(self, name: str) -> str:
        """Return the folder or file of a dataset, present or not, or the distributions that contain it."""
        entry = self.entry(name)
        if entry.of:
            return self.place(entry.of)
        if entry.packaged:
            return "inside " + ", ".join(sorted({p.distribution or p.package for p in entry.packaged}))
        root, held = _root(), str(entry.folder or entry.file)
        return storage.join(root, held) if storage.is_remote(root) else str(Path(root) / held)

    def listing(self) -> list[Listed]:
        """Return one row a dataset, present or not."""
        return [self._row(name, entry) for name, entry in sorted(self.entries.items())]

    def _row(self, name: str, entry: Entry) -> Listed:
        try:
            count = self.count(name)
        except (DataError, UnreachableError) as error:
            where = f"{error.what}{f': {error.where}' if error.where else ''}"
            return Listed(name, entry.kind, False, 0, where, entry.about)
        return Listed(name, entry.kind, True, count, self.place(name), entry.about)

    def _read(self, name: str, kind: Kind, read: Callable[[str, Layout], T]) -> T:
        entry = self._entry_of(name, kind) if name in self.entries else None
        place = self.place(name) if entry else self._given(name)
        try:
            return read(place, entry.layout if entry else _layout_of_kind(place, kind))
        except DataError as error:
            problem = DataError if storage.exists(place) else AbsentError
            fix = "; ".join(part for part in (error.fix, self._remedy(name) if entry else "") if part)
            raise problem(error.what, where=error.where, fix=fix) from error

    def _entry_of(self, name: str, kind: Kind) -> Entry:
        entry = self.entries[name]
        if entry.kind != kind:
            what = f"{name} is a dataset of {HELD[entry.kind]} ({entry.layout}), not of {HELD[kind]}"
            raise ConfigError(what, where=self.file, fix="choose another; `acutance data list` tells their kinds")
        return entry

    def _given(self, name: str) -> str:
        """Return the path or URI that is given in place of a name."""
        if storage.is_remote(name):
            return name.rstrip("/")
        if readable(name) != name:
            fix = "rename it, or make a link to it under another name"
            raise ConfigError("the name of this folder holds bytes that are no UTF-8", where=name, fix=fix)
        if "/" in name or Path(name).exists():
            return str(Path(name).expanduser().absolute())
        raise self._unknown(name)

    def _unknown(self, name: str) -> ConfigError:
        return ConfigError(
            f"no dataset is called {name!r}{nearest(name, self.entries)}",
            where=self.file,
            fix="choose one of its datasets, or give a folder as ./NAME",
        )

    def _remedy(self, name: str) -> str:
        entry = self.entries[name]
        if entry.of:
            return self._remedy(entry.of)
        fetch = f"run `acutance data fetch {name}`, or " if entry.archives else ""
        held = entry.folder or entry.file
        return f"{fetch}put {name} there ({entry.source}), or point {ROOT_VARIABLE} at what holds {held}"


def load_catalogue(path: str | Path, *, beneath: Path | None = None) -> Catalogue:
    """Read a catalogue of datasets.

    Args:
        beneath: another catalogue, whose datasets are added unless this one has their names.

    Raises:
        ConfigError: naming the file and the key that is wrong.
    """
    content = load_yaml(path)
    if beneath is not None and isinstance(content.get("datasets"), dict):
        content["datasets"] = load_yaml(beneath)["datasets"] | content["datasets"]
    entries = validate(_File, content, str(path)).datasets
    return Catalogue({name: _whole(entry, entries) for name, entry in entries.items()}, str(path))


def catalogue_for(file: str = "") -> Catalogue:
    """Return the catalogue of data sets: the package's, and over it one beside a pipeline file or in ./pipelines."""
    packaged = packaged_catalogue()
    for own in (Path(file).parent / CATALOGUE, Path("pipelines") / CATALOGUE):
        if own.is_file() and not own.samefile(packaged):
            return load_catalogue(own, beneath=packaged)
    return load_catalogue(packaged)


def _whole(entry: Entry, entries: dict[str, Entry]) -> Entry:
    """Return an entry with the source and licence of the dataset that it is `of`."""
    if not entry.of:
        return entry
    return entry.model_copy(update={key: getattr(entries[entry.of], key) for key in ("source", "licence")})


def _layout_of_kind(place: str, kind: Kind) -> Layout:
    layout = layout_in(place)
    if KINDS[layout] != kind:
        layouts = ", ".join(layout for layout, of in KINDS.items() if of == kind)
        what = f"there are no {HELD[kind]} in a known layout ({layouts})"
        raise DataError(what, where=place, fix="give the path of a data set as it is published")
    return layout


def _root() -> str:
    root = os.environ.get(ROOT_VARIABLE)
    if not root:
        raise AbsentError(
            f"the environment variable {ROOT_VARIABLE} is not set",
            fix=f"set {ROOT_VARIABLE} to the folder, or s3:// prefix, that holds benchmarks/ and train/",
        )
    return root if storage.is_remote(root) else str(Path(root).expanduser().absolute())


def _packaged_path(picture: Packaged, dataset: str) -> str:
    spec = importlib.util.find_spec(picture.package)  # finds a package without importing it
    places = [Path(place) / picture.file for place in (spec.submodule_search_locations or [])] if spec else []
    for place in places:
        if place.is_file():
            return str(place)
    raise AbsentError(
        f"{dataset} needs {picture.file} of the package {picture.package}, which is not installed here",
        where=str(places[0]) if places else picture.package,
        fix=f"pip install {picture.distribution or picture.package}",
    )
