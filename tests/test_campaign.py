from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest

from acutance import campaign as campaigns
from acutance.campaign import Campaign
from acutance.campaign.parameters import grid, suggest
from acutance.errors import ConfigError
from acutance.schema import validate
from command_line import REPOSITORY

QUICKSTART = REPOSITORY / "search_spaces" / "quickstart.yaml"
CONTENT: dict[str, Any] = {
    "title": "t",
    "pipeline": "p",
    "stage": "gan",
    "objectives": [{"metric": "psnr_y", "on": "a", "goal": "maximize"}],
}
TABLE = (
    "tables={one: {vary: {objective.adversarial.weight: [0.001, 0.01]}, seeds: 2, baseline: '0.01', "
    "columns: [{metric: psnr_y, on: photographs_heldout}], published: {'0.01': [27.5], other: [28.1]}}}"
)


def campaign_of(**changes: Any) -> Campaign:
    return validate(Campaign, {**CONTENT, **changes}, "a test")


@pytest.mark.parametrize("file", sorted((REPOSITORY / "search_spaces").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_search_space_and_table_fits_its_pipeline(file: Path) -> None:
    found = campaigns.load(file)
    assert found.campaign.stage in found.base.stages
    for table in found.campaign.tables:
        assert campaigns.load(file, table=table).points


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stage=gann", "did you mean 'gan'?"),
        ("stage=highpass", "makes no pictures"),
        ("objectives=[{metric: psnr, on: a, goal: maximize}]", "did you mean 'psnr_y'?"),
        ("objectives=[{metric: high_frequency, on: a, goal: maximize}]", "minimize that"),
        ("objectives=[{metric: niqe, on: a, goal: minimize}, {metric: niqe, on: a, goal: minimize}]", "named twice"),
        ("parameters={objective.adversarial.wieght: {float: [1, 2]}}", "did you mean 'weight'?"),
        ("parameters={objective.adversary.weight: {float: [1, 2]}}", "did you mean 'adversarial'?"),
        ("parameters={optimiser.learning_rate: {between: [1, 2]}}", "unknown key"),
        ("parameters={optimiser.learning_rate: {float: [2, 1]}}", "above the upper one"),
        ("parameters={optimiser.learning_rate: {float: [0, 1], log: true}}", "starts above 0"),
        ("parameters={optimiser.learning_rate: {float: [-1, 1e-3]}}", "greater than 0"),
        ("parameters={data.detail.alpah: {choice: [1, 2]}}", "did you mean 'alpha'?"),
        ("parameters={}", "a search needs some"),
        ("sampler.type=grid", "a grid needs a finite number"),
        ("overrides={stages.gan.stpes: 3}", "did you mean 'steps'?"),
        ("sampler.type=magic", "'tpe'"),
        ("sampler.type=cmaes", "one objective"),
        ("scheduler.judge=psnr", "there is no objective 'psnr'; valid are dominance"),
        ("scheduler={type: pbt, every: 10, population: 2}", None),
        ("resources={workers: 2, gpus: 0.5}", "a GPU each"),
        ("budget.trails=3", "did you mean 'trials'?"),
        ("tables={a: {rows: {}, columns: [{metric: psnr_y, on: a}]}}", "either 'vary' or 'rows'"),
        ("tables={a: {rows: {b: {}}, columns: [{metric: psnr_y, on: a}], published: {b: [1, 2]}}}", "2 values for 1"),
    ],
)
def test_mistakes_are_found_before_anything_starts(override: str, message: str | None) -> None:
    if message is None:
        campaigns.load(QUICKSTART, [override])
        return
    with pytest.raises(ConfigError) as caught:
        campaigns.load(QUICKSTART, [override])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"b": ["x"]}, "no parameter 'b' comes before"),
        ({"a": ["z"]}, "a is never 'z'; it is one of x, y"),
        ({"r": [1]}, "r is a range"),
    ],
)
def test_a_condition_looks_at_what_was_named_before(condition: dict[str, Any], message: str) -> None:
    parameters = {
        "a": {"choice": ["x", "y"]},
        "r": {"int": [1, 2]},
        "c": {"float": [0, 1], "when": condition},
        "b": {"choice": ["x"]},
    }
    with pytest.raises(ConfigError) as caught:
        campaign_of(parameters=parameters)
    assert message in str(caught.value)


def test_a_conditional_parameter_is_there_only_where_its_condition_holds() -> None:
    parameters = {
        "form": {"choice": ["vanilla", "relativistic"]},
        "margin": {"choice": [1, 2], "when": {"form": ["relativistic"]}},
    }
    found = campaign_of(parameters=parameters).parameters
    assert grid(found) == [
        {"form": "vanilla"},
        {"form": "relativistic", "margin": 1},
        {"form": "relativistic", "margin": 2},
    ]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [suggest(found, study.ask()) for _ in range(20)]
    assert all(("margin" in one) == (one["form"] == "relativistic") for one in drawn)
    assert {one["form"] for one in drawn} == {"vanilla", "relativistic"}


def test_choices_of_any_kind_survive_optuna() -> None:
    values: list[Any] = [[1, 3], "b", None, 2.5, math.inf]
    found = campaign_of(parameters={"x": {"choice": values}}).parameters
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [suggest(found, study.ask())["x"] for _ in range(60)]
    assert all(value in drawn for value in values)
    assert all(value in values for value in drawn)


def test_a_grid_has_every_combination_of_stepped_ranges() -> None:
    found = campaign_of(parameters={"x": {"float": [0, 1], "step": 0.25}, "n": {"int": [1, 5], "step": 2}}).parameters
    points = grid(found)
    assert [point["x"] for point in points[::3]] == [0, 0.25, 0.5, 0.75, 1]
    assert [point["n"] for point in points[:3]] == [1, 3, 5]


def test_parameters_are_placed_inside_the_stage_or_from_the_top() -> None:
    campaign = campaign_of()
    assert campaign.placed({"optimiser.learning_rate": 1, "data.detail.alpha": 2, "stages.fidelity.steps": 3}) == {
        "stages.gan.optimiser.learning_rate": 1,
        "data.detail.alpha": 2,
        "stages.fidelity.steps": 3,
    }


def test_a_table_runs_whole_rows_of_one_seed_after_the_other() -> None:
    found = campaigns.load(QUICKSTART, [TABLE], table="one")
    assert found.points is not None
    assert [(point.row, point.seed) for point in found.points] == [("0.001", 0), ("0.01", 0), ("0.001", 1), ("0.01", 1)]
    assert found.points[2].values == {"stages.gan.objective.adversarial.weight": 0.001, "stages.gan.seed": 1}
    assert found.campaign.scheduler is None
    with pytest.raises(ConfigError, match="did you mean 'one'"):
        campaigns.load(QUICKSTART, [TABLE], table="on")


def test_a_row_that_does_not_fit_the_pipeline_is_named() -> None:
    with pytest.raises(ConfigError, match=r"bad: .*did you mean 'weight'"):
        campaigns.load(
            QUICKSTART,
            ["tables={t: {rows: {bad: {objective.adversarial.wieght: 1}}, columns: [{metric: psnr_y, on: a}]}}"],
            table="t",
        )
