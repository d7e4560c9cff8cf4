"""Detail layers that the shards do not hold, but the training step computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from acutance.config import pipeline as pipelines
from acutance.config.pipeline import Stage
from acutance.data.columns import Content, columns_of
from acutance.data.datasets import catalogue_for
from acutance.data.pictures import write_picture
from acutance.data.prepare import prepare
from acutance.imaging.derivations import lgs
from acutance.imaging.smoothers import guided_filter_detail
from acutance.inference.restore import restore
from acutance.models.model_file import load_model
from acutance.training.derived import with_derived
from acutance.training.loop import train_stage
from acutance.training.plan import plan_stages
from acutance.training.stage_plan import StagePlan
from command_line import REPOSITORY

QUICKSTART = REPOSITORY / "pipelines" / "quickstart.yaml"
IN_STEPS = ("data.derive.*.stored=false", "data.derive.*.margin=4")
SMALL = ("data.subimages={size: 96, stride: 96}", "stages.gan.network.init={}", "compute.workers=1")


def jobs(*overrides: str) -> dict[str, StagePlan]:
    pipeline = pipelines.load(QUICKSTART, overrides)
    planned = plan_stages(pipeline, {pipeline.data.source: Content([("a", "0")])}, "/out")
    return {job.name: job for job in planned}


def test_new_settings_of_the_extractor_need_no_new_shards() -> None:
    one, other = jobs(*IN_STEPS), jobs(*IN_STEPS, "data.derive.*.alpha=2")
    assert one["gan"].shards == other["gan"].shards != jobs()["gan"].shards
    assert one["gan"].fingerprint != other["gan"].fingerprint
    assert one["fidelity"].fingerprint == other["fidelity"].fingerprint == jobs()["fidelity"].fingerprint
    assert other["gan"].description["derive"]["lr_detail"]["alpha"] == 2
    assert {made.arguments()["alpha"] for made in other["gan"].stage.derive.values()} == {2}
    assert columns_of(pipelines.load(QUICKSTART, IN_STEPS).data, 4).keys() == {"hr", "lr"}


@pytest.mark.parametrize("kind", ["lgs", "gif"])
def test_with_a_margin_a_patch_has_the_detail_of_its_picture(kind: str) -> None:
    planes = 1 if kind == "lgs" else 3
    settings = {
        "network": {
            "type": "dsrgan", "blocks": 1, "channels": 4, "growth": 2, "detail_blocks": 1,
            "detail_planes": planes, "fusion": "none",
        },
        "derive": {"hr_detail": {"type": kind, "of": "hr"}, "lr_detail": {"type": kind, "of": "lr"}},
        "objective": [{"type": "pixel"}],
        "steps": 1, "patch": 64,
    }  # fmt: skip
    hr = torch.from_numpy(np.ascontiguousarray(skimage.data.coffee()[:240, :320].transpose(2, 0, 1)))[None]
    lr = hr[..., 1::4, 1::4]
    cut = {"hr": hr[..., 64:160, 100:196].float() / 255, "lr": lr[..., 16:40, 25:49].float() / 255}
    seen = with_derived(Stage.model_validate(settings), 16, cut)
    assert torch.equal(seen["hr"], hr[..., 80:144, 116:180].float() / 255)
    assert torch.equal(seen["lr"], lr[..., 20:36, 29:45].float() / 255)
    extract = guided_filter_detail if kind == "gif" else lambda picture: torch.exp2(lgs(picture / 255))
    whole = {"hr": extract(hr), "lr": extract(lr)}
    for name, expected in (("hr", whole["hr"][..., 80:144, 116:180]), ("lr", whole["lr"][..., 20:36, 29:45])):
        assert expected.std() > 0.01
        torch.testing.assert_close(seen[f"{name}_detail"], expected, rtol=2e-3, atol=1e-5)


def test_a_stage_trains_without_stored_details(tmp_path: Path) -> None:
    write_picture(tmp_path / "pictures" / "one.png", skimage.data.coffee()[:96, :128])
    overrides = [*IN_STEPS, *SMALL, f"data.train={tmp_path / 'pictures'}", "stages.gan.objective.feature.weight=0"]
    overrides.append("stages.gan.objective.feature.network={type: squeezenet, weights: none}")
    overrides += ["stages.gan.objective.feature.layers=[conv1]", "stages.gan.validation=null"]
    pipeline = pipelines.load(QUICKSTART, overrides, profile="smoke")
    manifest = prepare(pipeline.data, 4, catalogue_for(str(QUICKSTART)), str(tmp_path), in_process=True)
    assert set(manifest.columns) == {"hr", "lr"}
    sums = [(source.name, source.sha256) for source in manifest.sources]
    [job] = plan_stages(pipeline, {pipeline.data.source: Content(sums)}, str(tmp_path), only="gan")
    train_stage(job)
    network, description = load_model(job.model)
    found = restore(network, description, skimage.data.coffee()[100:120, 100:130])
    assert (found["image"].shape, found["detail"].shape) == ((80, 120, 3), (80, 120))
