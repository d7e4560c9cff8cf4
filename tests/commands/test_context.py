"""A pipeline opened for work."""

from __future__ import annotations

from pathlib import Path

from acutance.commands.context import NAME_LENGTH, called, open_pipeline
from command_line import REPOSITORY

QUICKSTART = str(REPOSITORY / "pipelines" / "quickstart.yaml")


def test_the_name_of_a_run_tells_what_was_changed(tmp_path: Path) -> None:
    assert open_pipeline(QUICKSTART, [], None, str(tmp_path)).title == "Quickstart"
    other = open_pipeline(QUICKSTART, ["data.train=./mine", "seed=3"], "smoke", str(tmp_path))
    assert other.title == "Quickstart (smoke, data.train=./mine, seed=3)"
    assert called("t", ["a=postgresql://h/db?password=hunter22"]).count("hunter22") == 0
    assert len(called("t", ["x" * 300])) == NAME_LENGTH
