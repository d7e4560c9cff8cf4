"""Masks and smaller pictures in the training step: ramps by its number, targets of HFA's outputs, weight maps."""

from __future__ import annotations

from typing import Any

import pytest
import skimage.data
import torch
from made_for_training import learner_of
from torch import Tensor

from acutance.config import pipeline as pipelines
from acutance.config.pipeline import columns_read
from acutance.errors import ConfigError
from acutance.imaging.resize import imresize
from acutance.imaging.weightmap import difference_statistics, weight_map
from acutance.training.derived import with_derived
from acutance.training.plan import as_trained
from command_line import REPOSITORY

SETTINGS: dict[str, Any] = {
    "network": {"type": "hfa", "channels": 4, "blocks": [1, 1, 1]},
    "derive": {name: {"type": "bicubic", "of": "hr", "scale": scale} for name, scale in (("half", 2), ("quarter", 4))},
    "objective": [
        {"type": "pixel", "mask": {"type": "gms", "ramp": 2}},
        {"type": "pixel", "name": "half", "on": "half"},
        {"type": "pixel", "name": "quarter", "on": "quarter"},
    ],
    "patch": 24,
    "steps": 3,
}


def batch(margin: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    side = 24 + 2 * margin
    return {name: torch.rand(2, 3, side, side, generator=random) for name in ("hr", "lr")}


def test_the_mask_takes_effect_with_the_steps() -> None:
    learner = learner_of(SETTINGS)
    means = [float(learner.train_step(batch())["pixel.mask"]) for _ in range(3)]
    assert means[0] == 1
    assert means[1] == pytest.approx((1 + means[2]) / 2, abs=0.02)
    assert 0.02 < means[2] < 0.9


@pytest.mark.parametrize("margin", [0, 8])
def test_smaller_targets_lie_on_the_pixels_of_the_patch(margin: int) -> None:
    learner = learner_of(SETTINGS, margin=margin)
    given = batch(margin)
    made = with_derived(learner.stage, margin, given)
    assert {name: made[name].shape[-1] for name in made} == {"hr": 24, "lr": 24, "half": 12, "quarter": 6}
    inner = slice(margin, margin + 24)
    torch.testing.assert_close(made["hr"], given["hr"][..., inner, inner])
    torch.testing.assert_close(
        made["half"], imresize(given["hr"], 1 / 2)[..., margin // 2 :, margin // 2 :][..., :12, :12]
    )
    torch.testing.assert_close(
        learner.train_step(given)["half"], learner_of(SETTINGS, margin=margin).train_step(given)["half"]
    )


EIGHTH = [
    "stages.fidelity.derive={eighth: {type: bicubic, of: hr, scale: 8, margin: 4}}",
    "stages.fidelity.objective=[{type: pixel, on: eighth}]",
    "scale=2",
]


def test_uneven_patches_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"stages.fidelity.derive.eighth.scale: 8 divides the patch unevenly"):
        pipelines.load(QUICKSTART, [*EIGHTH, "stages.fidelity.patch=98"])


def test_margins_are_even_where_smaller_pictures_are_made() -> None:
    assert pipelines.load(QUICKSTART, EIGHTH).margin("fidelity") % 8 == 0


WEIGHED = (
    "data.derive.hr_differences={type: difference_statistics, of: hr, stored: true}",
    "data.derive.hr_weight={type: weight_map, of: [hr, hr_differences], margin: 1, alpha: 0.6}",
    "stages.fidelity.objective.pixel.mask={type: column, column: hr_weight}",
)
QUICKSTART = REPOSITORY / "pipelines" / "quickstart.yaml"


def test_a_weight_map_is_made_of_the_patch_by_the_statistics_of_its_picture() -> None:
    """As exact as the map of the whole picture: grey levels pass through floats, and neighbours are in the margin."""
    pipeline = pipelines.load(QUICKSTART, [*WEIGHED, "scale=2"])
    stage = as_trained(pipeline, "fidelity")
    assert pipeline.margin("fidelity") == 2
    assert columns_read(stage) == {"hr", "lr", "hr_differences"}
    hr = torch.from_numpy(skimage.data.coffee()[:200, :300].transpose(2, 0, 1).copy())[None]
    side = stage.patch + 4
    cut = {"hr": hr[..., 50 : 50 + side, 70 : 70 + side].float() / 255, "lr": torch.rand(1, 3, side // 2, side // 2)}
    seen = with_derived(stage, 2, {**cut, "hr_differences": difference_statistics(hr)})
    inner = slice(52, 52 + stage.patch), slice(72, 72 + stage.patch)
    assert torch.equal(seen["hr"], hr[(..., *inner)].float() / 255)
    assert torch.equal(seen["hr_weight"], weight_map(hr, alpha=0.6)[(..., *inner)])
    assert 0.1 < seen["hr_weight"].mean() < 0.9
    assert pipelines.load(QUICKSTART, WEIGHED[:2]).margin("fidelity") == 0


def test_margins_of_columns_that_are_made_of_one_another_add_up() -> None:
    chain = "stages.fidelity.derive={a: {type: highpass, of: lr, margin: 3}, b: {type: highpass, of: a, margin: 2}}"
    assert pipelines.load(QUICKSTART, [chain]).margin("fidelity") == 0, "nothing reads them"
    masked = "stages.fidelity.objective.pixel.mask={type: column, column: b}"
    assert pipelines.load(QUICKSTART, [chain, masked]).margin("fidelity") == 4 * (3 + 2)


def test_columns_that_are_made_of_one_another_in_a_circle_are_refused() -> None:
    circle = "stages.fidelity.derive={a: {type: highpass, of: b}, b: {type: highpass, of: a}}"
    with pytest.raises(ConfigError, match=r"stages.fidelity.derive: these are made of one another: (a -> b|b -> a)"):
        pipelines.load(QUICKSTART, [circle])


@pytest.mark.parametrize("change", ["alpha=-1", "iterations=0", "eps=0"])
def test_a_value_that_a_derivation_cannot_take_is_found_at_once(change: str) -> None:
    name, _, value = change.partition("=")
    with pytest.raises(ConfigError, match=rf"data.derive.hr_detail.{name}: .*greater than"):
        pipelines.load(QUICKSTART, [f"data.derive.*.{name}={value}"])


def test_the_margin_of_a_weight_map_leaves_smaller_pictures_on_their_pixels() -> None:
    smaller = "stages.fidelity.derive={half: {type: bicubic, of: hr, scale: 2}}"
    weighted = "{type: pixel, mask: {type: column, column: hr_weight}}"
    read = f"stages.fidelity.objective=[{weighted}, {{type: pixel, name: half, on: half}}]"
    assert pipelines.load(QUICKSTART, [*WEIGHED, "scale=2", smaller, read]).margin("fidelity") == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ["stages.fidelity.derive={w: {type: weight_map, of: hr, alpha: 1}}"],
            "stages.fidelity.derive.w: weight_map is made of 2 columns, not of 1",
        ),
        (
            [*WEIGHED, "stages.fidelity.derive={w: {type: highpass, of: hr_wait}}"],
            "stages.fidelity.derive.w.of: there is no 'hr_wait'; did you mean 'hr_weight'?",
        ),
        (
            [*WEIGHED, "data.derive.hr_differences.stored=false"],
            "data.derive.hr_differences.stored: difference_statistics is of whole pictures; set it to true",
        ),
    ],
)
def test_what_cannot_be_derived_is_refused(changes: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pipelines.load(QUICKSTART, changes)
    assert message in str(caught.value)
