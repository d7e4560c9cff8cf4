"""A disk that is full, or may not be written: said with its folder, as an error that the user can mend."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from acutance import cli, storage
from acutance.errors import FullError, RefusedError
from acutance.registry.address import answers
from acutance.registry.spool import Spool
from acutance.registry.tracker import StageTracker
from acutance.silence import silence_libraries
from acutance.storage import disk
from acutance.storage.disk import amount, complaint_of, complaint_of_database, require_writable
from acutance.storage.lease_stores import lease_store


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have each write to a local file fail, as the system puts it."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_500_000))

    def refuse(number: int) -> None:
        def fail(*_: Any) -> None:
            raise OSError(number, os.strerror(number))

        for name in ("fsync", "write"):
            monkeypatch.setattr(os, name, fail)

    return refuse


@pytest.mark.parametrize(
    ("number", "kind", "what"),
    [
        (errno.ENOSPC, FullError, "there is no room for 2.0 MB: its disk has 1.5 MB free"),
        (errno.EDQUOT, FullError, "there is no room for 2.0 MB: its disk has 1.5 MB free"),
        (errno.EROFS, RefusedError, "this folder cannot be written to: read-only file system"),
        (errno.EACCES, RefusedError, "this folder cannot be written to: permission denied"),
    ],
)
def test_what_cannot_be_written_names_folder_and_amount(
    tmp_path: Path, refusing: Callable[[int], None], number: int, kind: type[Exception], what: str
) -> None:
    refusing(number)
    with pytest.raises(kind) as caught:
        storage.write_bytes(str(tmp_path / "checkpoints" / "step"), b"1" * 2_000_000)
    assert caught.value.args[:2] == (what, str(tmp_path / "checkpoints"))
    assert not list((tmp_path / "checkpoints").iterdir())


def test_other_failures_stay_what_they_are(tmp_path: Path, refusing: Callable[[int], None]) -> None:
    refusing(errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        storage.write_bytes(str(tmp_path / "file"), b"1")


def test_metrics_that_wait_on_a_full_disk_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusing: Callable[[int], None]
) -> None:
    monkeypatch.setattr("acutance.registry.spool.scratch", lambda: tmp_path)
    refusing(errno.ENOSPC)
    with pytest.raises(FullError) as caught:
        Spool(StageTracker("sqlite:////nowhere/mlflow.db", "r"), str(tmp_path)).metrics([(1, {"total": 1.0})])
    assert caught.value.where == str(tmp_path / "metrics")


def test_the_tracking_store_and_the_files_of_models_name_their_folder() -> None:
    full = OperationalError("INSERT", {}, Exception("database or disk is full"))
    with pytest.raises(FullError) as caught, answers("sqlite:////tmp/mlflow.db"):
        raise _as_mlflow_says(full)
    assert caught.value.where == "/tmp"
    with pytest.raises(RefusedError), answers("sqlite:////tmp/mlflow.db"):
        raise _as_mlflow_says(Exception("attempt to write a readonly database"))
    with pytest.raises(FullError) as caught, answers("sqlite:////elsewhere/mlflow.db"):
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/mlartifacts/1/model")
    assert caught.value.where == "/tmp"


def test_a_database_that_refuses_a_write_is_said_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.store.db.utils import _get_managed_session_maker
    from sqlalchemy import create_engine
    from sqlalchemy.orm import sessionmaker

    def refuse() -> None:
        with _get_managed_session_maker(sessionmaker(create_engine("sqlite://")), "sqlite")():
            raise OperationalError("INSERT", {}, Exception("attempt to write a readonly database"))

    silence_libraries()
    with pytest.raises(MlflowException):
        refuse()
    assert capfd.readouterr() == ("", "")


def _as_mlflow_says(error: Exception) -> Exception:
    from mlflow.exceptions import MlflowException

    return MlflowException(str(error))


def test_a_lease_in_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", fail)
    where = lease_store(str(tmp_path / "stages" / "lease.json"))
    assert where.read() is None
    with pytest.raises(RefusedError) as caught:
        where.compare_and_swap(None, {})
    assert caught.value.where == str(tmp_path)


def test_a_storage_root_that_cannot_be_written_is_refused_before_ray_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_writable(str(tmp_path / "outputs"))

    def fail(**_: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(disk.os, "access", lambda *_: False)
    monkeypatch.setattr(disk.tempfile, "TemporaryFile", fail)
    with pytest.raises(RefusedError) as caught:
        require_writable(str(tmp_path / "outputs" / "here"))
    assert caught.value.where == str(tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EROFS, "Read-only file system", "/tmp/outputs/mlflow.db.lock"),
        OperationalError("UPDATE", {}, Exception("attempt to write a readonly database")),
        UnicodeEncodeError("ascii", "fotos/grün.png", 8, 9, "ordinal not in range(128)"),
    ],
)
def test_whoever_wrote_it_ends_in_a_sentence(error: Exception) -> None:
    wrapped = RuntimeError("a task failed")
    wrapped.__cause__ = error
    found = cli._ours(wrapped)
    assert found is not None
    assert found.exit_code == 2


@pytest.mark.parametrize(
    ("size", "told"), [(0, "0 bytes"), (1500, "1.5 kB"), (626_700_000, "626.7 MB"), (4e10, "40.0 GB")]
)
def test_amounts_are_as_people_read_them(size: float, told: str) -> None:
    assert amount(size) == told


def test_failures_of_another_kind_are_none_of_a_disk() -> None:
    assert complaint_of(OSError(errno.ENOENT, "no such file", "/x")) is None
    assert complaint_of_database(Exception("no such table")) is None
