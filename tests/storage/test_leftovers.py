"""What finished trainings and killed processes left in the storage is freed by whoever comes next."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from acutance import storage
from acutance.process import this_process
from acutance.storage import leftovers
from acutance.storage.done import Done, note_of, write
from acutance.storage.leftovers import free_checkpoints, free_folders, free_uploads, owned_name
from made_buckets import Bucket


@pytest.mark.parametrize("group", ["quickstart", "campaigns/quickstart-b1624847"])
def test_checkpoints_of_stages_that_were_finished_days_ago_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str
) -> None:
    for name in ("old", "asked", "new", "unfinished"):
        (tmp_path / group / name / "checkpoints").mkdir(parents=True)
        for step in (1, 2):
            (tmp_path / group / name / "checkpoints" / f"step-0000000{step}.safetensors").write_bytes(b"1")
        (tmp_path / group / name / "model.safetensors").write_bytes(b"1")
    for name in ("old", "asked", "new"):
        note = note_of("stage", str(tmp_path / group / name))
        write(note, Done("stage", "mark", 1, {"kept": [1] if name == "asked" else []}))
    later = time.time() + leftovers.KEPT_SECONDS + 60
    os.utime(tmp_path / group / "new" / "done.json", (later - 60, later - 60))
    monkeypatch.setattr(leftovers.time, "time", lambda: later)
    free_checkpoints(str(tmp_path))
    kept = {
        path.name: sorted(file.name[12] for file in path.glob("checkpoints/*")) for path in (tmp_path / group).iterdir()
    }
    assert kept == {"old": [], "asked": ["1"], "new": ["1", "2"], "unfinished": ["1", "2"]}
    assert (tmp_path / group / "old" / "model.safetensors").exists()


def test_folders_of_dead_drivers_go(tmp_path: Path) -> None:
    mine, now = owned_name("train"), f"{time.time():.0f}"
    dead = f"train-{now}-{(this_process() + '1').replace(' ', '-')}-0"
    elsewhere, long_ago = f"train-{now}-elsewhere-1-2-0", "train-1-elsewhere-1-2-0"
    for name in (mine, dead, elsewhere, long_ago, "trainings", "train-x"):
        (tmp_path / name).mkdir()
    free_folders(str(tmp_path), "train")
    assert {path.name for path in tmp_path.iterdir()} == {mine, elsewhere, "trainings", "train-x"}


def test_uploads_that_were_never_ended_go(bucket: Bucket) -> None:
    client, name = storage.s3_client(), bucket.uri.removeprefix("s3://")
    for key in ("outputs/a", "outputs2/b"):
        client.create_multipart_upload(Bucket=name, Key=key)
    free_uploads(f"{bucket.uri}/outputs")
    left = [upload["Key"] for upload in client.list_multipart_uploads(Bucket=name)["Uploads"]]
    assert left == ["outputs2/b"]
    bucket.fails("403 AccessDenied", times=5)
    free_uploads(bucket.uri)
