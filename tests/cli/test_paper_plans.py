"""The plans of the papers' pipelines, which need neither pictures nor weights."""

from __future__ import annotations

import json
from typing import Any

import pytest

from command_line import Here


@pytest.mark.parametrize(
    ("pipeline", "parameters"),
    [("srgan", 1_517_571), ("srgan_dp", 1_517_571), ("esrgan", 16_697_987), ("esrgan_dp", 16_697_987)],
)
def test_a_plan_counts_parameters_without_data(here: Here, no_weights: None, pipeline: str, parameters: int) -> None:
    done = here("run", f"pipelines/{pipeline}.yaml", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    counts = {"network": parameters, "discriminators": {"image": 14_499_401}}
    assert [stage["parameters"] for stage in plan["stages"]] == [counts]
    assert "DIV2K_train" in str(plan["missing"])
    assert "vgg19-dcbb9e9d.pth" in str(plan["missing"])
    assert ("resnet50-0676ba61.pth" in str(plan["missing"])) == pipeline.endswith("_dp")


@pytest.mark.parametrize("pipeline", ["srgan_dp", "esrgan_dp"])
def test_the_released_codes_loss_and_the_static_one_are_profiles(here: Here, pipeline: str) -> None:
    terms = {}
    for profile in ("dp_official", "static"):
        done = here("run", f"pipelines/{pipeline}.yaml", "--profile", profile, "--dry-run", "--json")
        terms[profile] = next(
            term
            for term in json.loads(done.stdout)["config"]["stages"]["gan"]["objective"]
            if term["type"] == "dual_perceptual"
        )
    official, static = terms["dp_official"], terms["static"]
    assert official["taps"] == ["b13", "b24", "b36"]
    assert (official["second"]["normalise"], official["second"]["statistics"]) == (False, "batch")
    assert (official["mu"], official["weighting"]) == (0.5, "dynamic")
    assert (static["mu"], static["weighting"], static["taps"]) == (1, "static", ["b36"])


def test_a_baseline_differs_from_its_dual_loss_in_one_term(here: Here) -> None:
    plans = {
        name: json.loads(here("run", f"pipelines/{name}.yaml", "--dry-run", "--json").stdout)["config"]
        for name in ("srgan", "srgan_dp", "esrgan", "esrgan_dp")
    }
    for name in ("srgan", "esrgan"):
        mine, dual = plans[name], plans[f"{name}_dp"]
        objectives = [config["stages"]["gan"].pop("objective") for config in (mine, dual)]
        assert [[term["name"], term["weight"]] for term in objectives[0]] == [
            ["pixel", 0.01], ["perceptual", 1.0], ["adversarial", 0.005],
        ]  # fmt: skip
        assert [a == b for a, b in zip(*objectives, strict=True)] == [True, False, True]
        assert [mine[part] == dual[part] for part in ("data", "stages", "evaluate", "seed")] == [True] * 4
    forms = {name: plan["stages"]["gan"]["discriminators"]["image"]["form"] for name, plan in plans.items()}
    assert forms == {name: "vanilla" if name.startswith("sr") else "relativistic_average" for name in plans}


HFA = {"highpass": 112_131, "l1": 6_843_841, "large": 6_843_841, "retrain": 6_843_841}


@pytest.mark.parametrize(
    ("pipeline", "missing"),
    [
        ("hfa_denoise", ("DIV2K_train", "DIV2K_valid")),
        ("hfa_denoise_sidd", ("SIDD_train", "SIDD_val")),
        ("hfa_deblur", ("Flickr2K_train", "Flickr2K_valid")),
        ("hfa_deblur_reds", ("REDS_train", "REDS_val")),
        ("hfa_sr", ("DIV2K_train", "DIV2K_valid")),
        ("hfa_sr_reds", ("REDS_train", "REDS_val")),
    ],
)
def test_hfas_plans(here: Here, no_weights: None, pipeline: str, missing: tuple[str, str]) -> None:
    done = here("run", f"pipelines/{pipeline}.yaml", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    counts = {stage["name"]: stage["parameters"] for stage in plan["stages"]}
    judge = {"gan": {"network": 6_843_841, "discriminators": {"image": 5_238_561}}} if "_sr" in pipeline else {}
    assert counts == {name: {"network": n, "discriminators": {}} for name, n in HFA.items()} | judge
    assert all(name in str(plan["missing"]) for name in missing)


def test_a_stage_alone_lacks_nothing_of_the_evaluation(here: Here) -> None:
    command = ("train", "pipelines/hfa_denoise.yaml", "--stage", "l1", "--dry-run", "--json")
    (missing,) = json.loads(here(*command).stdout)["missing"]
    assert missing.startswith("DIV2K_train: ")


def test_hfas_masks_come_in_during_the_last_fifth_of_its_steps(here: Here) -> None:
    plan = json.loads(here("run", "pipelines/hfa_denoise.yaml", "--dry-run", "--json").stdout)["config"]
    stages = {name: plan["stages"][name] for name in ("l1", "large", "retrain")}
    assert [stage["steps"] for stage in stages.values()] == [40_000, 16_000, 14_000]
    assert {term["name"]: term["mask"] for term in stages["l1"]["objective"]} == dict.fromkeys(
        ("pixel", "half", "quarter")
    )
    assert {term["mask"]["ramp"] for term in stages["retrain"]["objective"]} == {7000}
    assert stages["retrain"]["degrade"] == [{"type": "awgn", "sigma": [10, 30], "clip": False}]


def test_the_plan_of_4pp_eusr_needs_neither_its_three_data_sets_nor_weights(here: Here, no_weights: None) -> None:
    done = here("run", "pipelines/eusr_4pp.yaml", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    counts = {stage["name"]: stage["parameters"] for stage in plan["stages"]}
    predictors = {"aesthetic_head", "aesthetic", "subjective_head", "subjective"}
    assert counts.keys() == {"eusr", "perceptual"} | predictors
    assert counts["eusr"]["network"] == counts["perceptual"]["network"] == 6_295_689
    assert counts["perceptual"]["discriminators"] == {"image": 5_238_561}
    assert {counts[name]["network"] for name in predictors} == {2_223_872 + 12_810}
    needs = {stage["name"]: stage["needs"] for stage in plan["stages"]}
    assert [needs[name] for name in ("eusr", "aesthetic_head", "subjective_head")] == [[], [], []]
    assert needs["perceptual"] == ["aesthetic", "eusr", "subjective"]
    for name in ("DIV2K_train", "AVA", "TID2013", "mobilenet_v2-b0353104.pth"):
        assert name in str(plan["missing"]), name


def test_the_other_readings_of_4pp_eusr(here: Here) -> None:
    def perceptual(*changes: str) -> dict[str, Any]:
        done = here("run", "pipelines/eusr_4pp.yaml", "--dry-run", "--json", *changes)
        assert done.returncode == 0, done.stderr
        plan = json.loads(done.stdout)
        stage = next(stage for stage in plan["stages"] if stage["name"] == "perceptual")
        return {**stage, **plan["config"]["stages"]["perceptual"]}

    paper = perceptual()
    assert {term["name"]: round(term["weight"] / (255 if term["name"] == "reconstruction" else 1), 9)
            for term in paper["objective"]} == {
        "reconstruction": 0.05, "adversarial": 0.1, "aesthetic_score": 0.01, "aesthetic_representation": 0.1,
        "subjective_score": 0.01, "subjective_representation": 0.1,
    }  # fmt: skip
    assert {term["factor"] for term in paper["objective"] if term["type"] == "score"} == {0.8}
    assert (paper["first"], paper["batch"], paper["discriminators"]["image"]["form"]) == ("discriminator", 2, "vanilla")
    summed = {term["name"]: term["weight"] for term in perceptual("--profile", "representation_sum")["objective"]}
    assert summed["aesthetic_representation"] == summed["subjective_representation"] == 0.1 * 1280
    flat = perceptual("stages.perceptual.discriminators.image.network.head=flatten")
    assert flat["parameters"]["discriminators"] == {"image": 23_588_641}


@pytest.mark.parametrize(("pipeline", "dataset"), [("nima_ava", "AVA"), ("nima_tid2013", "TID2013")])
def test_a_predictor_alone_is_the_one_of_4pp_eusr(here: Here, no_weights: None, pipeline: str, dataset: str) -> None:
    alone = json.loads(here("run", f"pipelines/{pipeline}.yaml", "--dry-run", "--json").stdout)
    whole = json.loads(here("run", "pipelines/eusr_4pp.yaml", "--dry-run", "--json").stdout)["config"]["stages"]
    assert [stage["parameters"]["network"] for stage in alone["stages"]] == [2_236_682] * 2
    assert dataset in str(alone["missing"])
    assert "mobilenet_v2-b0353104.pth" in str(alone["missing"])
    config = alone["config"]
    kind = "aesthetic" if dataset == "AVA" else "subjective"
    for name in (f"{kind}_head", kind):
        mine, theirs = config["stages"][name], whole[name]
        for key in ("objective", "optimiser", "steps", "batch", "patch", "augment", "frozen"):
            assert mine[key] == theirs[key], (name, key)
        assert config["data"] == theirs["data"]


def test_a_plan_shows_the_steps_of_every_stage_and_their_sum(here: Here) -> None:
    plan = json.loads(here("run", "pipelines/hfa_denoise.yaml", "budget.scale=0.05", "--dry-run", "--json").stdout)
    assert {stage["name"]: stage["steps"] for stage in plan["stages"]} == {
        "highpass": 1000, "l1": 2000, "large": 800, "retrain": 700,
    }  # fmt: skip
    assert plan["all_steps"] == 4500
    quick = ("tune", "search_spaces/dsrgan.yaml", "--table", "table_1", "budget.steps=20000", "--dry-run")
    plan = json.loads(here(*quick, "--json").stdout)
    assert {tuple(row["steps"].items()) for row in plan["rows"]} == {(("fidelity", 50_000), ("gan", 20_000))}
    # Three seeds of two fidelity networks, of 23 blocks and of 27, and of four rows.
    assert plan["all_steps"] == 3 * (2 * 50_000 + 4 * 20_000)
    text = here("tune", "search_spaces/weight_map.yaml", "--table", "table_3", "budget.scale=0.1", "--dry-run").stdout
    # Three seeds of eight classifiers; of those on the way, bicubic and the original size have no restorer.
    assert f"{3 * (8 * 18_000 + 6 * 30_000):,} steps in all, of 24 trials; what they share is counted once" in text
    assert "superres 18,000" in text
    assert "wdsr 30,000, superres 18,000" in text
