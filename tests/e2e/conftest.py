"""Quickstart runs that the tests of their results share: much shorter than it is, and in full."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from command_line import DATA, Quickstart, acutance


@pytest.fixture(scope="session")
def weights() -> dict[str, str]:
    """The environment in which NIQE and LPIPS are available, where their files are on this machine."""
    return {"ACUTANCE_WEIGHTS": str(DATA)} if DATA else {}


SMALL = {"blocks": 1, "channels": 8, "growth": 4}
SHORT = {
    "stages.highpass.steps": 30,
    "stages.fidelity.steps": 20,
    "stages.fidelity.optimiser.schedule.milestones": [15],
    "stages.gan.steps": 8,
    **{f"stages.{stage}.network.{name}": size for stage in ("fidelity", "gan") for name, size in SMALL.items()},
    "stages.gan.network.detail_blocks": 1,
}


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, str]) -> Quickstart:
    return _run(tmp_path_factory.mktemp("quickstart"), weights, SHORT)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, str]) -> Quickstart:
    return _run(tmp_path_factory.mktemp("demo"), weights, {})


def _run(root: Path, weights: dict[str, str], overrides: dict[str, Any]) -> Quickstart:
    command = ("run", "pipelines/quickstart.yaml", *(f"{path}={value}" for path, value in overrides.items()))
    done = acutance(*command, "--storage", str(root), "--json", timeout=1200, **weights)
    assert done.returncode == 0, done.stderr
    return Quickstart(root, json.loads(done.stdout), done.stderr, command, overrides)
