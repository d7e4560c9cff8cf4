"""A longer training goes on from a shorter one, where they differ in later steps alone, and ends with the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_loop import Book, Noise, job_in

from acutance import storage
from acutance.models.model_file import load_model
from acutance.training import loop
from acutance.training.extend import going_on
from acutance.training.stage_plan import StagePlan, lease_of

EVERY_9 = "optimiser.schedule={type: step, every: 9}"
HALVES = "stages.fidelity.optimiser.schedule.milestones=[8]"


@pytest.fixture(autouse=True)
def _noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_stream", lambda *_: Noise())


def trained(folder: Path, *overrides: str) -> tuple[StagePlan, Book]:
    """Train a stage, from another one's checkpoint where there is a fit one; return what it was told to begin at."""
    book, job = Book(), going_on(job_in(folder, *overrides), str(folder))
    loop.train_stage(job, tracker=book)  # type: ignore[arg-type]
    return job, book


@pytest.mark.parametrize(
    ("shorter", "longer", "first"),
    [
        (["steps=12"], ["steps=20"], 13),
        (["steps=12", "optimiser.schedule.milestones=[8]"], ["steps=20", "optimiser.schedule.milestones=[8,14]"], 13),
        (["steps=12"], ["steps=20", "optimiser.schedule.milestones=[12]"], 13),
        (["steps=7"], ["steps=20", "optimiser.schedule.milestones=[7]"], 8),
        (["steps=12"], ["steps=10"], 1),
        (["steps=7", EVERY_9], ["steps=20", EVERY_9.replace("9", "7")], 8),
        (["steps=12"], ["steps=20", "optimiser.schedule.milestones=[5]"], 1),
        (["steps=12"], ["steps=20", "batch=8"], 1),
        (["steps=12"], ["steps=20", "seed=2"], 1),
    ],
)
def test_it_begins_where_their_ways_part(tmp_path: Path, shorter: list[str], longer: list[str], first: int) -> None:
    steady = [] if "schedule" in str(shorter) else ["optimiser.schedule.milestones=[]"]
    more = [] if "schedule" in str(longer) else ["optimiser.schedule.milestones=[]"]
    before = [f"stages.fidelity.{change}" for change in [*steady, *shorter]]
    after = [f"stages.fidelity.{change}" for change in [*more, *longer]]
    trained(tmp_path / "both", *before)
    _, book = trained(tmp_path / "both", *after)
    assert book.steps[0] == first


def test_it_ends_with_the_weights_of_one_that_began_at_its_first_step(tmp_path: Path) -> None:
    trained(tmp_path / "both", HALVES)
    job, book = trained(tmp_path / "both", "stages.fidelity.steps=20", HALVES.replace("8", "8,15"))
    alone, whole = trained(tmp_path / "alone", "stages.fidelity.steps=20", HALVES.replace("8", "8,15"))
    assert (job.fingerprint, book.steps) == (alone.fingerprint, list(range(13, 21)))
    assert book.losses == whole.losses[12:]
    assert storage.names(job.checkpoints) == ["step-00000020.safetensors"], "one is enough to go on from"
    mine, theirs = load_model(job.model)[0].state_dict(), load_model(alone.model)[0].state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_one_that_has_a_checkpoint_of_its_own_goes_on_from_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = "stages.fidelity.steps=20"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_stream", lambda *_: Noise(ends_at=9))
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path, longer)
    trained(tmp_path)
    job, book = trained(tmp_path, longer)
    assert (job.begins_at, book.steps[0]) == (None, 8)


def test_the_checkpoints_of_a_training_that_is_under_way_are_left_to_it(tmp_path: Path) -> None:
    job, _ = trained(tmp_path)
    storage.write_json(lease_of(str(tmp_path), job.fingerprint), {})
    assert trained(tmp_path, "stages.fidelity.steps=20")[1].steps[0] == 1
