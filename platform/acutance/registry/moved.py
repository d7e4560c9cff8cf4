"""A tracking database that was moved or copied with its files: the places that it names follow it.

MLflow writes whole paths into the database. Those of ours lie in `mlartifacts` beside it: where they are is known.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from acutance.console import say
from acutance.errors import RefusedError

ARTIFACTS = "mlartifacts"
"""The folder beside an SQLite file that has the files of its runs."""

PLACES = (
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of MLflow that name the place of files."""


def follow(path: Path) -> None:
    """Have a database name the files beside it, where it was moved or copied together with them.

    New files lie beside it from now on. A file that was left behind keeps its place.

    Raises:
        RefusedError: for one that was moved and cannot be written to.
    """
    here = path.parent / ARTIFACTS
    with closing(sqlite3.connect(path)) as database:
        named = database.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        old = [Path(place) for (place,) in named if place and Path(place).name == ARTIFACTS and Path(place) != here]
        moved = [place for place in old if not (place.exists() and here.exists() and os.path.samefile(place, here))]
        if not moved:
            return
        with _moved_and_written(path, moved[0].parent), database:
            for place in moved:
                update = "UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?"
                database.execute(update, (str(here), str(place)))
                _rename(database, f"{place}/", f"{here}/")
    say(f"the tracking database was in {moved[0].parent}; files beside it are found in {path.parent} from now on")


@contextmanager
def _moved_and_written(path: Path, before: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "readonly database" not in str(error):
            raise
        what = f"this tracking database was in {before}, and cannot be written to, so that it cannot follow its files"
        fix = f"mend its permissions, copy the whole of {path.parent} to where it can be written, or put it back"
        raise RefusedError(what, where=str(path), fix=fix) from error


def _rename(database: sqlite3.Connection, old: str, new: str) -> None:
    """Have what lay below one folder lie below another, as far as it is there."""
    for table, column in PLACES:
        below = f"SELECT DISTINCT {column} FROM {table} WHERE substr({column}, 1, ?) = ?"
        for (place,) in database.execute(below, (len(old), old)).fetchall():
            there = new + place.removeprefix(old)
            if Path(there).exists() or not Path(place).exists():
                database.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (there, place))
