"""What a user calls a model: a stage, its best, its last checkpoint, that of a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acutance import storage
from acutance.commands import model_names
from acutance.commands.model_names import model_file
from acutance.config.pipeline.validation import Keep, Validation
from acutance.errors import ModelError
from acutance.storage.done import Done, note_of, write
from acutance.training.scores import write_scores
from acutance.training.stage_plan import StagePlan

NAME = "quickstart:fidelity"
PSNR = "psnr_y on Set5"


class _Stage:
    """The two settings of a stage that decide."""

    keep = Keep()
    validation = Validation(on=["Set5"], metrics=["psnr_y"], every=10)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StagePlan:
    plan = StagePlan("fidelity", _Stage(), 4, 0, None, str(tmp_path / "fidelity"), "mark")  # type: ignore[arg-type]

    class Context:
        def plans(self, only: str) -> list[StagePlan]:
            return [plan]

    def opened(*_: Any) -> Context:
        return Context()

    monkeypatch.setattr(model_names, "open_pipeline", opened)
    return plan


def checkpoints(plan: StagePlan, *steps: int) -> None:
    for step in steps:
        storage.write_bytes(f"{plan.checkpoints}/step-{step:08d}.safetensors", b"weights")


def test_a_stage_that_is_being_trained(plan: StagePlan, tmp_path: Path) -> None:
    checkpoints(plan, 10, 20, 30)
    write_scores(plan.folder, {0: {PSNR: 40.0}, 10: {PSNR: 28.0}, 20: {PSNR: 31.0}, 30: {PSNR: 30.0}})
    found = {which: model_file(f"{NAME}@{which}", str(tmp_path)) for which in ("last", "best", "step=10")}
    assert {which: file[-14:-12] for which, file in found.items()} == {"last": "30", "best": "20", "step=10": "10"}
    with pytest.raises(ModelError, match=r"not trained to its end(.|\n)*fidelity@last"):
        model_file(NAME, str(tmp_path))
    with pytest.raises(ModelError, match=r"no checkpoint of step 15(.|\n)*there are 10, 20, 30"):
        model_file(f"{NAME}@step=15", str(tmp_path))


def test_a_stage_that_is_done(plan: StagePlan, tmp_path: Path) -> None:
    checkpoints(plan, 20, 30)
    write(note_of("stage", plan.folder), Done("stage", "mark", 1, {}))
    assert model_file(NAME, str(tmp_path)) == model_file(f"{NAME}@last", str(tmp_path)) == plan.model
    with pytest.raises(ModelError, match="values of a validation"):
        model_file(f"{NAME}@best", str(tmp_path))
    storage.write_bytes(plan.best_model, b"weights")
    assert model_file(f"{NAME}@best", str(tmp_path)) == plan.best_model


def test_a_stage_that_is_not_trained(plan: StagePlan, tmp_path: Path) -> None:
    for which in ("", "@last", "@best", "@step=10"):
        with pytest.raises(ModelError, match=r"not trained yet(.|\n)*acutance train quickstart --stage fidelity"):
            model_file(f"{NAME}{which}", str(tmp_path))
