"""`acutance data distort`: scored pictures out of a folder of plain ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from acutance.data import distorted
from acutance.data.pictures import write_picture
from command_line import Here


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(distorted, "DISTORTIONS", {"blur": distorted.DISTORTIONS["blur"]})
    random = np.random.default_rng(0)
    for number in range(5):
        write_picture(tmp_path / "pictures" / f"{number}.png", random.integers(0, 256, (256, 384, 3), dtype=np.uint8))
    return tmp_path / "pictures"


def test_a_folder_becomes_a_data_set_once(here: Here, pictures: Path, tmp_path: Path) -> None:
    command = ("data", "distort", str(pictures), str(tmp_path / "made"), "--references", "5", "--json")
    made = [json.loads(here(*command).stdout) for _ in range(2)]
    assert [one["fresh"] for one in made] == [True, False]
    assert (made[0]["references"], made[0]["pictures"]) == (5, 25)
    assert json.loads((tmp_path / "made" / "synthetic.json").read_text())["scores"] == "synthetic"


def test_too_few_pictures_are_the_users_mistake(here: Here, pictures: Path, tmp_path: Path) -> None:
    done = here("data", "distort", str(pictures), str(tmp_path / "made"))
    assert done.returncode == 2
    assert "5 pictures of 384 x 256 pixels or more are here, 25 are asked for" in done.stderr
    assert not (tmp_path / "made").exists()
