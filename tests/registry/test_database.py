"""The SQLite file of runs and models is whole and up to date, whoever was killed and whoever comes at the same time."""

from __future__ import annotations

import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from mlflow.store.db import utils

from acutance.errors import UserError
from acutance.registry import database
from acutance.registry.address import connect


class Killed(BaseException):
    """What a process dies of as it makes the tables."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, empty_database: Path) -> list[str]:
    """Making tables takes seconds: here they are copied. Returns where this was done."""
    made: list[str] = []

    def copied(engine: Any) -> None:
        made.append(engine.url.database)
        shutil.copy(empty_database, engine.url.database)

    monkeypatch.setattr(utils, "_initialize_tables", copied)
    return made


def test_first_commands_that_meet_make_one_database(tmp_path: Path, quick: list[str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        clients = list(pool.map(lambda _: connect(str(tmp_path)), range(8)))
    assert len(quick) == 1
    assert {len(client.search_experiments()) for client in clients} == {1}


def test_a_first_command_that_is_killed_leaves_nothing_behind(
    tmp_path: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(engine: Any) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE experiments (id INTEGER)")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(utils, "_initialize_tables", killed)
        with pytest.raises(Killed):
            connect(str(tmp_path))
    assert (tmp_path / "mlflow.db").stat().st_size == 0
    connect(str(tmp_path)).create_experiment("works")
    assert not list(tmp_path.glob(".mlflow.db.part*"))


def test_a_database_that_was_never_finished_is_named(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as unfinished:
        unfinished.execute("CREATE TABLE experiments (id INTEGER)")
        unfinished.commit()
    with pytest.raises(UserError, match="never finished") as caught:
        connect(str(tmp_path))
    assert str(tmp_path / "mlflow.db") in str(caught.value.fix)


def test_an_older_database_is_brought_up_to_date_as_a_copy(
    tmp_path: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(str(tmp_path)).create_experiment("before")
    newest = utils._get_latest_schema_revision()
    older = ScriptDirectory.from_config(utils._get_alembic_config("")).get_revision(newest).down_revision
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(file)) as made:
        made.execute("UPDATE alembic_version SET version_num = ?", [older])
        made.commit()

    def upgraded(engine: Any) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{newest}'")

    monkeypatch.setattr(utils, "_upgrade_db", upgraded)
    client = connect(str(tmp_path))
    assert client.get_experiment_by_name("before") is not None
    assert database._revision(tmp_path / f"mlflow.db.{older}") == older


def test_a_database_of_a_newer_mlflow_is_left_as_it_is(tmp_path: Path, quick: list[str]) -> None:
    connect(str(tmp_path))
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(file)) as made:
        made.execute("UPDATE alembic_version SET version_num = 'f00df00df00d'")
        made.commit()
    before = file.read_bytes()
    with pytest.raises(UserError, match="newer MLflow"):
        connect(str(tmp_path))
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if "f00d" in path.name] == []
