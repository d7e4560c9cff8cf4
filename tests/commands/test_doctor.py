"""What `doctor` tells first."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

from acutance.commands.doctor import examine
from acutance.data.datasets import catalogue_for


def test_what_is_known_at_once_is_told_before_anything_long_is_tried(tmp_path: Path) -> None:
    catalogue = catalogue_for()
    findings = takewhile(lambda finding: finding.what != "GPU", examine(str(tmp_path), None, catalogue))
    told = [finding.what for finding in findings]
    assert told[:4] == ["Python", "packages", "compiler", "storage"]
    assert {f"data {name}" for name in catalogue.entries} <= set(told)
    assert not {"MLflow", "Ray"} & set(told)
