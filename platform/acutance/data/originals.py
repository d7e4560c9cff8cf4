"""What a shard set is made of: pictures, with their scores where they have some, or excerpts of classified ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import Field

from acutance.data.classified import Classified, read_classified
from acutance.data.datasets import Catalogue, Source
from acutance.data.entries import Layout
from acutance.data.scored import Scored
from acutance.data.settings import Checked, Content, Contents, DataSettings, stored_scales
from acutance.errors import ConfigError, DataError
from acutance.fingerprint import file_sha256, fingerprint
from acutance.schema import Strict

EXCERPT = 1000
"""Classified pictures that are read, enlarged and stored together."""


class File(Strict):
    """A file as the driver saw it."""

    path: str
    sha256: str


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
    """The classified pictures `start` to `stop` of a split, as the driver saw them."""

    name: str
    place: str
    layout: Layout
    split: str
    start: int
    stop: int
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
        whole = read_classified(Path(self.place), self.layout, self.split)
        part = _part(whole, self.start, self.stop)
        if _checksum_of(part) != self.sha256:
            raise DataError("these pictures changed while they were prepared", where=self.place, fix="run it again")
        return part


Originals = list[Picture] | list[Excerpt]


def originals(settings: DataSettings, scale: int, catalogue: Catalogue) -> Originals:
    """Return what the shards of `settings` are made of; each file is read once for its checksum.

    Raises:
        ConfigError, DataError: as `listed`; for a file that cannot be read.
    """
    found = listed(settings, catalogue)
    if isinstance(found, Classified):
        return _excerpts(found, settings, catalogue)
    stored = stored_scales(settings, scale)
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda one: _picture(one, scale, stored), found))


def listed(settings: DataSettings, catalogue: Catalogue) -> list[Source] | list[Scored] | Classified:
    """Return the pictures that the shards of `settings` are made of.

    Raises:
        ConfigError: for an unknown data set, one of another kind, or a split that it does not have.
        DataError: for data that is missing, all or in part.
    """
    if settings.label == "class":
        return catalogue.classified(settings.train, settings.split)
    if settings.label is None:
        return catalogue.find(settings.train)
    scored = [one for one in catalogue.scored(settings.train) if one.split == settings.split]
    if not scored:
        raise ConfigError(f"{settings.train} has no pictures of the split {settings.split!r}", fix="use train or val")
    return scored


def contents(wanted: Iterable[DataSettings], scale: int, catalogue: Catalogue) -> Contents:
    """Return what data sets consist of; errors as `originals`."""
    return {
        settings.source: Content(checked(originals(settings, scale, catalogue)), catalogue.notes(settings.train))
        for settings in wanted
    }


def checked(found: Originals) -> Checked:
    """Return the name and the mark of each original."""
    return [(one.name, one.mark) for one in found]


def _picture(one: Source | Scored, scale: int, stored: list[int]) -> Picture:
    if isinstance(one, Scored):
        return Picture(name=one.name, distribution=one.distribution, **_file(one.path).model_dump())
    lr = {at: _file(_own_lr(one, at)) for at in stored}
    return Picture(name=one.name, lr=lr, **_file(one.hr_path(scale)).model_dump())


def _own_lr(source: Source, scale: int) -> Path:
    if scale not in source.lr_paths:
        fix = "choose a data set of such pairs, or another data.degradation"
        what = f"{source.name} has no degraded version of its own at scale {scale}"
        raise DataError(what, where=str(source.hr_path(scale)), fix=fix)
    return source.lr_paths[scale]


def _file(path: Path) -> File:
    try:
        return File(path=str(path), sha256=file_sha256(path))
    except OSError as error:
        fix = "mend its permissions or remove it"
        raise DataError(f"a picture cannot be read: {error.strerror}", where=str(path), fix=fix) from error


def _excerpts(whole: Classified, settings: DataSettings, catalogue: Catalogue) -> list[Excerpt]:
    place, layout = catalogue.located(settings.train)
    starts = range(0, len(whole.labels), EXCERPT)
    parts = [(start, _part(whole, start, start + EXCERPT)) for start in starts]
    return [
        Excerpt(
            name=f"{settings.split} {start}",
            place=str(place),
            layout=layout,
            split=settings.split,
            start=start,
            stop=start + len(part.labels),
            sha256=_checksum_of(part),
        )
        for start, part in parts
    ]


def _part(whole: Classified, start: int, stop: int) -> Classified:
    return Classified(whole.pixels[start:stop], whole.labels[start:stop], whole.class_names)


def _checksum_of(part: Classified) -> str:
    return hashlib.sha256(part.pixels.tobytes() + part.labels.tobytes()).hexdigest()
