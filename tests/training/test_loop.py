"""A stage in this process: what is recorded and kept when it is interrupted anywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from acutance.config import pipeline as pipelines
from acutance.data.columns import Content
from acutance.data.manifest import SHARD_VERSION, Manifest, PreparedSource, write_manifest
from acutance.errors import TrainingError
from acutance.models.model_file import load_model
from acutance.training import loop
from acutance.training.learner import Learner
from acutance.training.plan import plan_stages
from acutance.training.stage_plan import StagePlan
from acutance.training.trained_module import TrainedModule
from command_line import REPOSITORY

SETTINGS = (
    "stages.fidelity.steps=12", "stages.fidelity.report_every=5", "stages.fidelity.checkpoint_every=7",
    "stages.fidelity.validation=null",
    *(f"stages.fidelity.network.{size}" for size in ("blocks=1", "channels=4", "growth=2")),
)  # fmt: skip


class Noise:
    """A stream of random pictures, a function of the step; once, it ends the process's work at a step."""

    def __init__(self, ends_at: int | None = None, broken: tuple[int, ...] = ()) -> None:
        self.ends_at, self.broken = ends_at, broken

    def batch(self, step: int, rank: int, world: int) -> dict[str, Tensor]:
        if step == self.ends_at:
            raise KeyboardInterrupt
        random = torch.Generator().manual_seed(step)
        lr, hr = torch.rand(2, 3, 8, 8, generator=random), torch.rand(2, 3, 32, 32, generator=random)
        return {"lr": lr, "hr": hr * torch.nan if step in self.broken else hr}

    def samples(self, step: int, rank: int, world: int) -> list[int]:
        return [step, 19]


class Book:
    """A tracker that keeps what it was told of."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []

    @property
    def losses(self) -> list[tuple[int, dict[str, float]]]:
        """What is a function of the step: all but how quickly it trained."""
        return [(step, row) for step, row in self.rows if "seconds_per_step" not in row]

    @property
    def steps(self) -> list[int]:
        return [step for step, _ in self.losses]

    def metrics(self, rows: list[tuple[int, dict[str, float]]]) -> None:
        self.rows += rows


def job_in(folder: Path, *overrides: str) -> StagePlan:
    pipeline = pipelines.load(REPOSITORY / "pipelines" / "quickstart.yaml", (*SETTINGS, *overrides), profile="smoke")
    job = next(
        job
        for job in plan_stages(pipeline, {pipeline.data.source: Content([("a", "0")])}, str(folder))
        if job.name == "fidelity"
    )
    sources = [PreparedSource(name=name, sha256="0", rows=10) for name in ("first.png", "second.png")]
    mark = job.trained_on.fingerprint
    about = {"version": SHARD_VERSION, "fingerprint": mark, "settings": {}, "columns": {}, "shards": [], "skipped": []}
    write_manifest(job.shards, Manifest(**about, rows=20, sources=sources))
    return job


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

    def note(report: loop.Report) -> None:
        reports.append(report.step)

    loop.train_stage(job, on_report=note)
    loop.train_stage(job, on_report=note)
    assert reports == [5, 10, 12]


def test_what_a_stage_hands_on_is_the_average(tmp_path: Path) -> None:
    job, kept = job_in(tmp_path), {}

    def note(report: loop.Report) -> None:
        kept.update({name: tensor.clone() for name, tensor in report.learner.final_network.state_dict().items()})

    loop.train_stage(job, on_report=note)
    network, description = load_model(job.model)
    assert description["stage"] == "fidelity"
    assert all(torch.equal(tensor, kept[name]) for name, tensor in network.state_dict().items())


def test_a_step_that_is_not_finite_is_skipped_counted_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, book, said = job_in(tmp_path), Book(), []
    monkeypatch.setattr(loop, "_stream", lambda *_: Noise(broken=(3, 11)))
    loop.train_stage(job, tracker=book, on_message=said.append)
    assert said[0].startswith("fidelity: step 4 was skipped, 1 in a row, 1 in all")
    assert "worker 0: not finite: pixel, total; samples: " in said[0]
    assert "samples: first.png 4/10 (row 3), second.png 10/10 (row 19)" in said[0]
    assert said[1].startswith("fidelity: step 12 was skipped, 1 in a row, 2 in all")
    skipped = [(step, row) for step, row in book.rows if "skipped" in row]
    assert skipped == [(4, {"skipped": 1}), (12, {"skipped": 2})]
    losses, figures = [row for step, row in book.rows if step == 5]
    assert losses.keys() == {"pixel", "total"}
    assert figures["images_per_second"] == pytest.approx(16 / figures["seconds_per_step"])
    assert 0 <= figures["waiting_for_data"] <= 1
    assert figures["learning_rate"] == 1e-3
    assert job.done()


@pytest.mark.parametrize("ends_at", [6, 8, 10])
def test_an_interrupted_stage_that_skipped_steps_and_went_back_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends_at: int
) -> None:
    """Steps 8 and 9 cannot be taken at the first learning rate; step 3 cannot be taken at all."""
    monkeypatch.setattr(Learner, "train_step", _fails_at((8, 9)))
    whole, broken = (job_in(tmp_path / name, "stages.fidelity.skips=2") for name in ("whole", "broken"))
    said: list[str] = []
    monkeypatch.setattr(loop, "_stream", lambda *_: Noise(broken=(3,)))
    reports: list[int] = []
    loop.train_stage(whole, on_message=said.append, on_report=lambda report: reports.append(report.step))
    assert [line.split(" was")[0] for line in said] == [f"fidelity: step {step}" for step in (4, 9, 10)]
    assert reports == [5, 10, 12], "steps taken again are not reported again"
    monkeypatch.setattr(loop, "_stream", lambda *_: Noise(ends_at, broken=(3,)))
    with pytest.raises(KeyboardInterrupt):
        loop.train_stage(broken)
    monkeypatch.setattr(loop, "_stream", lambda *_: Noise(broken=(3,)))
    loop.train_stage(broken)
    assert Path(broken.model).read_bytes() == Path(whole.model).read_bytes()


@pytest.mark.parametrize("at", [(2, 3), (9, 10)], ids=["before a checkpoint", "after one"])
def test_a_run_that_went_back_once_fails_the_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: tuple[int, int]
) -> None:
    job, rates = job_in(tmp_path, "stages.fidelity.skips=2"), []
    monkeypatch.setattr(loop, "_stream", lambda *_: Noise(broken=at))
    update = TrainedModule.update
    monkeypatch.setattr(
        TrainedModule, "update", lambda self, rate, norm: rates.append(rate) or update(self, rate, norm)
    )
    for _ in range(2):  # and again when it is started again
        with pytest.raises(TrainingError, match=rf"2 steps in a row.*\n.*step {at[1] + 1} was skipped(.|\n)*pixel"):
            loop.train_stage(job, on_message=lambda _: None)
    assert rates[0] == 2e-3
    assert rates[-1] in (1e-3, 5e-4)
    assert not job.done()


def _fails_at(steps: tuple[int, ...]) -> Callable[..., dict[str, Tensor]]:
    train_step = Learner.train_step

    def fails(learner: Learner, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        broken = learner.steps_done in steps and not learner.rollbacks
        return train_step(learner, {**batch, "hr": batch["hr"] * torch.nan} if broken else batch)

    return fails
