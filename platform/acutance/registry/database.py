"""The SQLite file that runs and models are recorded in: whole and up to date, or not there.

MLflow makes its tables one by one, for seconds, and a file that it was killed over is of no use to it ever after; two
processes that make them at the same time break it, too. So they are made, or brought up to date, under a lock in a
file of another name, which takes the place when it is whole.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from acutance.console import say
from acutance.errors import UserError
from acutance.storage.lock import locked


def bring_up_to_date(path: Path) -> None:
    """Have a tracking database at a path with the tables that this MLflow reads and writes.

    An older one is brought up to date as a copy; the old one is kept beside it.

    Raises:
        UserError: when there is a half-made database, or one of a newer MLflow.
        sqlite3.Error: when what is there is no database.
    """
    if _revision(path) == _newest():
        return
    with locked(path.with_name(f"{path.name}.lock")):
        for rest in path.parent.glob(f".{path.name}.part*"):
            rest.unlink()
        found = _revision(path)
        if found is None:
            _replace(path, _make_tables)
        elif found == "":
            raise _half_made(path)
        elif found != _newest():
            _migrate(path, found)


def _revision(path: Path) -> str | None:
    """Return which tables a database has: None of one that is empty or not there, '' of one that was never finished."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            return None
        row = None
        if "alembic_version" in tables:
            row = database.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else ""


@cache  # MLflow reads fifty files for it
def _newest() -> str:
    from mlflow.store.db import utils

    return str(utils._get_latest_schema_revision())


def _replace(path: Path, make: Callable[[Any], None]) -> None:
    """Put a database in place that `make` has worked on, whole."""
    from mlflow.store.db import utils

    part = path.with_name(f".{path.name}.part")
    engine = utils.create_sqlalchemy_engine(f"sqlite:///{part}")
    try:
        make(engine)
    finally:
        engine.dispose()
    with open(part, "rb") as file:
        os.fsync(file.fileno())
    os.replace(part, path)


def _make_tables(engine: Any) -> None:
    from mlflow.store.db import utils

    utils._initialize_tables(engine)


def _migrate(path: Path, revision: str) -> None:
    from alembic.script.revision import ResolutionError
    from alembic.util import CommandError
    from mlflow.store.db import utils

    kept = path.with_name(f"{path.name}.{revision}")
    part = path.with_name(f".{path.name}.part")
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("BEGIN IMMEDIATE")  # no other process writes to the file that is replaced
        with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(part)) as copy:
            old.backup(copy)
        kept.unlink(missing_ok=True)
        os.link(path, kept)
        try:
            _replace(path, utils._upgrade_db)
        except (CommandError, ResolutionError):
            kept.unlink()
            raise UserError(
                "this tracking database was written by a newer MLflow", where=str(path), fix="install that version"
            ) from None
    say(f"the tracking database was brought up to date; the one before is kept as {kept}")


def _half_made(path: Path) -> UserError:
    return UserError(
        "this tracking database was never finished: the process that made it was killed",
        where=str(path),
        fix=f"nothing is recorded in it; move it away (mv {path} {path}.unfinished) and run the command again",
    )
