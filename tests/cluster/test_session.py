"""The folder of a Ray on this machine: private, short, deleted when it is done with."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from acutance.cluster import connect, session
from acutance.cluster.session import LONGEST, require_loopback, session_folder
from acutance.errors import DataError, UnreachableError, UserError
from acutance.storage.scratch import scratch


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="s-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def test_nobody_else_comes_in_and_nothing_stays(place: Path) -> None:
    with session_folder() as folder:
        assert len(str(folder)) <= LONGEST
        private = folder.parent.parent
        assert private.stat().st_mode & 0o777 == 0o700
        assert private.parent == place
    assert list(folder.parent.iterdir()) == []


def test_the_logs_of_a_ray_that_did_not_start_stay_until_the_next() -> None:
    with pytest.raises(UnreachableError), session_folder() as folder:
        raise UnreachableError("Ray did not start")
    assert folder.is_dir()
    with session_folder() as again:
        assert list(again.parent.iterdir()) == [again]


def test_what_a_killed_process_left_is_deleted() -> None:
    code = "import os, sys; from acutance.cluster.session import *; folder = session_folder(); f = folder.__enter__()"
    killed = subprocess.run(
        [sys.executable, "-c", f"{code}; print(f, flush=True); os.kill(os.getpid(), 9)"],
        env={**os.environ, "TMPDIR": tempfile.gettempdir()},
        capture_output=True,
        text=True,
        check=False,
    )
    left = Path(killed.stdout.strip())
    assert left.is_dir(), killed.stderr
    with session_folder():
        assert not left.exists()


def test_the_folder_of_a_process_of_the_same_number_in_another_container_stays() -> None:
    with session_folder() as first:
        (first / session.PROCESS_FILE).write_text(f"another-machine {os.getpid()} 1")
        with session_folder() as second:
            assert first.is_dir()
            assert second != first


def test_a_long_temporary_folder_is_left_for_a_short_one(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long = place / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setattr(session, "ELSEWHERE", (str(place),))
    with session_folder() as folder:
        assert folder.parent.parent.parent == place
    assert "too long for Ray's sockets" in capsys.readouterr().err
    monkeypatch.setattr(session, "ELSEWHERE", ())
    with pytest.raises(UserError, match="set TMPDIR"), session_folder():
        pass


def test_no_temporary_folder_at_all(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place / "not" / "there"))
    with pytest.raises(DataError, match="set TMPDIR"):
        scratch()


def test_a_machine_that_does_not_reach_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    require_loopback()

    def no_address(*_: object, **__: object) -> None:
        raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr("socket.create_server", no_address)
    with pytest.raises(UserError, match="itself at 127"):
        require_loopback()


def test_a_ray_that_needs_more_than_its_30_seconds_is_started_again(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    late = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", str(place)])

    def init(**options: object) -> None:
        assert options["_temp_dir"] == str(place)
        if late.poll() is None:
            raise Exception("The current node timed out during startup. This could happen because")

    monkeypatch.setattr(connect, "_init", init)
    monkeypatch.setattr(connect, "create_token", lambda: None)
    connect._start(place, 1)
    assert late.wait(timeout=5) == -9
    assert "trying again" in capsys.readouterr().err

    def never(**_: object) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(connect, "_init", never)
    with pytest.raises(UnreachableError, match="session_latest/logs"):
        connect._start(place, 1)


def test_where_ray_address_leads_nowhere_it_is_said_to_unset_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "use_token", lambda: None)
    with pytest.raises(UnreachableError, match="unset RAY_ADDRESS"):
        connect._attach("127.0.0.1:1", named=False)
    with pytest.raises(UnreachableError) as error:
        connect._attach("127.0.0.1:1", named=True)
    assert "unset" not in str(error.value)
