"""Ray's token: made private, made once, and sent when there is one."""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path

import pytest

from acutance.cluster.tokens import create_token, use_token


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ray" / "auth_token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    return path


def test_many_make_one_token_that_nobody_else_reads(file: Path) -> None:
    threads = [threading.Thread(target=create_token) for _ in range(8)]
    seen: list[str] = []
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
        seen.append(file.read_text())
    assert len(set(seen)) == 1
    assert len(seen[0]) == 64
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["auth_token"]


def test_a_token_that_others_can_read_is_kept_and_named_once(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.parent.mkdir()
    file.write_text("known")
    file.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        create_token()
        create_token()
    assert [record.getMessage() for record in caplog.records] == [
        f"warning: others on this machine can read Ray's token; to do: chmod 600 {file}"
    ]
    assert file.read_text() == "known"


@pytest.mark.parametrize(("name", "value"), [("RAY_AUTH_TOKEN", "mine"), ("RAY_AUTH_MODE", "disabled")])
def test_what_the_user_decided_stays(file: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    create_token()
    assert not file.exists()


def test_a_home_that_cannot_be_written(file: Path) -> None:
    file.parent.write_text("a file where the folder should be")
    create_token()
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    del os.environ["RAY_AUTH_TOKEN"]


def test_the_token_is_sent_only_when_there_is_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ray", raising=False)  # its settings are none of this test's
    use_token()
    assert "RAY_AUTH_MODE" not in os.environ
    create_token()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    use_token()
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    monkeypatch.delenv("RAY_AUTH_MODE")
    use_token()
    assert os.environ["RAY_AUTH_MODE"] == "token"
    del os.environ["RAY_AUTH_MODE"]
