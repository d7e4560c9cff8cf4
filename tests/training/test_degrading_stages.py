"""A stage whose LR pictures are made in the stream, from pictures to weights, and what does not fit it."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from acutance.config.mistakes import validate
from acutance.config.overrides import override
from acutance.config.pipeline import Pipeline, columns_read
from acutance.data.datasets import Catalogue
from acutance.data.inputs import contents
from acutance.data.pictures import write_picture
from acutance.data.prepare import prepare
from acutance.errors import ConfigError
from acutance.models.model_file import load_model
from acutance.training.build import build_learner
from acutance.training.derived import with_derived
from acutance.training.loop import _stream, training_reports
from acutance.training.plan import plan_stages
from acutance.training.stage_plan import StagePlan

NOISE_AND_REDUCTION = [{"type": "awgn", "sigma": [10, 30]}, {"type": "bicubic", "scale": 4}]


def content(folder: Path, **changes: Any) -> dict[str, Any]:
    settings = {
        "title": "degraded",
        "data": {"train": str(folder), "subimages": {"size": 48, "stride": 40}, "degradation": None},
        "stages": {
            "one": {
                "network": {"type": "rrdbnet", "blocks": 1, "channels": 4, "growth": 2},
                "objective": [{"type": "pixel"}],
                "degrade": copy.deepcopy(NOISE_AND_REDUCTION),
                "steps": 3,
                "batch": 4,
                "patch": 32,
                "report_every": 1,
            },
        },
        "evaluate": {"stages": ["one"], "on": [str(folder)]},
        "register": {"name": "degraded", "stage": "one"},
    }
    for path, value in changes.items():
        override(settings, path, value)
    return settings


def job_of(folder: Path, out: Path, **changes: Any) -> StagePlan:
    for name in "ab":
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (50, 90, 3), dtype=np.uint8)
        write_picture(folder / f"{name}.png", pixels)
    pipeline = validate(Pipeline, content(folder, **changes), "a test")
    catalogue = Catalogue({}, str(folder))
    data = pipeline.data_of("one")
    prepare(data, pipeline.scale, catalogue, str(out), in_process=True)
    return plan_stages(pipeline, contents([data], pipeline.scale, catalogue, str(out)), str(out))[0]


def test_a_stage_learns_from_what_it_degrades_itself(tmp_path: Path) -> None:
    job = job_of(tmp_path / "pictures", tmp_path / "out")
    assert columns_read(job.stage) == {"hr"}
    stream = _stream(job)
    whole = stream.batch(1)
    assert {name: tuple(tensor.shape) for name, tensor in whole.items()} == {"hr": (4, 3, 32, 32), "lr": (4, 3, 8, 8)}
    shares = [_stream(job).batch(1, rank, 2)["lr"] for rank in (0, 1)]
    assert torch.equal(torch.cat(shares), whole["lr"])
    losses = [report.losses["pixel"] for report in training_reports(job)]
    assert len(losses) == 3
    assert np.isfinite(losses).all()
    assert load_model(job.model)[1]["scale"] == 4


def test_what_is_drawn_is_part_of_what_a_stage_is(tmp_path: Path) -> None:
    quiet = {"stages.one.degrade.awgn.sigma": [10]}
    jobs = [job_of(tmp_path / "pictures", tmp_path / "out", **changes) for changes in ({}, quiet)]
    assert jobs[0].shards == jobs[1].shards
    assert jobs[0].fingerprint != jobs[1].fingerprint


def test_two_stages_see_other_crops_and_noise_and_start_from_other_weights(tmp_path: Path) -> None:
    job = job_of(tmp_path / "pictures", tmp_path / "out")
    one, same, two = job, replace(job), replace(job, name="two")
    first, again, other = (_stream(j).batch(2) for j in (one, same, two))
    assert torch.equal(first["lr"], again["lr"])
    assert not torch.equal(first["hr"], other["hr"])
    flat, spoiled = ({name: tensor.flatten(1).std(1) for name, tensor in batch.items()} for batch in (first, other))
    assert not set(flat["lr"].tolist()) & set(spoiled["lr"].tolist())
    kernels = [next(build_learner(j, "cpu").generator.module.parameters()) for j in (one, same, two)]
    assert torch.equal(kernels[0], kernels[1])
    assert not torch.equal(kernels[0], kernels[2])


def test_a_stage_learns_from_patches_of_two_sides(tmp_path: Path) -> None:
    cuts = {"data.subimages": {"size": 32, "stride": 32}, "stages.one.subimages": {"size": [48, 80], "stride": 80}}
    sides = {"stages.one.patch": [32, 64], "stages.one.augment": "flips"}
    half = {
        "stages.one.network": {"type": "hfa", "scale": 4, "channels": 4, "blocks": [1, 1, 1]},
        "stages.one.derive": {"half": {"type": "bicubic", "of": "hr", "margin": 8, "scale": 2}},
        "stages.one.objective": [{"type": "pixel"}, {"type": "pixel", "name": "half", "on": "half"}],
    }
    job = job_of(tmp_path / "pictures", tmp_path / "out", **cuts, **sides, **half)
    assert job.margin == 8
    batch = with_derived(job.stage, job.margin, _stream(job).batch(0))
    shapes = {name: tuple(tensor.shape[2:]) for name, tensor in batch.items()}
    assert shapes == {"hr": (32, 64), "lr": (8, 16), "half": (16, 32)}
    assert [report.step for report in training_reports(job)] == [1, 2, 3]


def test_detail_layers_of_what_is_degraded_are_computed_in_the_step(tmp_path: Path) -> None:
    network = {"type": "dsrgan", "blocks": 1, "channels": 4, "growth": 2, "detail_blocks": 1}
    detail = {"data.derive": {"lr_detail": {"type": "lgs", "of": "lr", "margin": 1}}, "stages.one.network": network}
    job = job_of(tmp_path / "pictures", tmp_path / "out", **detail)
    assert {report.step for report in training_reports(job)} == {1, 2, 3}
    detail["data.derive.lr_detail.stored"] = True
    with pytest.raises(ConfigError, match=r"stages.one.degrade: lr_detail is .* set data.derive.lr_detail.stored to"):
        validate(Pipeline, content(tmp_path, **detail), "a test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": 1}, "stages.one.degrade: `lr` becomes 4 times smaller, the scale is 1"),
        ({"stages.one.degrade": [{"type": "awgn", "sigma": 5}]}, "`lr` becomes 1 times smaller, the scale is 4"),
        ({"stages.one.degrade": []}, "stages.one: needs the column 'lr', which neither data nor derive makes"),
        ({"stages.one.degrade.awgn.sigma": -5}, "stages.one.degrade: awgn.sigma: sigma is -5.0; it must be above 0"),
        ({"stages.one.degrade.awgn.sigm": 5}, "stages.one.degrade.awgn.sigm: unknown key; did you mean 'sigma'?"),
        ({"stages.one.degrade.awgn": {"type": "agwn"}}, "unknown type 'agwn'; did you mean 'awgn'?"),
        ({"stages.one.derive": {"lr": {"type": "highpass", "of": "hr"}}}, "`lr` is made here and by derive"),
        (
            {
                "stages.one.network": {"type": "eusr"},
                "stages.one.scales": [4],
                "data.lr_scales": [4],
                "data.degradation": {"type": "bicubic"},
            },
            "stages.one.degrade: several scales have their LR in the shards",
        ),
    ],
    ids=str,
)
def test_what_does_not_fit_is_said(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Pipeline, content(tmp_path, **changes), "a test")
    assert message in str(caught.value)
