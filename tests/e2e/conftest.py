"""Quickstart runs that the tests of their results share: on a few small pictures, and in full."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import skimage.data

from acutance.data.pictures import write_picture
from command_line import DATA, Done, Quickstart, acutance, in_this_process


@pytest.fixture(scope="session")
def weights() -> dict[str, str]:
    """The environment in which NIQE and LPIPS are available, where their files are on this machine."""
    return {"ACUTANCE_WEIGHTS": str(DATA)} if DATA else {}


SMALL = {"blocks": 1, "channels": 8, "growth": 4}
SHORT = {
    "compute.workers": 1,
    "evaluate.metrics": ["psnr_y", "ssim_y", "high_frequency"],
    "stages.highpass.steps": 30,
    "stages.fidelity.steps": 10,
    "stages.fidelity.optimiser.learning_rate": 2e-4,
    "stages.fidelity.optimiser.schedule.milestones": [8],
    "stages.gan.steps": 8,
    **{f"stages.{stage}.network.{name}": size for stage in ("fidelity", "gan") for name, size in SMALL.items()},
    "stages.gan.network.detail_blocks": 1,
}


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory, empty_database: Path, cluster: None) -> Quickstart:
    """A run in this process, over the Ray that tests share."""
    root = tmp_path_factory.mktemp("quickstart")
    shutil.copy(empty_database, root)
    pictures = tmp_path_factory.mktemp("photographs")
    for number in range(2):
        write_picture(pictures / "train" / f"{number}.png", skimage.data.astronaut()[: 192 + number, 100:292])
    write_picture(pictures / "test" / "coffee.png", skimage.data.coffee()[100:228, 200:392])
    overrides = {**SHORT, "data.train": str(pictures / "train"), "evaluate.on": [str(pictures / "test")]}
    overrides |= {f"stages.{stage}.validation.on": str(pictures / "test") for stage in ("fidelity", "gan")}
    command = _command(overrides)
    return _finished(root, in_this_process(*command, "--storage", str(root), "--json"), command, overrides)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, str]) -> Quickstart:
    root, command = tmp_path_factory.mktemp("demo"), _command({})
    done = acutance(*command, "--storage", str(root), "--json", timeout=1200, **weights)
    return _finished(root, done, command, {})


def _command(overrides: dict[str, Any]) -> tuple[str, ...]:
    return ("run", "pipelines/quickstart.yaml", *(f"{path}={value}" for path, value in overrides.items()))


def _finished(root: Path, done: Done, command: tuple[str, ...], overrides: dict[str, Any]) -> Quickstart:
    assert done.returncode == 0, done.stderr
    return Quickstart(root, json.loads(done.stdout), done.stderr, command, overrides)
