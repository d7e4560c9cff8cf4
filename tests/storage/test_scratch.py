"""The folder for temporary files: private to a user, and without what killed processes left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from acutance.errors import DataError
from acutance.process import this_process
from acutance.storage import scratch as folders
from acutance.storage.scratch import scratch, working_folder


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders.tempfile, "gettempdir", lambda: str(tmp_path))


def test_the_scratch_folder_is_private(tmp_path: Path) -> None:
    folder = scratch()
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o700
    assert scratch() == folder
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="another user"):
        scratch()


def test_what_a_killed_process_left_is_freed_by_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with working_folder("package") as first:
        (first / "weights").write_bytes(b"1")
        left = {
            "dead": first.with_name(f"package.{this_process().replace(' ', '.')}1.x"),
            "elsewhere": first.with_name("package.elsewhere.1.2.x"),
            "long ago": first.with_name("package.elsewhere.1.3.x"),
        }
        for folder in left.values():
            folder.mkdir()
            (folder / "weights").write_bytes(b"2")
        os.utime(left["long ago"], (0, 0))
        with working_folder("tune") as second:
            assert first.exists()
            assert second != first
        assert {name for name, folder in left.items() if folder.exists()} == {"elsewhere"}
    assert not first.exists()
