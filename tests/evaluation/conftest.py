"""Where the parameter files are, and where they are not."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def weights(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameter files are where the benchmark data is."""
    monkeypatch.setenv("ACUTANCE_WEIGHTS", str(data_root))


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No parameter file is anywhere."""
    monkeypatch.delenv("ACUTANCE_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HOME", str(tmp_path))
