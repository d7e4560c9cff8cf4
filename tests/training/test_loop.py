"""A stage in this process: what is recorded and kept when it is interrupted anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from acutance import pipeline as pipelines
from acutance.models.model_file import load_model
from acutance.training import loop
from acutance.training.learner import Learner
from acutance.training.plan import StageJob, plan_stages
from command_line import REPOSITORY

SETTINGS = ("stages.fidelity.steps=12", "stages.fidelity.report_every=5", "stages.fidelity.checkpoint_every=7")


class Noise:
    """A stream of random pictures, a function of the step; once, it ends the process's work at a step."""

    def __init__(self, ends_at: int | None = None) -> None:
        self.ends_at = ends_at

    def batch(self, step: int, rank: int, world: int) -> dict[str, Tensor]:
        if step == self.ends_at:
            raise KeyboardInterrupt
        random = torch.Generator().manual_seed(step)
        return {"lr": torch.rand(2, 3, 8, 8, generator=random), "hr": torch.rand(2, 3, 32, 32, generator=random)}


class Book:
    """A tracker that keeps the steps it was told of."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def metrics(self, rows: list[tuple[int, dict[str, float]]]) -> None:
        self.steps += [step for step, _ in rows]


def job_in(folder: Path) -> StageJob:
    pipeline = pipelines.load(REPOSITORY / "pipelines" / "quickstart.yaml", SETTINGS, profile="smoke")
    return next(job for job in plan_stages(pipeline, [("a", "0")], str(folder)) if job.name == "fidelity")


@pytest.fixture(autouse=True)
def _noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_stream", lambda *_: Noise())


@pytest.mark.parametrize("ends_at", [0, 5, 6, 8, 11])
def test_an_interrupted_stage_loses_no_step_and_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends_at: int
) -> None:
    whole, broken, book = job_in(tmp_path / "whole"), job_in(tmp_path / "broken"), Book()
    loop.train_stage(whole)
    monkeypatch.setattr(loop, "_stream", lambda *_: Noise(ends_at))
    with pytest.raises(KeyboardInterrupt):
        loop.train_stage(broken, tracker=book)
    assert not broken.done()
    monkeypatch.setattr(loop, "_stream", lambda *_: Noise())
    loop.train_stage(broken, tracker=book)
    assert sorted(set(book.steps)) == list(range(1, 13))
    assert Path(broken.model).read_bytes() == Path(whole.model).read_bytes()


def test_a_finished_stage_is_not_trained_again(tmp_path: Path) -> None:
    job, reports = job_in(tmp_path), []

    def note(step: int, *_: object) -> None:
        reports.append(step)

    loop.train_stage(job, on_report=note)
    loop.train_stage(job, on_report=note)
    assert reports == [5, 10, 12]


def test_what_a_stage_hands_on_is_the_average(tmp_path: Path) -> None:
    job, kept = job_in(tmp_path), {}

    def note(_: int, __: object, learner: Learner) -> None:
        kept.update({name: tensor.clone() for name, tensor in learner.kept.state_dict().items()})

    loop.train_stage(job, on_report=note)
    network, description = load_model(job.model)
    assert description["stage"] == "fidelity"
    assert all(torch.equal(tensor, kept[name]) for name, tensor in network.state_dict().items())
