"""How many workers a stage gets by the room that the cluster has, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from acutance.cluster.hardware import Capacity, NodeType
from acutance.config import pipeline as pipelines
from acutance.data.columns import Content
from acutance.errors import ConfigError
from acutance.training import launch
from acutance.training.plan import plan_stages
from acutance.training.stage_plan import StagePlan
from command_line import REPOSITORY

GPU_NODE = NodeType({"CPU": 8, "GPU": 1}, 1)


def placed(
    changes: list[str], there: Capacity, folder: Path, patch: pytest.MonkeyPatch
) -> tuple[list[StagePlan], float, list[str]]:
    told: list[str] = []
    patch.setattr(launch, "capacity", lambda: there)
    patch.setattr(launch, "say", told.append)
    pipeline = pipelines.load(REPOSITORY / "pipelines" / "quickstart.yaml", ["compute.workers=4", *changes])
    jobs = plan_stages(pipeline, {pipeline.data.source: Content([("a", "0")])}, str(folder), only="highpass")
    return *launch._placed(jobs, pipeline.compute), told


def test_a_stage_has_as_many_workers_as_there_are_gpus_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One GPU in a workstation, and three on a cluster, of which a batch of eight uses two."""
    (alone,), gpus, told = placed([], Capacity((GPU_NODE,)), tmp_path, monkeypatch)
    assert (alone.workers, gpus) == (1, 1)
    assert told == ["highpass is trained by 1 of 4 workers: the cluster has no room for more"]
    (two,), gpus, _ = placed([], Capacity((GPU_NODE,) * 3), tmp_path, monkeypatch)
    assert (two.workers, gpus) == (2, 1)
    (four,), gpus, told = placed(["compute.gpus=0"], Capacity((GPU_NODE,)), tmp_path, monkeypatch)
    assert (four.workers, gpus, told) == (4, 0, [])


@pytest.mark.parametrize("changes", [["compute.gpus=1"], ["stages.highpass.workers=4"], ["compute.gpus=2"]])
def test_what_was_asked_for_and_is_not_there_is_an_error(
    changes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="there is no room for 4 workers with 1 CPU and"):
        placed(changes, Capacity((GPU_NODE,)), tmp_path, monkeypatch)
