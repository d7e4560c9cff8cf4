from __future__ import annotations

import time
from pathlib import Path

import pytest

from acutance import storage
from acutance.errors import UnreachableError, UserError
from made_buckets import Bucket


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
    with pytest.raises(UserError) as caught:
        storage.filesystem("s3://bucket/a?secret_key=hunter2")
    assert "hunter2" not in str(caught.value)


def test_an_unreachable_store_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with pytest.raises(UnreachableError, match="s3://bucket/a"):
        storage.exists("s3://bucket/a")


@pytest.mark.parametrize("address", ["abfs://container@account.dfs.core.windows.net/a", "gs://bucket/a"])
def test_other_object_stores_are_known(address: str) -> None:
    assert storage.filesystem(address)[1].endswith("/a")
    with pytest.raises(UserError, match="may not carry credentials"):
        storage.filesystem(f"{address}?token=hunter2")


def test_a_whole_file_is_one_request(bucket: Bucket) -> None:
    content = bytes(range(256)) * 40_000
    storage.write_bytes(f"{bucket.uri}/large.bin", content)
    bucket.requests.clear()
    assert storage.read_bytes(f"{bucket.uri}/large.bin") == content
    assert bucket.count("GET", "large.bin") == 1


def test_files_and_their_states_are_told_alike_of_a_folder_and_a_bucket(bucket: Bucket, tmp_path: Path) -> None:
    for root in (bucket.uri, str(tmp_path)):
        names = ["a/1.png", "a/b/2.png", "a/b/3 und.png"]
        for name in names:
            storage.write_bytes(storage.join(root, name), name.encode())
        found = storage.files(f"{root}/a")
        assert found == [storage.join(root, name) for name in sorted(names)]
        assert storage.files(f"{root}/none") == []
        assert (storage.is_folder(f"{root}/a/b"), storage.is_folder(f"{root}/b")) == (True, False)
        told = storage.states([*found, f"{root}/a/none.png"])
        assert {uri: state.size for uri, state in told.items()} == {
            uri: len(name) for uri, name in zip(found, sorted(names), strict=True)
        }
        assert storage.states(found[:1]) == {found[0]: told[found[0]]}
        assert all(abs(state.modified - time.time()) < 60 for state in told.values())


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    longest = str(tmp_path / ("北" * 85))
    storage.write_bytes(longest, b"x")
    assert storage.read_bytes(longest) == b"x"
