"""Downloads data sets; for those that may not be downloaded, says where they are published."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path

from rich.markup import escape

from acutance.console import say
from acutance.data.datasets import ROOT_VARIABLE, Catalogue
from acutance.data.entries import Archive, Entry
from acutance.errors import DataError
from acutance.storage import is_remote
from acutance.storage.download import download_with_progress
from acutance.storage.published import checksum_of

DAMAGES = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError)
"""Errors of the libraries for an incomplete archive, or one that would write outside its folder."""


def fetch_dataset(catalogue: Catalogue, name: str) -> str:
    """Download what is missing of a dataset; return where it is.

    Each archive is unpacked into a temporary folder and moved when complete; one whose folder exists is skipped.

    Raises:
        ConfigError: for a name that is not in the catalogue.
        DataError: for a dataset that is not here and may not be downloaded, a damaged archive, or pictures that
            are missing all the same.
        UnreachableError: when a server does not answer.
    """
    entry, place = catalogue.entry(name), catalogue.place(name)
    if entry.of:
        return fetch_dataset(catalogue, entry.of)
    if entry.packaged:
        catalogue.count(name)
        return place
    if not entry.archives:
        _require(catalogue, name, entry, place)
        return place
    if is_remote(place):
        raise DataError("data sets are downloaded into a local folder", where=place, fix=f"set {ROOT_VARIABLE} to one")
    missing = [archive for archive in entry.archives if not (Path(place) / archive.holds).is_dir()]
    if missing:
        say(escape(f"{name}: {entry.about}; {entry.licence}; {entry.source}"))
    for archive in missing:
        _fetch(archive, Path(place))
    try:
        catalogue.find(name, lr=entry.lr) if entry.kind == "pictures" else catalogue.count(name)
    except DataError as error:
        held = " or ".join(archive.holds for archive in entry.archives)
        fix = f"remove {held} from {place} and run the same command again"
        raise DataError(error.what, where=error.where, fix=fix) from error
    return place


def _require(catalogue: Catalogue, name: str, entry: Entry, place: str) -> None:
    try:
        catalogue.count(name)
    except DataError as error:
        into = "into" if entry.folder else "at"
        raise DataError(
            f"{name} cannot be downloaded from here: {error.what}",
            where=error.where,
            fix=f"it is published at {entry.source} ({entry.licence}); put it {into} {place}",
        ) from error


def _fetch(archive: Archive, folder: Path) -> None:
    file = folder / archive.url.rpartition("/")[2]
    kind, _, digits = archive.checksum.partition(":")
    if not file.is_file():
        download_with_progress(archive.url, file, archive.checksum)
    elif checksum_of(file, kind) != digits:
        raise DataError("this is not the published archive", where=str(file), fix="remove it and try again")
    aside = folder / f".{file.name}.unpacked"
    try:
        _unpack(file, archive.holds, aside)
        place = folder / archive.holds
        place.parent.mkdir(parents=True, exist_ok=True)  # such as the LR folder that holds X2 and X4
        (aside / archive.holds).replace(place)
    except OSError as error:
        raise DataError(f"{file.name} cannot be unpacked: {error.strerror}", where=str(folder)) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    file.unlink()


def _unpack(file: Path, holds: str, aside: Path) -> None:
    """Unpack the members below `holds` into `aside`; none is written outside it."""
    try:
        _unzip(file, holds, aside) if file.suffix == ".zip" else _untar(file, holds, aside)
    except DAMAGES as error:
        raise DataError(f"the archive is damaged: {error}", where=str(file), fix="remove it and try again") from error
    if not (aside / holds).is_dir():
        raise DataError(f"the archive does not hold {holds}", where=str(file), fix="mend `holds` in the catalogue")


def _unzip(file: Path, holds: str, aside: Path) -> None:
    with zipfile.ZipFile(file) as packed:
        for member in packed.namelist():
            if member.startswith(f"{holds}/"):
                packed.extract(member, aside)


def _untar(file: Path, holds: str, aside: Path) -> None:
    with tarfile.open(file, "r:gz") as packed:
        for member in packed:
            if member.name.startswith(f"{holds}/"):
                packed.extract(member, aside, filter="data")
