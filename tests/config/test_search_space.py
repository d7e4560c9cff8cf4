from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest

from acutance.config import search_space as campaigns
from acutance.config.mistakes import validate
from acutance.config.pipeline import resolve
from acutance.config.search_space import Campaign, Start, started
from acutance.config.search_space.parameters import grid, suggest
from acutance.errors import ConfigError
from command_line import REPOSITORY

QUICKSTART = REPOSITORY / "search_spaces" / "quickstart.yaml"
CONTENT: dict[str, Any] = {
    "title": "t",
    "pipeline": "p",
    "stage": "gan",
    "objectives": [{"metric": "psnr_y", "on": "a", "goal": "maximize"}],
}
DUAL = REPOSITORY / "search_spaces" / "dual_perceptual.yaml"
TABLE = (
    "tables={one: {vary: {objective.adversarial.weight: [0.001, 0.01]}, seeds: 2, baseline: '0.01', "
    "columns: [{metric: psnr_y, on: photographs_heldout}], published: {'0.01': [27.5], other: [28.1]}}}"
)

CHAIN = (
    "tables={{first: {{vary: {{optimiser.learning_rate: [1e-4, 1e-3]}}, columns: [{{metric: psnr_y, on: a}}]}}, "
    "then: {{after: {}, vary: {{steps: [5, 6]}}, columns: [{{metric: psnr_y, on: a}}]}}}}"
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
        (
            "objectives=[{metric: psnr, on: a, goal: maximize}]",
            "there is no metric 'psnr'; did you mean 'psnr_y'?\n  where",
        ),
        ("objectives=[{metric: niqe, on: a, goal: minimize}, {metric: niqe, on: a, goal: minimize}]", "named twice"),
        ("objectives=[{metric: selected_percent, on: a, goal: minimize}]", "use on: training or validation"),
        ("objectives=[{metric: png_megabytes, on: validation, goal: maximize}]", "needs stages.gan.validation"),
        ("parameters={objective.adversarial.wieght: {float: [1, 2]}}", "did you mean 'weight'?"),
        ("parameters={objective.adversary.weight: {float: [1, 2]}}", "did you mean 'adversarial'?"),
        ("parameters={optimiser.learning_rate: {between: [1, 2]}}", "unknown key"),
        ("parameters={optimiser.learning_rate: {float: [2, 1]}}", "above the upper one"),
        ("parameters={optimiser.learning_rate: {float: [0, 1], log: true}}", "starts above 0"),
        ("parameters={optimiser.learning_rate: {float: [-1, 1e-3]}}", "greater than 0"),
        ("parameters={data.derive.*.alpah: {choice: [1, 2]}}", "did you mean 'alpha'?"),
        ("parameters={}", "a search needs some"),
        ("sampler.type=grid", "a grid needs a finite number"),
        ("overrides={stages.gan.stpes: 3}", "did you mean 'steps'?"),
        ("sampler.type=magic", "'tpe'"),
        ("sampler.type=cmaes", "one objective"),
        ("scheduler.objective=psnr", "there is no objective 'psnr'; valid are dominance"),
        ("scheduler={type: pbt, every: 10, population: 2}", None),
        ("resources={workers: 2, gpus: 0.5}", "a GPU each"),
        ("resources.workers=3", "cannot be shared by 3 workers\n"),
        ("resources.workers=16", "a batch of 8 of the stage highpass cannot be shared by 16 workers"),
        ("resources.workers=16", "all stages of a trial can be shared by 1, 2, 4, 8"),
        ("budget.trails=3", "did you mean 'trials'?"),
        ("tables={a: {rows: {}, columns: [{metric: psnr_y, on: a}]}}", "either 'vary' or 'rows'"),
        ("tables={a: {rows: {b: {}}, columns: [{metric: psnr_y, on: a}], published: {b: [1, 2]}}}", "2 values for 1"),
        (
            CHAIN.format("{table: frist, best: psnr_y on a}"),
            "tables.then.after.table: there is no table 'frist'; did you",
        ),
        (
            CHAIN.format("{table: first, best: psnr_y on b}"),
            "the table first has no column 'psnr_y on b'; did you mean",
        ),
        (CHAIN.format("{table: then, best: psnr_y on a}"), "these start from one another: then -> then"),
        (CHAIN.format("{tabel: first, best: psnr_y on a}"), "did you mean 'table'?"),
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
    assert campaign.placed({"optimiser.learning_rate": 1, "data.derive.*.alpha": 2, "stages.fidelity.steps": 3}) == {
        "stages.gan.optimiser.learning_rate": 1,
        "data.derive.*.alpha": 2,
        "stages.fidelity.steps": 3,
    }


def test_a_table_runs_whole_rows_of_one_seed_after_the_other() -> None:
    found = campaigns.load(QUICKSTART, [TABLE], table="one")
    assert found.points is not None
    assert [(point.row, point.seed) for point in found.points] == [("0.001", 0), ("0.01", 0), ("0.001", 1), ("0.01", 1)]
    seeds = {"stages.highpass.seed": 1, "stages.fidelity.seed": 1, "stages.gan.seed": 1}
    assert found.points[2].values == {"stages.gan.objective.adversarial.weight": 0.001, **seeds}
    assert found.campaign.scheduler is None
    with pytest.raises(ConfigError, match="did you mean 'one'"):
        campaigns.load(QUICKSTART, [TABLE], table="on")


def test_the_seeds_of_a_table_reach_all_that_it_comes_from_unless_stages_are_chosen() -> None:
    found = campaigns.load(QUICKSTART, [TABLE], table="one")
    assert (set(found.seeded), found.once) == ({"highpass", "fidelity", "gan"}, [])
    chosen = campaigns.load(QUICKSTART, [TABLE, "tables.one.seeded=[fidelity]"], table="one")
    assert (chosen.seeded, set(chosen.once)) == (["fidelity"], {"highpass", "gan"})
    assert chosen.points is not None
    assert chosen.points[2].values == {"stages.gan.objective.adversarial.weight": 0.001, "stages.fidelity.seed": 1}
    with pytest.raises(ConfigError, match="did you mean 'fidelity'"):
        campaigns.load(QUICKSTART, [TABLE, "tables.one.seeded=[fideltiy]"], table="one")


def test_what_a_row_comes_from_is_decided_by_its_own_values() -> None:
    found = campaigns.load(REPOSITORY / "search_spaces" / "weight_map.yaml", table="table_3")
    seeded = {point.row: set(point.seeded) for point in found.points or []}
    assert seeded["Original size"] == seeded["Bicubic"] == {"superres"}
    assert seeded["WDSR"] == seeded["alpha = 1/3"] == {"wdsr", "superres"}


@pytest.mark.parametrize("table", ["table_1", "table_2", "table_3", "table_4", "table_5", "table_6", "table_6_gan"])
def test_seeds_of_hfas_tables_are_seeds_of_whole_trainings(table: str) -> None:
    found = campaigns.load(REPOSITORY / "search_spaces" / "hfa.yaml", [f"tables.{table}.seeds=2"], table=table)
    for point in found.points or []:
        pipeline = resolve(found.base.model_dump(mode="json", by_alias=True), point.values, "a test")
        assert {"l1", "large", "retrain"} <= set(point.seeded)
        assert {pipeline.seed_of(stage) for stage in pipeline.order(found.campaign.stage)} == {point.seed}


def test_a_row_that_does_not_fit_the_pipeline_is_named() -> None:
    with pytest.raises(ConfigError, match=r"bad: .*did you mean 'weight'"):
        campaigns.load(
            QUICKSTART,
            ["tables={t: {rows: {bad: {objective.adversarial.wieght: 1}}, columns: [{metric: psnr_y, on: a}]}}"],
            table="t",
        )


def test_a_table_starts_from_a_row_of_another_beneath_its_own_values() -> None:
    found = campaigns.load(QUICKSTART, [CHAIN.format("{table: first, best: psnr_y on a}")], table="then")
    assert found.points is not None
    seeds = {"stages.highpass.seed": 0, "stages.fidelity.seed": 0, "stages.gan.seed": 0}
    assert found.points[0].values == {"stages.gan.steps": 5, **seeds}
    values = {"optimiser.learning_rate": 1e-3, "steps": 9, "data.derive.*.alpha": 2}
    settled = started(found, Start("first", "0.001", values))
    assert settled.points is not None
    inherited = {"stages.gan.optimiser.learning_rate": 1e-3, "data.derive.*.alpha": 2}
    assert [point.values for point in settled.points] == [
        {**inherited, "stages.gan.steps": steps, **seeds} for steps in (5, 6)
    ]
    assert settled.start is not None
    assert settled.start.row == "0.001"


def test_tables_that_go_in_a_circle_are_named() -> None:
    table = "{{after: {{table: {}, best: psnr_y on a}}, rows: {{b: {{}}}}, columns: [{{metric: psnr_y, on: a}}]}}"
    with pytest.raises(ConfigError, match=r"start from one another: (b -> c -> b|c -> b -> c)"):
        campaigns.load(
            QUICKSTART, [f"tables={{b: {table.format('c')}, c: {table.format('b')}, d: {table.format('b')}}}"]
        )


def test_a_table_may_run_another_pipeline() -> None:
    found = campaigns.load(DUAL, table="table_4_esrgan")
    assert (found.file.name, found.base.stages["gan"].network.type) == ("esrgan_dp.yaml", "rrdbnet")
    assert campaigns.load(DUAL, table="table_4_srgan").base.stages["gan"].network.type == "msrresnet"


@pytest.mark.parametrize(
    ("override", "messages"),
    [
        ("pipeline=pipelines/esrgan_pd.yaml", ["tables.one.pipeline: ", "did you mean 'pipelines/esrgan_dp.yaml'?"]),
        ("rows={b: {objective.dual_perceptaul.mu: 1}}",
         ["b: stages.gan.objective.dual_perceptaul: ", "did you mean 'dual_perceptual'?", "esrgan_dp.yaml"]),
        ("rows={b: {objective.dual_perceptual.weighing: static}}",
         ["b: stages.gan.objective.dual_perceptual.weighing: ", "did you mean 'weighting'?", "esrgan_dp.yaml"]),
        ("rows={b: {objective.dual_perceptual.taps: [b63]}}",
         ["b: stages.gan.objective.dual_perceptual: ", "no layer 'b63'"]),
        ("stage=gna", ["did you mean 'gan'?"]),
    ],
)  # fmt: skip
def test_mistakes_against_another_pipeline_name_file_path_and_nearest_name(override: str, messages: list[str]) -> None:
    table = (
        "tables={one: {pipeline: pipelines/esrgan_dp.yaml, rows: {b: {}}, "
        "columns: [{metric: psnr_y, on: photographs_heldout}]}}"
    )
    with pytest.raises(ConfigError) as caught:
        campaigns.load(QUICKSTART, [table, f"tables.one.{override}"], table="one")
    assert [message for message in messages if message not in str(caught.value)] == []


def test_rows_are_tried_on_every_row_that_they_may_start_from() -> None:
    mistake = "tables.first.rows={good: {}, bad: {stages.highpass.patch: 4096}}"
    with pytest.raises(ConfigError, match=r"5 on bad of first: .*stages\.highpass\.patch: 4096 is larger"):
        campaigns.load(
            QUICKSTART,
            [CHAIN.format("{table: first, best: psnr_y on a}"), "tables.first.vary={}", mistake],
            table="then",
        )


def test_the_papers_procedure_goes_from_mu_to_tap_to_esrgan() -> None:
    tables = campaigns.load(DUAL).campaign.tables
    assert [table for table in ("find_tap", "transfer") if tables[table].after] == ["find_tap", "transfer"]
    assert tables["find_mu"].rows == tables["table_1"].rows
    taps = [values["objective.dual_perceptual.taps"] for values in tables["find_mu"].rows.values() if len(values) > 1]
    assert taps == [["b13"]] * 6
    best = {}
    for name in ("find_mu", "find_tap"):
        column = [c.name for c in tables[name].columns].index("lpips_alex on BSD100")
        best[name] = min(tables[name].published, key=lambda row: tables[name].published[row][column])
    assert best == {"find_mu": "0.5", "find_tap": "b36"}  # what the paper chose, by what its tables say


def test_a_table_starts_from_a_public_file_as_far_as_it_fits() -> None:
    start = "overrides.stages.gan.network.init.main=RRDB_PSNR_x4.pth"
    found = campaigns.load(REPOSITORY / "search_spaces" / "dsrgan.yaml", [start], table="table_1")
    assert found.campaign.overrides["data.derive.*.stored"] is True
    content = found.base.model_dump(mode="json", by_alias=True)
    orders = {point.row: resolve(content, point.values, "a test").order("gan") for point in found.points or []}
    assert orders == {"No. 1": ["fidelity", "gan"], "No. 2": ["gan"], "No. 3": ["gan"], "No. 4": ["gan"]}
