from __future__ import annotations

from pathlib import Path

import pytest

from acutance import storage
from acutance.errors import UnreachableError, UserError


def test_a_file_is_written_whole_and_read_back(tmp_path: Path) -> None:
    uri = storage.join(str(tmp_path), "a", "b.bin")
    storage.write_bytes(uri, b"one")
    storage.write_bytes(uri, b"two")
    assert storage.read_bytes(uri) == b"two"
    assert storage.names(storage.join(str(tmp_path), "a")) == ["b.bin"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = storage.join(str(tmp_path), "a.bin")
    storage.write_bytes(uri, b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        storage.write_bytes(uri, b"new")
    assert storage.read_bytes(uri) == b"old"
    assert storage.names(str(tmp_path)) == ["a.bin"]


def test_deleting_and_listing_what_is_not_there(tmp_path: Path) -> None:
    storage.delete(str(tmp_path / "none"))
    assert storage.names(str(tmp_path / "none")) == []
    assert not storage.exists(str(tmp_path / "none"))


def test_unknown_schemes_and_credentials_in_addresses_are_refused() -> None:
    with pytest.raises(UserError, match="unknown storage scheme"):
        storage.filesystem("ftp://host/a")
    with pytest.raises(UserError) as caught:
        storage.filesystem("s3://KEY:hunter2@bucket/a")
    assert "hunter2" not in str(caught.value)


def test_an_unreachable_store_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with pytest.raises(UnreachableError, match="s3://bucket/a"):
        storage.exists("s3://bucket/a")
