"""The plans of the papers' pipelines, which need neither pictures nor weights."""

from __future__ import annotations

import json

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
