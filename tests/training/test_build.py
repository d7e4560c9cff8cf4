"""Learners whose objective looks through a trained classifier."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision

from acutance.config import pipeline as pipelines
from acutance.data.columns import Content
from acutance.errors import ConfigError, WeightsError
from acutance.models.public_weights import public_state_dict
from acutance.models.rrdbnet import RRDBNet
from acutance.training.build import build_learner
from acutance.training.learner import Learner
from acutance.training.plan import plan_stages
from acutance.training.stage_plan import StagePlan
from command_line import REPOSITORY

QUICKSTART = REPOSITORY / "pipelines" / "quickstart.yaml"
DUAL = "{type: dual_perceptual, network: squeezenet, layer: fire5, second: squeezenet, taps: [fire3, fire9]}"


def job(feature: str, folder: Path) -> StagePlan:
    changes = [f"stages.fidelity.objective.pixel={feature}"]
    pipeline = pipelines.load(REPOSITORY / "pipelines" / "quickstart.yaml", changes, profile="smoke")
    return next(
        job
        for job in plan_stages(pipeline, {pipeline.data.source: Content([("a", "0")])}, str(folder))
        if job.name == "fidelity"
    )


def losses(learner: Learner) -> dict[str, float]:
    random = torch.Generator().manual_seed(0)
    batch = {"lr": torch.rand(2, 3, 16, 16, generator=random), "hr": torch.rand(2, 3, 64, 64, generator=random)}
    return {name: value.item() for name, value in learner.train_step(batch).items()}


@pytest.fixture
def squeezenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in torchvision's layout, of random weights."""
    torch.manual_seed(1)
    (tmp_path / "weights").mkdir()
    file = tmp_path / "weights" / "squeezenet1_1-b8a52dc0.pth"
    torch.save(torchvision.models.squeezenet1_1(weights=None, num_classes=2).state_dict(), file)
    monkeypatch.setenv("ACUTANCE_WEIGHTS", str(file.parent))
    return file


@pytest.mark.usefixtures("squeezenet")
def test_a_stage_learns_through_a_squeezenet_of_a_file(tmp_path: Path) -> None:
    learner = build_learner(job(DUAL, tmp_path), "cpu")
    first = losses(learner)
    assert first["dual_perceptual"] == pytest.approx(3 * first["dual_perceptual.first"], rel=1e-5)
    ratio = first["dual_perceptual.first"] / first["dual_perceptual.second"]
    assert first["dual_perceptual.ratio"] == pytest.approx(ratio, rel=1e-5)
    for _ in range(5):
        last = losses(learner)
    assert last["dual_perceptual"] < first["dual_perceptual"]
    assert not any("classifier" in name for name, _ in learner.objective.named_parameters())


def test_an_untrained_one_is_a_function_of_the_seed(tmp_path: Path) -> None:
    feature = "{type: perceptual, network: {type: squeezenet, weights: none}, layers: [fire5]}"
    planned = job(feature, tmp_path)
    values = [losses(build_learner(each, "cpu")) for each in (planned, planned, replace(planned, seed=1))]
    assert values[0] == values[1] != values[2]


def test_another_file_than_the_planned_one_is_refused(tmp_path: Path, squeezenet: Path) -> None:
    planned = job(DUAL, tmp_path)
    squeezenet.write_bytes(b"another")
    with pytest.raises(WeightsError, match="differs from the one"):
        build_learner(planned, "cpu")


def test_compiling_where_nothing_compiles_is_refused_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    planned = job("{type: pixel}", tmp_path)
    with pytest.raises(ConfigError, match=r"compile: true needs a compiler, and there is no C\+\+ compiler here"):
        build_learner(replace(planned, stage=planned.stage.model_copy(update={"compile": True})), "cpu")
    build_learner(planned, "cpu")


def test_a_public_file_is_found_by_its_name_among_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def planned(name: str) -> StagePlan:
        pipeline = pipelines.load(QUICKSTART, [f'stages.fidelity.network.init={{".": {name}}}'], profile="smoke")
        contents = {pipeline.data.source: Content([("a", "0")])}
        return plan_stages(pipeline, contents, str(tmp_path), only="fidelity")[0]

    monkeypatch.setenv("ACUTANCE_WEIGHTS", str(tmp_path / "weights"))
    with pytest.raises(WeightsError, match=r"'start.pth' is neither a stage of this pipeline nor a file"):
        planned("start.pth")
    donor, file = RRDBNet(blocks=1, channels=8, growth=4, skip="bicubic"), tmp_path / "weights" / "start.pth"
    file.parent.mkdir()
    torch.save(public_state_dict(donor), file)
    job = planned("start.pth")
    kept = build_learner(job, "cpu").final_network.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in donor.state_dict().items())
    assert planned(str(file)).fingerprint == job.fingerprint, "where a file lies does not count"
    torch.save({name: 2 * value for name, value in donor.state_dict().items()}, file)
    with pytest.raises(WeightsError, match="differs from the one"):
        build_learner(job, "cpu")
