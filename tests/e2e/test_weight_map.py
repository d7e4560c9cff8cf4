"""The weight map from pictures to models: a restorer, and classifiers of what it enlarged, at smoke size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from command_line import acutance

pytestmark = [pytest.mark.e2e, pytest.mark.long]


def smoke(pipeline: str, storage: Path, data_root: Path) -> dict[str, Any]:
    command = ("run", f"pipelines/{pipeline}.yaml", "--profile", "smoke", "--storage", str(storage), "--json")
    done = acutance(*command, ACUTANCE_DATA=str(data_root))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_restorer_learns_from_a_part_of_the_values_and_is_registered(tmp_path: Path, data_root: Path) -> None:
    result = smoke("wdsr_weightmap", tmp_path, data_root)
    assert result["model"] == "models:/sr-x2-wdsr-weightmap-smoke/1"
    (restored,) = [row for row in result["evaluation"]["rows"] if row["candidate"] == "wdsr"]
    assert (restored["dataset"], restored["pictures"]) == ("Set14", 14)
    assert restored["metrics"]["compressed_size"] > 0


def test_classifiers_see_pictures_as_they_are_and_enlarged(tmp_path: Path, data_root: Path) -> None:
    result = smoke("cifar_superres_classify", tmp_path, data_root)
    for stage in ("original", "bicubic", "superres"):
        seen = result["validations"][stage]
        assert list(seen) == ["10", "20"]
        assert all(0 <= values["accuracy"] <= 1 for values in seen.values())
    again = smoke("cifar_superres_classify", tmp_path, data_root)
    assert again["validations"] == result["validations"]
