"""The inputs of a shard set: picture files, perhaps with scores, or excerpts of classified pictures."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Self

from pydantic import Field

from acutance.config.data import DataSettings
from acutance.config.schema import Strict
from acutance.data.classified import Classified, read_classified
from acutance.data.columns import Content, Contents, PictureChecksums, stored_scales
from acutance.data.dataset_record import DatasetRecord, read_record
from acutance.data.datasets import Catalogue, Source
from acutance.data.entries import Layout
from acutance.data.inventory import checksums
from acutance.data.scored import Scored
from acutance.errors import ConfigError, DataError
from acutance.fingerprint import fingerprint

EXCERPT = 1000
"""Classified pictures that are read, enlarged and stored together."""


class File(Strict):
    """A file with its checksum.

    Attributes:
        place: its path or URI, each byte as one character, since JSON cannot hold names that are not UTF-8.
    """

    place: str
    sha256: str

    @classmethod
    def at(cls, path: str, sha256: str, **more: Any) -> Self:
        """Return the file at a path or URI."""
        return cls(place=os.fsencode(path).decode("latin-1"), sha256=sha256, **more)

    @property
    def path(self) -> str:
        """Return the path or URI."""
        return os.fsdecode(self.place.encode("latin-1"))


class Picture(File):
    """A picture, its own LR by scale where that is read, and the probabilities of its scores."""

    name: str
    lr: dict[int, File] = Field(default_factory=dict)
    distribution: tuple[float, ...] | None = None

    @property
    def identity(self) -> str:
        """A checksum of the picture, its LR and its scores."""
        lr = {scale: file.sha256 for scale, file in self.lr.items()}
        return fingerprint([self.sha256, lr, self.distribution]) if lr or self.distribution else self.sha256


class Excerpt(Strict):
    """The classified pictures `start` to `stop` of a split, with their checksum.

    Attributes:
        files: the fingerprint of the files that hold them.
        sha256: of the pixels and classes.
    """

    name: str
    place: str
    layout: Layout
    split: str
    start: int
    stop: int
    files: str
    sha256: str

    @property
    def identity(self) -> str:
        """A checksum of the pictures and classes."""
        return self.sha256

    def read(self) -> Classified:
        """Return the pictures.

        Raises:
            DataError: for files that cannot be read or were changed.
        """
        part = _part(_read_split(self.place, self.layout, self.split, self.files), self.start, self.stop)
        if _checksum_of(part) != self.sha256:
            raise DataError("these pictures changed while they were prepared", where=self.place, fix="run it again")
        return part


Inputs = list[Picture] | list[Excerpt]


def find_inputs(settings: DataSettings, scale: int, catalogue: Catalogue, root: str) -> Inputs:
    """Return the inputs of the shards of `settings`; only new and changed files are read.

    Args:
        root: URI of the storage root, which keeps their checksums.

    Raises:
        ConfigError, DataError: as `list_pictures`; for a file that cannot be read.
    """
    if settings.label == "class":
        return _excerpts(settings, scale, catalogue, root)
    stored = stored_scales(settings, scale)
    files = [(one, _files_of(one, scale, stored)) for one in list_pictures(settings, scale, catalogue)]
    checksums_by_uri = checksums((uri for _, (hr, lr) in files for uri in (hr, *lr.values())), root, settings.train)
    return [_picture(one, hr, lr, checksums_by_uri) for one, (hr, lr) in files]


def list_pictures(settings: DataSettings, scale: int, catalogue: Catalogue) -> list[Source] | list[Scored]:
    """Return the pictures of the shards of `settings`; an empty list for classified ones, after checking their files.

    Raises:
        ConfigError: for an unknown data set, one of another kind, or a split that it does not have.
        AbsentError, DataError: for data that is missing, all or in part.
    """
    if settings.label == "class":
        catalogue.classified_files(settings.train, settings.split)
        return []
    if settings.label is None:
        return catalogue.find(settings.train, scale, stored_scales(settings, scale), lr_in=settings.lr)
    scored = [one for one in catalogue.scored(settings.train) if one.split == settings.split]
    if not scored:
        raise ConfigError(f"{settings.train} has no pictures of the split {settings.split!r}", fix="use train or val")
    return scored


def contents(wanted: Iterable[DataSettings], scale: int, catalogue: Catalogue, root: str) -> Contents:
    """Return the contents of data sets that are present; errors as of `find_inputs`."""
    return {one.source: content_of(find_inputs(one, scale, catalogue, root), one, catalogue) for one in wanted}


def content_of(found: Inputs, settings: DataSettings, catalogue: Catalogue) -> Content:
    """Return the content of a data set that is present."""
    return Content([(one.name, one.identity) for one in found], catalogue.notes(settings.train))


def record_of(found: Inputs, settings: DataSettings, catalogue: Catalogue) -> DatasetRecord:
    """Return the record of a data set that is present."""
    files = next((one.files for one in found if isinstance(one, Excerpt)), "")
    content = content_of(found, settings, catalogue)
    place = str(catalogue.located(settings.train)[0])
    return DatasetRecord(place=place, inputs=content.inputs, notes=content.notes, files=files)


def _files_of(one: Source | Scored, scale: int, stored: list[int]) -> tuple[str, dict[int, str]]:
    """Return the paths of a picture and, by scale, of its LR where that is read."""
    if isinstance(one, Scored):
        return one.path, {}
    return one.hr_path(scale), {at: _own_lr(one, scale, at) for at in stored}


def _picture(one: Source | Scored, hr: str, lr: dict[int, str], checksums_by_uri: dict[str, str]) -> Picture:
    return Picture.at(
        hr,
        checksums_by_uri[hr],
        name=one.name,
        lr={at: File.at(path, checksums_by_uri[path]) for at, path in lr.items()},
        distribution=one.distribution if isinstance(one, Scored) else None,
    )


def _own_lr(source: Source, scale: int, at: int) -> str:
    if at not in source.lr_paths:
        fix = "choose a data set of such pairs, or another data.degradation"
        what = f"{source.name} has no degraded version of its own at scale {at}"
        raise DataError(what, where=source.hr_path(scale), fix=fix)
    return source.lr_paths[at]


def _excerpts(settings: DataSettings, scale: int, catalogue: Catalogue, root: str) -> list[Excerpt]:
    paths = catalogue.classified_files(settings.train, settings.split)
    checksums_by_uri = checksums(paths, root, settings.train)
    files = fingerprint([checksums_by_uri[path] for path in paths])
    record = read_record(settings, scale, catalogue, root)
    sums = record.inputs if record and record.files == files else _excerpt_checksums(settings, catalogue)
    place, layout = catalogue.located(settings.train)
    return [
        Excerpt(
            name=name,
            place=place,
            layout=layout,
            split=settings.split,
            start=index * EXCERPT,
            stop=(index + 1) * EXCERPT,
            files=files,
            sha256=checksum,
        )
        for index, (name, checksum) in enumerate(sums)
    ]


def _excerpt_checksums(settings: DataSettings, catalogue: Catalogue) -> PictureChecksums:
    split_pictures = catalogue.classified(settings.train, settings.split)
    starts = range(0, len(split_pictures.labels), EXCERPT)
    return [
        (f"{settings.split} {start}", _checksum_of(_part(split_pictures, start, start + EXCERPT))) for start in starts
    ]


@lru_cache(maxsize=1)
def _read_split(place: str, layout: Layout, split: str, files: str) -> Classified:
    """Read a split once for all of its excerpts in this process, while its `files` are unchanged."""
    return read_classified(place, layout, split)


def _part(split_pictures: Classified, start: int, stop: int) -> Classified:
    return Classified(split_pictures.pixels[start:stop], split_pictures.labels[start:stop], split_pictures.class_names)


def _checksum_of(part: Classified) -> str:
    return hashlib.sha256(part.pixels.tobytes() + part.labels.tobytes()).hexdigest()
