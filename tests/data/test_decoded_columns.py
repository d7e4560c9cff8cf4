"""Decoded columns stay as long as somebody uses them, and for some days after."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from acutance.data import decoded_columns


def made(folder: Path, name: str, last: float) -> Path:
    """Make a set as of a process that has ended."""
    (folder / name).mkdir(parents=True)
    (folder / name / "hr.bin").write_bytes(b"1")
    (folder / name / decoded_columns.USED).touch()
    os.utime(folder / name / decoded_columns.USED, (last, last))
    return folder / name


@pytest.mark.parametrize(("needed", "left"), [(0, {"mine", "today"}), (1 << 60, {"mine"})])
def test_what_nobody_has_used_for_days_goes_and_sooner_where_there_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needed: int, left: set[str]
) -> None:
    monkeypatch.setattr(decoded_columns.time, "time", lambda: 1e6)
    made(tmp_path, "today", 1e6 - 3600)
    made(tmp_path, "long ago", 1e6 - decoded_columns.KEPT_SECONDS - 1)
    decoded_columns.use(tmp_path / "mine")
    os.utime(tmp_path / "mine" / decoded_columns.USED, (0, 0))
    decoded_columns.free(tmp_path, needed)
    assert {path.name for path in tmp_path.iterdir()} == left


def test_what_another_process_uses_stays(tmp_path: Path) -> None:
    cache = made(tmp_path, "set", 0)
    with open(cache / decoded_columns.USED) as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        decoded_columns.free(tmp_path, 1 << 60)
        assert cache.exists()
    decoded_columns.free(tmp_path, 1 << 60)
    assert not cache.exists()
