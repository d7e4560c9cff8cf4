"""`acutance restore` on single pictures: what it prints, and its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from acutance.data.pictures import write_picture
from acutance.models.model_file import save_model
from acutance.models.rrdbnet import RRDBNet
from command_line import Here


@pytest.fixture
def model(tmp_path: Path) -> str:
    description = {"network": {"type": "rrdbnet", "blocks": 1, "channels": 4}, "scale": 4}
    save_model(str(tmp_path / "m.safetensors"), RRDBNet(blocks=1, channels=4), description)
    return str(tmp_path / "m.safetensors")


def test_a_picture_that_is_written_then_kept(here: Here, tmp_path: Path, model: str) -> None:
    write_picture(tmp_path / "a.png", np.zeros((9, 9, 3), np.uint8))
    target = str(tmp_path / "b.png")
    command = ("restore", model, str(tmp_path / "a.png"), target)
    done = here(*command, "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"written": [target], "kept": [], "failed": {}})
    again = here(*command)
    assert (again.returncode, again.stdout) == (0, f"1 kept: {target}\n")


@pytest.mark.parametrize(("content", "said"), [(b"no picture", "no picture in a known"), (None, "no such picture")])
def test_what_is_no_picture_is_seen_before_anything_is_loaded(tmp_path: Path, content: bytes | None, said: str) -> None:
    source = tmp_path / "a.png"
    if content:
        source.write_bytes(content)
    code = (
        "import sys; from acutance.inference.check_input import require_input\n"
        "try: require_input(sys.argv[1])\n"
        "except Exception as error: print(error, {'torch', 'numba', 'ray'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code, str(source)], capture_output=True, text=True, check=True)
    assert said in done.stdout
    assert done.stdout.endswith(" set()\n")


def test_a_picture_that_cannot_be_restored(here: Here, tmp_path: Path, model: str) -> None:
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    source.write_text("no picture")
    done = here("restore", model, str(source), str(target))
    assert (done.returncode, done.stdout) == (2, "")
    assert "no picture in a known format" in done.stderr
    write_picture(source, np.zeros((9, 9, 3), np.uint8))
    source.write_bytes(source.read_bytes()[:-20])
    damaged = here("restore", model, str(source), str(target))
    assert (damaged.returncode, damaged.stdout) == (2, "")
    assert f"where: {source}" in damaged.stderr
    assert "done" not in damaged.stderr
    assert not target.exists()
