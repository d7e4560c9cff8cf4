"""A stage of no steps: the network that it starts from, with other settings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from acutance.config import pipeline as pipelines
from acutance.data.columns import Content
from acutance.models.eusr import EUSR
from acutance.models.model_file import load_model, save_model
from acutance.training import loop
from acutance.training.plan import plan_stages
from acutance.training.stage_plan import StagePlan
from command_line import REPOSITORY

SIZE = {"blocks": 1, "channels": 4}


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    file = tmp_path / "trained.safetensors"
    save_model(str(file), EUSR(**SIZE), {"network": {"type": "eusr", **SIZE}, "scale": 4, "notes": ["one"]})
    return file


def job(trained: Path, path: str) -> StagePlan:
    network = f"{{type: eusr, blocks: 1, channels: 4, path: {path}, init: {{'.': {trained}}}}}"
    changes = [f"stages.fidelity.network={network}", "stages.fidelity.steps=0", "stages.fidelity.validation=null"]
    pipeline = pipelines.load(REPOSITORY / "pipelines" / "quickstart.yaml", changes, profile="smoke")
    jobs = plan_stages(pipeline, {pipeline.data.source: Content([("a", "0")])}, str(trained.parent), only="fidelity")
    return jobs[-1]


def test_it_hands_on_what_it_starts_from_and_takes_another_way(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_stream", lambda *_: None)
    picture = torch.rand(1, 3, 8, 8)
    found = {}
    for path in ("x4", "x2x2"):
        planned = job(trained, path)
        loop.train_stage(planned)
        assert planned.done()
        network, description = load_model(planned.model)
        assert description["notes"] == ["one"]
        found[path] = network(picture)["image"]
    before, _ = load_model(str(trained))
    assert torch.equal(found["x4"], before.along("x4", picture))
    assert torch.equal(found["x2x2"], before.along("x2x2", picture))
    assert not torch.equal(found["x4"], found["x2x2"])
