"""Stages that do not wait for one another train at the same time, as far as there is room."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acutance.cluster.hardware import Capacity, NodeType
from acutance.config.pipeline import Compute, Stage
from acutance.errors import TrainingError
from acutance.storage import done
from acutance.storage.done import Done
from acutance.training import launch
from acutance.training.interruption import Interruption
from acutance.training.launch import _side_by_side, upstream_of
from acutance.training.stage_plan import StagePlan


def job(folder: Path, name: str, *sources: str, needs: tuple[str, ...] = ()) -> StagePlan:
    place = folder / name
    place.mkdir()
    models = {source: str(folder / source / "model.safetensors") for source in sources}
    kept: Any = None
    return StagePlan(name, Stage.model_construct(needs=list(needs)), 4, 0, kept, str(place), name, models)


@pytest.fixture
def graph(tmp_path: Path) -> list[StagePlan]:
    """4PP-EUSR's: three roots, of which two have a second step, and what waits for all of them."""
    return [
        job(tmp_path, "eusr"),
        job(tmp_path, "aesthetic_head"),
        job(tmp_path, "subjective_head"),
        job(tmp_path, "aesthetic", "aesthetic_head"),
        job(tmp_path, "subjective", needs=("subjective_head",)),
        job(tmp_path, "perceptual", "eusr", "aesthetic", "subjective"),
    ]


def test_a_stage_waits_for_what_it_reads_and_what_it_needs(graph: list[StagePlan]) -> None:
    assert [sorted(upstream_of(one, graph)) for one in graph] == [
        [], [], [], ["aesthetic_head"], ["subjective_head"], ["aesthetic", "eusr", "subjective"],
    ]  # fmt: skip


@pytest.mark.parametrize("room", [1, 2, 3, 8])
def test_as_many_as_there_is_room_for_and_none_too_early(graph: list[StagePlan], room: int) -> None:
    lock, running, order = threading.Lock(), set[str](), list[str]()
    roots, most = threading.Barrier(3), 0  # that start together where there is room, or would wait for ever

    def train(one: StagePlan) -> None:
        nonlocal most
        with lock:
            assert not upstream_of(one, graph) - set(order), "too early"
            running.add(one.name)
            most = max(most, len(running))
        if room > 2 and not one.sources and not one.stage.needs:
            roots.wait(30)
        with lock:
            running.remove(one.name)
            order.append(one.name)
            done.write(done.note_of("stage", one.folder), Done("stage", one.fingerprint, 1, {}))

    _side_by_side(graph, room, train, Interruption())
    assert sorted(order) == sorted(one.name for one in graph)
    assert most <= room
    if room >= 3:
        assert most == 3


def test_a_stage_is_trained_by_as_many_workers_as_it_asks_for(
    graph: list[StagePlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    groups, asked = [], []
    monkeypatch.setattr(launch, "capacity", lambda: Capacity((NodeType({"CPU": 4}, 1),)))
    monkeypatch.setattr(launch, "_groups", lambda compute, gpus: asked.append(compute) or 1)
    monkeypatch.setattr(
        launch,
        "_train_on_one_group",
        lambda jobs, compute, *_: groups.append(([j.name for j in jobs], compute.workers)),
    )
    jobs = [replace(one, workers=workers) for one, workers in zip(graph, (4, 4, 2, 2, 2, 1), strict=True)]
    launch.train(jobs, Compute(workers=8), "/out")
    assert groups == [
        (["eusr", "aesthetic_head"], 4),
        (["subjective_head", "aesthetic", "subjective"], 2),
        (["perceptual"], 1),
    ]
    assert {compute.workers for compute in asked} == {4}


def test_the_first_error_ends_it(graph: list[StagePlan]) -> None:
    begun = []

    def train(one: StagePlan) -> None:
        begun.append(one.name)
        if one.name == "eusr":
            raise TrainingError("it went wrong")
        threading.Event().wait(5)

    with pytest.raises(TrainingError, match="it went wrong"):
        _side_by_side(graph, 3, train, Interruption())
    assert "perceptual" not in begun
