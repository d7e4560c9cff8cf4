"""Masks that a file gives to several terms at once are one mask in every profile and every trial."""

from __future__ import annotations

from pathlib import Path

import pytest

from acutance.config import pipeline as pipelines
from acutance.config import search_space as campaigns
from acutance.config.pipeline import Pipeline, resolve
from acutance.config.search_space.load import _tried
from command_line import REPOSITORY

HFA = sorted((REPOSITORY / "pipelines").glob("hfa_*.yaml"))
SPACE = REPOSITORY / "search_spaces" / "hfa.yaml"


def masks(pipeline: Pipeline) -> list[str]:
    """Return the different masks of the re-training stage, of which all four terms have one."""
    found = [term.mask for term in pipeline.stages["retrain"].objective]
    assert len(found) == 4
    assert None not in found
    return sorted({mask.model_dump_json() for mask in found})


@pytest.mark.parametrize("file", HFA, ids=lambda file: file.stem)
def test_profiles_change_all_of_a_stages_masks(file: Path) -> None:
    (mask,) = masks(pipelines.load(file, profile="smoke"))
    assert '"ramp":2' in mask


def test_a_search_changes_all_of_a_stages_masks() -> None:
    found = campaigns.load(SPACE)
    content, seen = found.base.model_dump(mode="json", by_alias=True), set()
    for _, values in _tried(found):
        (mask,) = masks(resolve(content, values, "a test"))
        seen.add(mask)
    assert len(seen) > 2
