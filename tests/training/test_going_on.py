"""A training that goes on from a checkpoint of another one, with settings of its own."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from test_loop import Noise, job_in

from acutance.errors import ConfigError, TrainingError
from acutance.models.model_file import describe_model
from acutance.storage.outputs import stage_folder
from acutance.training import checkpoint, loop
from acutance.training.plan import going_on_from_checkpoint


def test_it_is_a_stage_of_its_own_that_records_its_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_stream", lambda *_: Noise())
    place = partial(stage_folder, str(tmp_path), "quickstart", "fidelity")
    first = job_in(tmp_path, "stages.fidelity.keep.every=7")
    loop.train_stage(first)
    origin = checkpoint.file_of(first.checkpoints, 7)
    other = job_in(tmp_path, "stages.fidelity.optimiser.learning_rate=1e-4", "stages.fidelity.steps=14")
    plan = going_on_from_checkpoint(other, origin, place)
    assert len({first.fingerprint, other.fingerprint, plan.fingerprint}) == 3
    assert len({first.folder, other.folder, plan.folder}) == 3
    reports: list[loop.Report] = []
    loop.train_stage(plan, on_report=reports.append)
    assert [report.step for report in reports] == [10, 14]
    assert {report.figures["learning_rate"] for report in reports} == {5e-5}  # the smoke schedule halves it at step 4
    assert describe_model(plan.model)["origin"] == f"{first.fingerprint}, step 7"
    assert going_on_from_checkpoint(other, origin, place).done()


def test_where_it_cannot_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_stream", lambda *_: Noise())
    place = partial(stage_folder, str(tmp_path), "quickstart", "fidelity")
    first = job_in(tmp_path)
    loop.train_stage(first)
    newest = checkpoint.file_of(first.checkpoints, 12)
    with pytest.raises(ConfigError, match=r"of step 12, and the stage has 12(.|\n)*stages\.fidelity\.steps"):
        going_on_from_checkpoint(first, newest, place)
    with pytest.raises(TrainingError, match="damaged"):
        going_on_from_checkpoint(first, first.model, place)
    wider = job_in(tmp_path, "stages.fidelity.network.channels=12", "stages.fidelity.steps=14")
    with pytest.raises(TrainingError, match="of other networks"):
        loop.train_stage(going_on_from_checkpoint(wider, newest, place))
