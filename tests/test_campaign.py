from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acutance import campaign as campaigns
from acutance.errors import ConfigError
from acutance.schema import validate
from command_line import REPOSITORY

QUICKSTART = REPOSITORY / "search_spaces" / "quickstart.yaml"


@pytest.mark.parametrize("file", sorted((REPOSITORY / "search_spaces").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_search_space_fits_its_pipeline(file: Path) -> None:
    campaign, _, base = campaigns.load(file)
    assert campaign.stage in base.stages


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stage=gann", "did you mean 'gan'?"),
        ("stage=highpass", "makes no pictures"),
        ("objectives=[{metric: psnr, on: a, goal: maximize}]", "did you mean 'psnr_y'?"),
        ("objectives=[{metric: high_frequency, on: a, goal: maximize}]", "minimize that"),
        ("parameters={objective.adversarial.wieght: {float: [1, 2]}}", "did you mean 'weight'?"),
        ("parameters={objective.adversary.weight: {float: [1, 2]}}", "did you mean 'adversarial'?"),
        ("parameters={optimiser.learning_rate: {between: [1, 2]}}", "unknown key"),
        ("overrides={stages.gan.stpes: 3}", "did you mean 'steps'?"),
        ("sampler.type=magic", "'tpe'"),
        ("trails=3", "did you mean 'trials'?"),
    ],
)
def test_mistakes_are_found_before_anything_starts(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        campaigns.load(QUICKSTART, [override])
    assert message in str(caught.value)


def test_choices_of_any_kind_survive_optuna() -> None:
    values: list[Any] = [[1, 3], "b", None, 2.5, float("inf")]
    content = {
        "title": "t", "pipeline": "p", "stage": "gan", "parameters": {"x": {"choice": values}},
        "objectives": [{"metric": "psnr_y", "on": "a", "goal": "maximize"}],
    }  # fmt: skip
    campaign = validate(campaigns.Campaign, content, "a test")
    distribution = campaign.parameters["x"].distribution()
    decoded = [campaign.decode({"x": choice})["stages.gan.x"] for choice in distribution.choices]
    assert decoded == values
