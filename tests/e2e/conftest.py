"""One quickstart run that the tests of its results share."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from command_line import REPOSITORY, Quickstart, acutance


@pytest.fixture(scope="session")
def weights() -> dict[str, str]:
    """The environment in which NIQE and LPIPS are available, where their files are on this machine."""
    root = Path(os.environ.get("ACUTANCE_DATA") or REPOSITORY.parent / "shared" / "data")
    return {"ACUTANCE_WEIGHTS": str(root)} if root.is_dir() else {}


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, str]) -> Quickstart:
    root = tmp_path_factory.mktemp("quickstart")
    done = acutance("run", "pipelines/quickstart.yaml", "--storage", str(root), "--json", timeout=1200, **weights)
    assert done.returncode == 0, done.stderr
    return Quickstart(root, json.loads(done.stdout), done.stderr)
