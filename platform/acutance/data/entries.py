"""The schema of a catalogue entry: where a data set lies, its layout, what may be downloaded."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from acutance import storage
from acutance.config.data import UntriedSteps
from acutance.config.schema import Strict

Kind = Literal["pictures", "scored", "classified"]
Layout = Literal["pictures", "ava", "tid2013", "cifar10", "cifar100", "npz"]

KINDS: dict[Layout, Kind] = {
    "pictures": "pictures",
    "ava": "scored",
    "tid2013": "scored",
    "cifar10": "classified",
    "cifar100": "classified",
    "npz": "classified",
}
LAYOUT_FILES: dict[str, Layout] = {
    "AVA.txt": "ava",
    "mos_with_names.txt": "tid2013",
    "cifar-10-batches-bin": "cifar10",
    "cifar-100-binary": "cifar100",
}
"""File or folder name -> the layout of the folder that contains it."""

OF_PICTURES = {"hr", "lr", "lr_suffix", "lr_swap", "hr_for", "only"}
"""Keys for folders of pictures alone."""


class Packaged(Strict):
    """A picture inside an installed package; `distribution` is what to install where that differs in name."""

    package: str
    file: str
    distribution: str | None = None


class Archive(Strict):
    """A published archive of a dataset: what it holds is the sub-folder `holds`, unpacked into the dataset's folder.

    `checksum` is the one that its publisher or a mirror gives, `sha256:` or `md5:` and the digits.
    """

    url: str = Field(pattern=r"\.(zip|tar\.gz)$")
    checksum: str = Field(pattern="^(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})$")
    holds: str


class Entry(Strict):
    """One dataset of the catalogue: `packaged` pictures, a `folder`, a `file`, or the pictures `of` another dataset.

    `layout` says what is in the folder: plain pictures, or the files of AVA, TID2013, CIFAR-10 or CIFAR-100 as they
    are published; `npz` is one file of arrays.

    Of a folder of pictures, `hr` is the sub-folder of the pictures themselves, and `only` a pattern of their names
    (below `hr`, without extension) where not all belong to the dataset. `lr` names, per scale, the sub-folder of
    their low-resolution or, at scale 1, degraded versions. Those have the same name, in which `lr_swap` replaces one
    text by another, and which `lr_suffix` follows, where `{scale}` stands for the scale. `hr_for` is a sub-folder
    whose pictures stand in for those of `hr` at that scale. `archives` is what may be downloaded into the folder.

    `degrade` are degradations that make the degraded version of each picture of the dataset `of`, or of those that
    `only` names; the same each time. Source and licence are those of that dataset.
    """

    about: str
    source: str = ""
    licence: str = ""
    layout: Layout = "pictures"
    packaged: list[Packaged] | None = None
    folder: str | None = None
    file: str | None = None
    of: str | None = None
    degrade: UntriedSteps = Field(default_factory=list)
    hr: str = "."
    only: str = "*"
    lr: dict[PositiveInt, str] = Field(default_factory=dict)
    lr_swap: dict[str, str] = Field(default_factory=dict)
    lr_suffix: str = ""
    hr_for: dict[PositiveInt, str] = Field(default_factory=dict)
    archives: list[Archive] = Field(default_factory=list)

    @property
    def kind(self) -> Kind:
        """Whether its pictures are restored, scored or classified."""
        return KINDS[self.layout]

    @model_validator(mode="after")
    def _one_place(self) -> Entry:
        if sum(map(bool, (self.packaged, self.folder, self.file, self.of))) != 1:
            raise ValueError("give one of 'packaged', 'folder', 'file' and 'of'")
        if bool(self.of) != bool(self.degrade):
            raise ValueError("'of' and 'degrade' belong together: give both or neither")
        if not self.of and not (self.source and self.licence):
            raise ValueError("give its 'source' and 'licence'")
        if bool(self.file) != (self.layout == "npz"):
            raise ValueError("a 'file' needs the layout npz, and that layout a 'file'")
        if (self.packaged or self.of) and self.layout != "pictures":
            raise ValueError(f"the layout {self.layout} needs a 'folder'")
        if self.archives and not self.folder:
            raise ValueError("'archives' need a 'folder' to be unpacked into")
        return self

    @model_validator(mode="after")
    def _keys_that_mean_something(self) -> Entry:
        without = sorted(OF_PICTURES & self.model_fields_set - ({"only"} if self.of else set()))
        if without and not (self.folder and self.layout == "pictures"):
            raise ValueError(f"'{without[0]}' is for a 'folder' of pictures")
        if (self.lr_suffix or self.lr_swap) and not self.lr:
            raise ValueError("'lr_suffix' and 'lr_swap' name the pictures of 'lr', which is missing")
        if not all(text and text in self.only for text in self.lr_swap):
            # a picture without that text would be its own degraded version
            raise ValueError("'only' must hold the text that 'lr_swap' replaces")
        return self


def layout_in(place: str) -> Layout:
    """Return the layout of a folder or file that is not in the catalogue, by its content."""
    if PurePosixPath(place).suffix == ".npz":
        return "npz"
    return next(
        (layout for mark, layout in LAYOUT_FILES.items() if storage.exists(storage.join(place, mark))), "pictures"
    )
