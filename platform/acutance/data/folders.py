"""Pictures in folders: their names, and which LR belongs to which. Nothing is opened here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import Any

from acutance.data.entries import Entry
from acutance.data.pictures import EXTENSIONS
from acutance.errors import DataError


@dataclass(frozen=True)
class Source:
    """One picture of a dataset: where it lies, and its stored low-resolution versions by scale.

    At scale 1 that version is a degraded one of the same size. `hr_paths` holds, by scale, the picture that replaces
    `path` as ground truth at that scale. `degrade` are steps that make the degraded version, where none is stored.
    """

    name: str
    path: Path
    lr_paths: dict[int, Path] = field(default_factory=dict)
    hr_paths: dict[int, Path] = field(default_factory=dict)
    degrade: tuple[dict[str, Any], ...] = ()

    def hr_path(self, scale: int) -> Path:
        """Return the ground truth at a scale."""
        return self.hr_paths.get(scale, self.path)


def folder_sources(folder: Path, fix: str, *, only: str = "*") -> list[Source]:
    """Return the pictures below a folder whose name (the path below it, without extension) fits a pattern.

    Raises:
        DataError: when there is no such folder, or no such picture in it; `fix` is what to do about it.
    """
    if not folder.is_dir():
        raise DataError("there is no such folder", where=str(folder), fix=fix)
    paths = [p for p in folder.rglob("*") if _is_picture(p.relative_to(folder), only) and p.is_file()]
    if not paths:
        called = "" if only == "*" else f" called {only}"
        raise DataError(f"no picture{called} ({' '.join(EXTENSIONS)}) is in this folder", where=str(folder), fix=fix)
    return named(paths, folder)


def named(paths: list[Path], folder: Path | None = None) -> list[Source]:
    """Name pictures by their path without extension; those that would share a name keep the extension."""
    full = [path.relative_to(folder) if folder else Path(path.name) for path in paths]
    short = [name.with_suffix("") for name in full]
    shared = Counter(short)
    names = [name if shared[bare] > 1 else bare for name, bare in zip(full, short, strict=True)]
    sources = [Source(name.as_posix(), path) for name, path in zip(names, paths, strict=True)]
    return sorted(sources, key=lambda source: source.name)


def entry_sources(folder: Path, name: str, entry: Entry, fix: str) -> list[Source]:
    """Return the pictures of an entry whose folder is `folder`, each with its LR.

    Raises:
        DataError: for pictures or LR that are not there, all or in part.
    """
    sources = folder_sources(folder / entry.hr, fix, only=entry.only)
    if entry.only == "*":
        fix += f", or name {folder / entry.hr} in place of {name} to use the pictures without their LR"
    lr = {scale: _lr_of(sources, folder, entry, scale, fix) for scale in entry.lr}
    hr = {scale: _by_name(folder / below, fix) for scale, below in entry.hr_for.items()}
    return [Source(s.name, s.path, _of(s.name, lr), _of(s.name, hr)) for s in sources]


def _is_picture(path: Path, only: str) -> bool:
    """Tell whether a path is a picture's by its extension, of whichever case, and not hidden."""
    if path.suffix.lower() not in EXTENSIONS or any(part.startswith(".") for part in path.parts):
        return False
    return fnmatchcase(path.with_suffix("").as_posix(), only)


def _lr_of(sources: list[Source], folder: Path, entry: Entry, scale: int, fix: str) -> dict[str, Path]:
    """Return the LR of every picture by the picture's name.

    A data set that is there in part would be measured on a mixture of its own LR and ours, or on fewer pictures than
    its name says.
    """
    suffix, place = entry.lr_suffix.replace("{scale}", str(scale)), folder / entry.lr[scale]
    found = folder_sources(place, fix, only=_swapped(entry.only, entry) + escape(suffix))
    lr = {source.name.removesuffix(suffix): source.path for source in found}
    wanted = {source.name: _swapped(source.name, entry) for source in sources}
    missing = [name for name, lr_name in wanted.items() if lr_name not in lr]
    alone = sorted(lr.keys() - set(wanted.values()))
    word, fix = "LR" if scale > 1 else "degraded version", f"complete it from {entry.source}"
    if missing:
        what = f"the {word} of {len(missing)} of {len(sources)} pictures is missing, the first that of {missing[0]}"
        raise DataError(what, where=str(place), fix=fix)
    if alone:
        what = f"the pictures of {len(alone)} {word}s are missing, the first that of {alone[0]}"
        raise DataError(what, where=str(folder / entry.hr), fix=fix)
    return {name: lr[lr_name] for name, lr_name in wanted.items()}


def _swapped(text: str, entry: Entry) -> str:
    for old, new in entry.lr_swap.items():
        text = text.replace(old, new)
    return text


def _by_name(folder: Path, fix: str) -> dict[str, Path]:
    return {source.name: source.path for source in folder_sources(folder, fix)}


def _of(name: str, by_scale: dict[int, dict[str, Path]]) -> dict[int, Path]:
    return {scale: paths[name] for scale, paths in by_scale.items() if name in paths}
