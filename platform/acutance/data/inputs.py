"""What a shard set is made of: pictures, with their scores where they have some, or excerpts of classified ones."""

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
from acutance.data.columns import Checked, Content, Contents, stored_scales
from acutance.data.dataset_record import Known, recall
from acutance.data.datasets import Catalogue, Source
from acutance.data.entries import Layout
from acutance.data.inventory import checksums
from acutance.data.scored import Scored
from acutance.errors import ConfigError, DataError
from acutance.fingerprint import fingerprint

EXCERPT = 1000
"""Classified pictures that are read, enlarged and stored together."""


class File(Strict):
    """A file as the driver saw it.

    Attributes:
        place: its path or URI, each byte of it as one character: names that are no UTF-8 are no text of JSON.
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
    """A picture, its own LR by scale where that is read, and the shares of its scores."""

    name: str
    lr: dict[int, File] = Field(default_factory=dict)
    distribution: tuple[float, ...] | None = None

    @property
    def mark(self) -> str:
        """Return what changes when the picture, its LR or its scores do."""
        lr = {scale: file.sha256 for scale, file in self.lr.items()}
        return fingerprint([self.sha256, lr, self.distribution]) if lr or self.distribution else self.sha256


class Excerpt(Strict):
    """The classified pictures `start` to `stop` of a split, as the driver saw them.

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
    def mark(self) -> str:
        """Return what changes when a picture or a class does."""
        return self.sha256

    def read(self) -> Classified:
        """Return the pictures.

        Raises:
            DataError: for files that cannot be read or were changed.
        """
        part = _part(_whole(self.place, self.layout, self.split, self.files), self.start, self.stop)
        if _checksum_of(part) != self.sha256:
            raise DataError("these pictures changed while they were prepared", where=self.place, fix="run it again")
        return part


Originals = list[Picture] | list[Excerpt]


def originals(settings: DataSettings, scale: int, catalogue: Catalogue, root: str) -> Originals:
    """Return what the shards of `settings` are made of; of its files those are read that are new or were changed.

    Args:
        root: URI of the storage root, which keeps their check sums.

    Raises:
        ConfigError, DataError: as `listed`; for a file that cannot be read.
    """
    if settings.label == "class":
        return _excerpts(settings, scale, catalogue, root)
    stored = stored_scales(settings, scale)
    files = [(one, _files_of(one, scale, stored)) for one in listed(settings, scale, catalogue)]
    known = checksums((uri for _, (hr, lr) in files for uri in (hr, *lr.values())), root, settings.train)
    return [_picture(one, hr, lr, known) for one, (hr, lr) in files]


def listed(settings: DataSettings, scale: int, catalogue: Catalogue) -> list[Source] | list[Scored]:
    """Return the pictures that the shards of `settings` are made of; of classified ones none, but their files are here.

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
    """Return what data sets consist of that are here; errors as `originals`."""
    return {one.source: content_of(originals(one, scale, catalogue, root), one, catalogue) for one in wanted}


def content_of(found: Originals, settings: DataSettings, catalogue: Catalogue) -> Content:
    """Return what stages know of a data set that is here."""
    return Content([(one.name, one.mark) for one in found], catalogue.notes(settings.train))


def known_of(found: Originals, settings: DataSettings, catalogue: Catalogue) -> Known:
    """Return what is to be remembered of a data set that is here."""
    files = next((one.files for one in found if isinstance(one, Excerpt)), "")
    content = content_of(found, settings, catalogue)
    place = str(catalogue.located(settings.train)[0])
    return Known(place=place, originals=content.originals, notes=content.notes, files=files)


def _files_of(one: Source | Scored, scale: int, stored: list[int]) -> tuple[str, dict[int, str]]:
    """Return where a picture and its LR by scale lie, where that is read."""
    if isinstance(one, Scored):
        return one.path, {}
    return one.hr_path(scale), {at: _own_lr(one, scale, at) for at in stored}


def _picture(one: Source | Scored, hr: str, lr: dict[int, str], known: dict[str, str]) -> Picture:
    return Picture.at(
        hr,
        known[hr],
        name=one.name,
        lr={at: File.at(path, known[path]) for at, path in lr.items()},
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
    known = checksums(paths, root, settings.train)
    files = fingerprint([known[path] for path in paths])
    before = recall(settings, scale, catalogue, root)
    marks = before.originals if before and before.files == files else _read_marks(settings, catalogue)
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
            sha256=mark,
        )
        for index, (name, mark) in enumerate(marks)
    ]


def _read_marks(settings: DataSettings, catalogue: Catalogue) -> Checked:
    whole = catalogue.classified(settings.train, settings.split)
    starts = range(0, len(whole.labels), EXCERPT)
    return [(f"{settings.split} {start}", _checksum_of(_part(whole, start, start + EXCERPT))) for start in starts]


@lru_cache(maxsize=1)
def _whole(place: str, layout: Layout, split: str, files: str) -> Classified:
    """Read a split once for all of its excerpts that a process makes, as long as its `files` are the same."""
    return read_classified(place, layout, split)


def _part(whole: Classified, start: int, stop: int) -> Classified:
    return Classified(whole.pixels[start:stop], whole.labels[start:stop], whole.class_names)


def _checksum_of(part: Classified) -> str:
    return hashlib.sha256(part.pixels.tobytes() + part.labels.tobytes()).hexdigest()
