"""Masks and smaller pictures in the training step: the step's number reaches the ramp, targets fit HFA's outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from made_for_training import learner_of
from torch import Tensor

from acutance import pipeline as pipelines
from acutance.errors import ConfigError
from acutance.imaging.resize import imresize
from acutance.training.derive import derived
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
    means = [float(learner.step(batch())["pixel.mask"]) for _ in range(3)]
    assert means[0] == 1
    assert means[1] == pytest.approx((1 + means[2]) / 2, abs=0.02)
    assert 0.02 < means[2] < 0.9


@pytest.mark.parametrize("margin", [0, 8])
def test_smaller_targets_lie_on_the_pixels_of_the_patch(margin: int) -> None:
    learner = learner_of({**SETTINGS, "margin": margin})
    given = batch(margin)
    made = derived(learner.stage, given)
    assert {name: made[name].shape[-1] for name in made} == {"hr": 24, "lr": 24, "half": 12, "quarter": 6}
    inner = slice(margin, margin + 24)
    torch.testing.assert_close(made["hr"], given["hr"][..., inner, inner])
    torch.testing.assert_close(
        made["half"], imresize(given["hr"], 1 / 2)[..., margin // 2 :, margin // 2 :][..., :12, :12]
    )
    torch.testing.assert_close(
        learner.step(given)["half"], learner_of({**SETTINGS, "margin": margin}).step(given)["half"]
    )


@pytest.mark.parametrize("change", ["patch=98", "margin=4"])
def test_uneven_patches_are_refused(change: str) -> None:
    pipeline = REPOSITORY / "pipelines" / "quickstart.yaml"
    reduced = [
        "stages.fidelity.derive={half: {type: bicubic, of: hr, scale: 8}}",
        "scale=2",
        f"stages.fidelity.{change}",
    ]
    with pytest.raises(
        ConfigError, match=r"stages.fidelity.derive.half.scale: 8 divides the patch or the margin unevenly"
    ):
        pipelines.load(pipeline, reduced)
