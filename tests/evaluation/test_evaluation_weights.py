from __future__ import annotations

import os
from pathlib import Path

import pytest

from acutance.errors import WeightsError
from acutance.evaluation.metrics import METRICS, unavailable
from acutance.evaluation.weights import KNOWN, find_weights

NAME = "niqe_pris_params.npz"


@pytest.mark.parametrize("below", ["", "metrics", "weights"])
@pytest.mark.usefixtures("no_weights")
def test_a_named_folder_is_searched_one_level_deep(below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "second" / below / NAME
    file.parent.mkdir(parents=True)
    file.touch()
    monkeypatch.setenv("ACUTANCE_WEIGHTS", os.pathsep.join([str(tmp_path / "first"), str(tmp_path / "second")]))
    assert find_weights(NAME) == file


@pytest.mark.usefixtures("no_weights")
def test_named_folder_then_torch_cache_then_own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = ["named", "torch/hub/checkpoints", ".cache/acutance/weights"]
    monkeypatch.setenv("ACUTANCE_WEIGHTS", str(tmp_path / "named"))
    for place in reversed(places):
        file = tmp_path / place / NAME
        file.parent.mkdir(parents=True)
        file.touch()
        assert find_weights(NAME) == file


@pytest.mark.usefixtures("no_weights")
def test_a_missing_file_is_named_with_its_place_and_source(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        find_weights(NAME)
    message = str(caught.value)
    assert NAME in message
    assert str(tmp_path / "torch" / "hub" / "checkpoints") in message
    assert "BasicSR" in message
    assert "ACUTANCE_WEIGHTS" in message
    assert caught.value.exit_code == 2


@pytest.mark.usefixtures("no_weights")
def test_metrics_without_their_files_are_unavailable_with_the_reason() -> None:
    missing = unavailable(METRICS)
    assert set(missing) == {"niqe", "lpips_squeeze"}
    assert all(str(METRICS[name].requirement) in reason for name, reason in missing.items())


@pytest.mark.usefixtures("weights")
def test_metrics_with_their_files_are_available() -> None:
    assert unavailable(METRICS) == {}


def test_every_requirement_says_where_it_is_published() -> None:
    assert {m.requirement for m in METRICS.values() if m.requirement} <= set(KNOWN)
