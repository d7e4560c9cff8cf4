"""What is to be said of a data set is said of all that is trained on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from acutance.commands.context import open_pipeline
from acutance.models.nima import NIMA
from command_line import REPOSITORY

NAMES = ("i01_01_1.bmp", "i04_01_1.bmp")


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """Two files in the layout of TID2013, one for each split."""
    folder = tmp_path / "scored"
    (folder / "distorted_images").mkdir(parents=True)
    for name in NAMES:
        (folder / "distorted_images" / name).write_bytes(name.encode())
    (folder / "mos_with_names.txt").write_text("".join(f"5.5 {name}\n" for name in NAMES))
    (folder / "mos_std.txt").write_text("0.1\n0.1\n")
    return folder


def notes(scored: Path, root: Path) -> list[list[str]]:
    keys = ("data.train", "stages.subjective_head.validation.on", "stages.subjective.validation.on")
    overrides = [f"{key}={scored}" for key in keys]
    work = open_pipeline(str(REPOSITORY / "pipelines" / "nima_tid2013.yaml"), overrides, "smoke", str(root))
    return [plan.description["notes"] for plan in work.plans()]


def test_scores_that_are_no_peoples(scored: Path, tmp_path: Path) -> None:
    assert notes(scored, tmp_path) == [[NIMA.untrained]] * 2
    (scored / "synthetic.json").write_text("{}")
    assert notes(scored, tmp_path) == [[NIMA.untrained, "scores: synthetic"]] * 2
