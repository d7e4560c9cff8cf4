"""Downloads the datasets that may be downloaded, and says of the others where they are published."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from rich.markup import escape

from acutance.console import say
from acutance.data.datasets import Archive, Catalogue, Entry
from acutance.download import download_with_progress
from acutance.errors import DataError
from acutance.fingerprint import file_sha256


def fetch_dataset(catalogue: Catalogue, name: str) -> str:
    """Download what is missing of a dataset; return where it is.

    Each archive is unpacked aside and moved into place when it is whole; one whose folder is there is skipped.

    Raises:
        ConfigError: for a name that is not in the catalogue.
        DataError: for a dataset that is not here and may not be downloaded, a damaged archive, or pictures that
            are missing all the same.
        UnreachableError: when a server does not answer.
    """
    entry = catalogue.entry(name)
    if not entry.folder:
        catalogue.find(name)
        return catalogue.place(name)
    folder = Path(catalogue.place(name))
    if not entry.archives:
        _require(catalogue, name, entry, folder)
    missing = [archive for archive in entry.archives if not (folder / archive.holds).is_dir()]
    if missing:
        say(escape(f"{name}: {entry.about}; {entry.licence}; {entry.source}"))
    for archive in missing:
        _fetch(archive, folder)
    catalogue.find(name)
    return str(folder)


def _require(catalogue: Catalogue, name: str, entry: Entry, folder: Path) -> None:
    try:
        catalogue.find(name)
    except DataError as error:
        raise DataError(
            f"{name} cannot be downloaded from here: {error.what}",
            where=error.where,
            fix=f"it is published at {entry.source} ({entry.licence}); put it into {folder}",
        ) from error


def _fetch(archive: Archive, folder: Path) -> None:
    file = folder / archive.url.rpartition("/")[2]
    if not file.is_file():
        download_with_progress(archive.url, file, sha256=archive.sha256)
    elif file_sha256(file) != archive.sha256:
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
    """Unpack the members below `holds`; `extract` itself keeps every member inside `aside`."""
    try:
        with zipfile.ZipFile(file) as packed:
            members = [member for member in packed.namelist() if member.startswith(f"{holds}/")]
            for member in members:
                packed.extract(member, aside)
    except (zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise DataError(f"the archive is damaged: {error}", where=str(file), fix="remove it and try again") from error
    if not (aside / holds).is_dir():
        raise DataError(f"the archive does not hold {holds}", where=str(file), fix="mend `holds` in the catalogue")
