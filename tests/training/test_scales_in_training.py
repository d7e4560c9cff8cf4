"""A stage whose steps see one of several scales, and one that takes all paths, from pictures to weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from acutance.config.mistakes import validate
from acutance.config.pipeline import Pipeline
from acutance.data.datasets import Catalogue
from acutance.data.inputs import contents
from acutance.data.pictures import write_picture
from acutance.data.prepare import prepare
from acutance.errors import ConfigError
from acutance.imaging.resize import imresize_uint8
from acutance.models.model_file import load_model
from acutance.training.loop import _stream, training_reports
from acutance.training.plan import plan_stages
from acutance.training.stage_plan import StagePlan


def content(folder: Path) -> dict[str, Any]:
    return {
        "title": "scales",
        "data": {"train": str(folder), "subimages": {"size": 64, "stride": 64}, "lr_scales": [2, 4, 8]},
        "stages": {
            "scales": {
                "network": {"type": "eusr", "blocks": 1, "channels": 4},
                "objective": [{"type": "pixel"}],
                "scales": [2, 4, 8],
                "steps": 6,
                "batch": 2,
                "patch": 32,
                "report_every": 1,
            },
            "paths": {
                "network": {"type": "eusr", "blocks": 1, "channels": 4, "multipass": True, "init": {".": "scales"}},
                "discriminators": {
                    "image": {"network": {"type": "eusr", "channels": 2, "size": 32}, "form": "vanilla"}
                },
                "objective": [{"type": "pixel"}, {"type": "adversarial", "weight": 0.1}],
                "steps": 2,
                "batch": 2,
                "patch": 32,
                "report_every": 1,
            },
        },
        "evaluate": {"stages": ["paths"], "on": [str(folder)]},
        "register": {"name": "scales", "stage": "paths"},
    }


@pytest.fixture
def jobs(tmp_path: Path) -> list[StagePlan]:
    for name in "ab":
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (70, 90, 3), dtype=np.uint8)
        write_picture(tmp_path / "pictures" / f"{name}.png", pixels)
    pipeline = validate(Pipeline, content(tmp_path / "pictures"), "a test")
    catalogue, root = Catalogue({}, tmp_path), str(tmp_path / "out")
    prepare(pipeline.data, pipeline.scale, catalogue, root, in_process=True)
    return plan_stages(pipeline, contents([pipeline.data], pipeline.scale, catalogue, root), root)


def test_from_pictures_to_weights(jobs: list[StagePlan]) -> None:
    scales, paths = jobs
    losses = [report.losses["pixel"] for report in training_reports(scales)]
    assert len(losses) == 6
    assert all(np.isfinite(losses))
    before, _ = load_model(scales.model)
    last = [report.losses for report in training_reports(paths)][-1]
    assert {"pixel", "adversarial", "discriminator_image"} <= last.keys()
    after, description = load_model(paths.model)
    assert description["scale"] == 4
    moved = {name for name, value in after.state_dict().items() if not torch.equal(value, before.state_dict()[name])}
    assert moved == set(after.state_dict())


def test_shards_hold_lr_pictures_of_every_scale(jobs: list[StagePlan]) -> None:
    stream = _stream(replace(jobs[0], stage=jobs[0].stage.model_copy(update={"augment": "none"})))
    for step in range(12):
        batch = stream.batch(step)
        scale = int(batch["scale"][0])
        hr = (batch["hr"][0] * 255).round().byte()
        # A patch's border knew its surroundings when it was made: bicubic looks two LR pixels far.
        expected, found = imresize_uint8(hr, 1 / scale)[:, 3:-3, 3:-3].float(), 255 * batch["lr"][0, :, 3:-3, 3:-3]
        assert (expected - found).abs().max() <= 0.01


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("data", "lr_scales"), [2, 4], "stages.scales.scales: 8 is not among data.lr_scales"),
        (("stages", "scales", "patch"), 64, "at x8 it is 128, larger than data.subimages.size"),
        (("stages", "paths", "scales"), [2, 4], "one judges pictures of one size"),
        (("stages", "scales", "network"), {"type": "rrdbnet"}, "the network rrdbnet has one scale"),
        (("data", "degradation"), None, "without a degradation there is no LR"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, path: tuple[str, ...], value: Any, message: str) -> None:
    settings = node = content(tmp_path)
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    with pytest.raises(ConfigError, match=message):
        validate(Pipeline, settings, "a test")
