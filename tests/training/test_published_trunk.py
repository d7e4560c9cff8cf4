"""Networks whose trunk starts from a published file, as feature networks do: needed, checked, filled, marked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision

from acutance.config import pipeline as pipelines
from acutance.config.pipeline import Stage
from acutance.data.columns import Content
from acutance.errors import WeightsError
from acutance.models.model_file import save_model
from acutance.models.nima import NIMA
from acutance.training.build import build_learner
from acutance.training.plan import plan_stages
from acutance.training.source_weights import weights_files
from acutance.training.stage_plan import StagePlan
from command_line import REPOSITORY


def jobs(*overrides: str, root: str = "/out") -> dict[str, StagePlan]:
    """Plan the quickstart with a predictor in place of the network that its last stage looks through."""
    pipeline = pipelines.load(REPOSITORY / "pipelines" / "quickstart.yaml", overrides, profile="smoke")
    return {job.name: job for job in plan_stages(pipeline, {pipeline.data.source: Content([("a", "0")])}, root)}


def predictor(weights: str) -> str:
    return f"stages.highpass.network={{type: nima, weights: {weights}}}"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """A file in torchvision's layout, and what it holds."""
    torch.manual_seed(1)
    weights = torchvision.models.mobilenet_v2(weights=None, num_classes=2).state_dict()
    torch.save(weights, tmp_path / NIMA.file)
    monkeypatch.setenv("ACUTANCE_WEIGHTS", str(tmp_path))
    return dict(weights)


def test_a_published_trunk_is_missed_before_training(no_weights: None) -> None:
    with pytest.raises(WeightsError, match=r"mobilenet_v2-b0353104\.pth is not here.*") as caught:
        jobs(predictor("published"))
    assert "acutance data fetch mobilenet_v2-b0353104.pth" in str(caught.value)


def test_it_is_not_needed_where_all_of_the_network_comes_from_elsewhere() -> None:
    def stage(init: dict[str, str]) -> Stage:
        network = {"type": "nima", "init": init}
        objective = [{"type": "earth_mover", "on": "distribution"}]
        return Stage.model_validate({"network": network, "objective": objective, "steps": 1})

    assert weights_files(stage({})) == [NIMA.file]
    assert weights_files(stage({".": "head"})) == []


def test_the_trunk_starts_from_the_file_and_is_not_marked_as_untrained(published: dict[str, torch.Tensor]) -> None:
    planned = jobs(predictor("published"))
    network = build_learner(planned["highpass"], "cpu").generator.module
    name = "features.1.conv.0.0.weight"
    torch.testing.assert_close(network.trunk.get_parameter(name.removeprefix("features.")), published[name])
    made_up = "mobilenet_v2-b0353104.pth: another file than the one published under this name"
    assert {note for job in planned.values() for note in job.description["notes"]} == {made_up}


def test_another_file_is_another_training_and_is_refused_later(
    published: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    planned = jobs(predictor("published"))
    torch.save({name: tensor + 1 for name, tensor in published.items()}, tmp_path / NIMA.file)
    assert jobs(predictor("published"))["highpass"].fingerprint != planned["highpass"].fingerprint
    with pytest.raises(WeightsError, match="differs from the one"):
        build_learner(planned["highpass"], "cpu")


def test_an_untrained_trunk_is_told_by_all_that_comes_of_it(no_weights: None) -> None:
    planned = jobs(predictor("none"))
    assert planned["highpass"].description["notes"] == [NIMA.untrained]
    assert planned["gan"].description["notes"] == [NIMA.untrained]
    assert planned["fidelity"].description["notes"] == []


def test_so_is_that_of_a_model_file(tmp_path: Path) -> None:
    file = tmp_path / "predictor.safetensors"
    description = {"network": {"type": "nima", "weights": "none"}, "scale": 1, "notes": [NIMA.untrained]}
    save_model(str(file), NIMA(weights="none"), description)
    assert jobs(f"stages.gan.objective.feature.network={file}")["gan"].description["notes"] == [NIMA.untrained]
