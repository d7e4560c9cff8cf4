"""Where outputs lie: folders that people can read, in which the whole fingerprint decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from acutance.errors import UserError
from acutance.storage.done import Done, note_of, write
from acutance.storage.outputs import folder_of, stage_folder, stage_is_done
from made_buckets import Bucket

MARK, ALIKE = "0123456789abcdef", "01234567ffffffff"


def finish(folder: str, fingerprint: str) -> str:
    write(note_of("stage", folder), Done("stage", fingerprint, 1, {}))
    return folder


def test_a_stage_lies_below_its_pipeline_under_its_name(tmp_path: Path) -> None:
    assert stage_folder(str(tmp_path), "quickstart", "gan", MARK) == f"{tmp_path}/quickstart/gan-01234567"


@pytest.mark.parametrize("group", ["srgan", "campaigns/srgan-b1624847"])
def test_what_another_pipeline_or_campaign_has_trained_is_found_there(tmp_path: Path, group: str) -> None:
    root = str(tmp_path)
    theirs = finish(stage_folder(root, group, "fidelity", MARK), MARK)
    assert stage_folder(root, "srgan_dp", "generator", MARK) == theirs
    assert stage_is_done(root, MARK)


def test_it_is_found_in_a_bucket(bucket: Bucket) -> None:
    root = f"{bucket.uri}/outputs"
    theirs = finish(stage_folder(root, "srgan", "fidelity", MARK), MARK)
    assert stage_folder(root, "campaigns/srgan_dp-b1624847", "trial-3", MARK) == theirs
    assert not stage_is_done(root, ALIKE)


def test_what_another_has_only_begun_is_left_to_it(tmp_path: Path) -> None:
    (tmp_path / "srgan" / "fidelity-01234567" / "checkpoints").mkdir(parents=True)
    assert stage_folder(str(tmp_path), "srgan_dp", "fidelity", MARK) == f"{tmp_path}/srgan_dp/fidelity-01234567"


def test_a_fingerprint_that_only_begins_alike_is_never_taken(tmp_path: Path) -> None:
    root = str(tmp_path)
    finish(stage_folder(root, "srgan", "fidelity", ALIKE), ALIKE)
    assert not stage_is_done(root, MARK)
    assert stage_folder(root, "esrgan", "fidelity", MARK) == f"{tmp_path}/esrgan/fidelity-01234567"
    with pytest.raises(UserError, match="other work"):
        stage_folder(root, "srgan", "fidelity", MARK)


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("DIV2K", "DIV2K"),
        ("s3://album/my pictures/", "my-pictures"),
        ("../photos", "photos"),
        ("models:/quickstart-x4@champion", "quickstart-x4-champion"),
        ("\u00e9t\u00e9", "\u00e9t\u00e9"),
        ("..", "unnamed"),
        ("x" * 300, "x" * 40),
    ],
)
def test_a_name_becomes_part_of_a_path(tmp_path: Path, name: str, called: str) -> None:
    assert folder_of("shards", str(tmp_path), name, MARK) == f"{tmp_path}/{called}-01234567"
