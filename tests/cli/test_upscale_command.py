"""`acutance upscale` on single pictures: what it prints, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from acutance.data.pictures import write_picture
from acutance.models.model_file import save_model
from acutance.models.rrdbnet import RRDBNet
from command_line import Here


@pytest.fixture
def model(tmp_path: Path) -> str:
    description = {"network": {"type": "rrdbnet", "blocks": 1, "channels": 4}, "scale": 4, "detail": None}
    save_model(str(tmp_path / "m.safetensors"), RRDBNet(blocks=1, channels=4), description)
    return str(tmp_path / "m.safetensors")


def test_a_picture_that_is_written_then_kept(here: Here, tmp_path: Path, model: str) -> None:
    write_picture(tmp_path / "a.png", np.zeros((9, 9, 3), np.uint8))
    target = str(tmp_path / "b.png")
    command = ("upscale", model, str(tmp_path / "a.png"), target)
    done = here(*command, "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"written": [target], "kept": [], "failed": {}})
    again = here(*command)
    assert (again.returncode, again.stdout) == (0, f"1 kept: {target}\n")


def test_a_picture_that_cannot_be_read(here: Here, tmp_path: Path, model: str) -> None:
    source = tmp_path / "a.png"
    source.write_text("no picture")
    done = here("upscale", model, str(source), str(tmp_path / "b.png"))
    assert done.returncode == 2
    assert f"1 failed: {tmp_path / 'b.png'}" in done.stdout
    assert "no picture in a known format" in done.stdout.splitlines()[-1]
    told = json.loads(here("upscale", model, str(source), str(tmp_path / "b.png"), "--json").stdout)
    assert list(told["failed"]) == [str(source)]
    assert not (tmp_path / "b.png").exists()
