"""What others published or computed comes out here as well, where their pictures are at hand."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from acutance.data.datasets import Source, load_catalogue
from command_line import REPOSITORY


def _benchmark() -> Any:
    """Return benchmarks/agreement.py as a module."""
    spec = importlib.util.spec_from_file_location("agreement", REPOSITORY / "benchmarks" / "agreement.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


agreement = _benchmark()


@pytest.fixture(scope="module")
def sources(data_root: Path) -> dict[tuple[str, int], list[Source]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACUTANCE_DATA", str(data_root))
        catalogue = load_catalogue(REPOSITORY / "pipelines" / "datasets.yaml")
        return {(name, scale): catalogue.find(name, scale) for name in agreement.BENCHMARKS for scale in (2, 4)}


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize("title", agreement.SECTIONS)
def test_numbers_agree_with_the_world(title: str, sources: dict[tuple[str, int], list[Source]]) -> None:
    checks = list(agreement.SECTIONS[title](sources))
    assert checks
    assert [check for check in checks if not check.holds] == []
