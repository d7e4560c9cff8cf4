"""Finds pictures in folders, names them, and pairs them with their LR. No picture is opened here."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import PurePosixPath
from typing import Any

from rich.markup import escape

from acutance import storage
from acutance.console import say
from acutance.data.entries import Entry
from acutance.data.pictures import EXTENSIONS
from acutance.errors import AbsentError, DataError, readable

MOST_KINDS = 5
"""How many kinds of files are named in the message about files that are no pictures."""


@dataclass(frozen=True)
class Source:
    """One picture of a dataset: its URI, and those of its stored low-resolution versions by scale.

    At scale 1 that version is a degraded one of the same size. `hr_paths` holds, by scale, the picture that replaces
    `path` as ground truth at that scale. `degrade` are steps that make the degraded version, where none is stored.
    """

    name: str
    path: str
    lr_paths: dict[int, str] = field(default_factory=dict)
    hr_paths: dict[int, str] = field(default_factory=dict)
    degrade: tuple[dict[str, Any], ...] = ()

    def hr_path(self, scale: int) -> str:
        """Return the ground truth at a scale."""
        return self.hr_paths.get(scale, self.path)


def folder_sources(folder: str, fix: str, *, only: str = "*") -> list[Source]:
    """Return the pictures below a folder whose name (the path below it, without extension) fits a pattern.

    Other files, and links to folders, are skipped; a message says so once for each folder.

    Raises:
        AbsentError: when there is no such folder, or no such picture in it; `fix` is what to do about it.
    """
    if not storage.is_folder(folder):
        raise AbsentError("there is no such folder", where=folder, fix=fix)
    files = storage.files(folder)
    uris = [uri for uri in files if _is_picture(_below(folder, uri), only)]
    _report_skipped(folder, files)
    if not uris:
        called = "" if only == "*" else f" called {only}"
        raise AbsentError(f"no picture{called} ({' '.join(EXTENSIONS)}) is in this folder", where=folder, fix=fix)
    return named(uris, folder)


def named(uris: list[str], folder: str | None = None) -> list[Source]:
    """Name pictures by their path without extension; those that would share a name keep the extension."""
    below = (_below(folder, uri).as_posix() if folder else PurePosixPath(uri).name for uri in uris)
    full = [PurePosixPath(readable(path)) for path in below]
    short = [name.with_suffix("") for name in full]
    shared = Counter(short)
    names = [name if shared[bare] > 1 else bare for name, bare in zip(full, short, strict=True)]
    sources = [Source(name.as_posix(), uri) for name, uri in zip(names, uris, strict=True)]
    return sorted(sources, key=lambda source: source.name)


def entry_sources(
    folder: str, name: str, entry: Entry, fix: str, scale: int | None = None, lr: Collection[int] = ()
) -> list[Source]:
    """Return the pictures of an entry whose folder is `folder`, with their LR and other HR as far as these are read.

    Args:
        scale: at which they are used, or None; some have another ground truth at a scale.
        lr: the scales whose LR is read, as far as the entry has it.

    Raises:
        DataError: for pictures or LR that are not there, all or in part.
    """
    sources = folder_sources(storage.join(folder, entry.hr), fix, only=entry.only)
    if entry.only == "*":
        fix += f", or name {storage.join(folder, entry.hr)} in place of {name} to use the pictures without their LR"
    low = {at: _lr_of(sources, folder, entry, at, fix) for at in entry.lr if at in lr}
    hr = {at: _by_name(storage.join(folder, below), fix) for at, below in entry.hr_for.items() if at == scale}
    return [Source(s.name, s.path, _of(s.name, low), _of(s.name, hr)) for s in sources]


def paired_sources(sources: list[Source], folder: str, scale: int) -> list[Source]:
    """Return pictures with their LR in another folder, of the same name or followed by x and the scale.

    Raises:
        DataError: for LR that is not there, all or in part.
    """
    lr = {source.name: source.path for source in folder_sources(folder, "give the folder of the LR pictures")}
    found = {one.name: lr.get(one.name) or lr.get(f"{one.name}x{scale}") for one in sources}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        what = f"{len(missing)} of {len(sources)} pictures have no LR here: {', '.join(missing[:MOST_KINDS])}"
        fix = f"name the LR of NAME.png NAME.png or NAMEx{scale}.png"
        raise DataError(what, where=folder, fix=fix)
    return [replace(one, lr_paths={scale: str(found[one.name])}) for one in sources]


def _below(folder: str, uri: str) -> PurePosixPath:
    return PurePosixPath(uri.removeprefix(folder.rstrip("/")).lstrip("/"))


@cache
def _say_once(text: str) -> None:
    say(text)


def _report_skipped(folder: str, files: list[str]) -> None:
    shown = [path for path in (_below(folder, uri) for uri in files) if not _is_hidden(path)]
    others = Counter(path.suffix.lower() or "no suffix" for path in shown if path.suffix.lower() not in EXTENSIONS)
    kinds = [f"{number} of {suffix}" for suffix, number in others.most_common(MOST_KINDS)]
    kinds += [f"{links} links to folders"] if (links := storage.count_folder_links(folder)) else []
    if kinds:
        more = " and others" if len(others) > MOST_KINDS else ""
        _say_once(readable(f"skipped in {escape(folder)}, as these are no pictures: {', '.join(kinds)}{more}"))


def _is_hidden(path: PurePosixPath) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _is_picture(path: PurePosixPath, only: str) -> bool:
    """Return whether a path is a picture's by its extension, of whichever case, and not hidden."""
    if path.suffix.lower() not in EXTENSIONS or _is_hidden(path):
        return False
    return fnmatchcase(path.with_suffix("").as_posix(), only)


def _lr_of(sources: list[Source], folder: str, entry: Entry, scale: int, fix: str) -> dict[str, str]:
    """Return the LR of every picture by the picture's name.

    An incomplete data set is an error: it would be measured on a mixture of its own LR and ours, or on fewer pictures.
    """
    suffix, place = entry.lr_suffix.replace("{scale}", str(scale)), storage.join(folder, entry.lr[scale])
    found = _companions(place, fix, only=_swapped(entry.only, entry) + glob.escape(suffix))
    lr = {source.name.removesuffix(suffix): source.path for source in found}
    wanted = {source.name: _swapped(source.name, entry) for source in sources}
    missing = [name for name, lr_name in wanted.items() if lr_name not in lr]
    without_picture = sorted(lr.keys() - set(wanted.values()))
    word, fix = "LR" if scale > 1 else "degraded version", f"complete it from {entry.source}"
    if missing:
        what = f"the {word} of {len(missing)} of {len(sources)} pictures is missing, the first that of {missing[0]}"
        raise DataError(what, where=place, fix=fix)
    if without_picture:
        what = f"the pictures of {len(without_picture)} {word}s are missing, the first that of {without_picture[0]}"
        raise DataError(what, where=storage.join(folder, entry.hr), fix=fix)
    return {name: lr[lr_name] for name, lr_name in wanted.items()}


def _swapped(text: str, entry: Entry) -> str:
    for old, new in entry.lr_swap.items():
        text = text.replace(old, new)
    return text


def _by_name(folder: str, fix: str) -> dict[str, str]:
    return {source.name: source.path for source in _companions(folder, fix)}


def _companions(folder: str, fix: str, *, only: str = "*") -> list[Source]:
    """Return `folder_sources` that belong to pictures; their absence is a DataError, as the data set is incomplete."""
    try:
        return folder_sources(folder, fix, only=only)
    except AbsentError as error:
        raise DataError(error.what, where=error.where, fix=error.fix) from None


def _of(name: str, by_scale: dict[int, dict[str, str]]) -> dict[int, str]:
    return {scale: paths[name] for scale, paths in by_scale.items() if name in paths}
