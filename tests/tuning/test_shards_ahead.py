"""Which shards a campaign makes before its trials hold GPUs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_search import search_space

from acutance.commands.context import PipelineContext
from acutance.commands.tune import shards
from acutance.commands.tune.context import open_campaign, plan_campaign, shared_stages
from acutance.data.pictures import write_picture

SIZES = [{"size": size, "stride": size} for size in (48, 40, 56)]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name in ("train/a", "test/c"):
        write_picture(tmp_path / f"{name}.png", np.zeros((96, 96, 3), np.uint8))
    return tmp_path


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float]]:
    """The side of the sub-images and alpha of their details, of each set of shards that is asked for, in order."""
    asked: list[tuple[int, float]] = []

    def note(work: PipelineContext, only: str) -> None:
        data: Any = work.pipeline.data_of(only)
        asked.append((data.subimages.size, data.derive["lr_detail"].alpha))

    monkeypatch.setattr(shards, "prepare_data", note)
    return asked


def prepared(folder: Path, pictures: Path, table: str | None = None, **changes: Any) -> None:
    work = open_campaign(search_space(folder, pictures, **changes), [], str(folder / "out"), table)
    shards.prepare_trials(work)


def test_those_of_every_row_of_a_table(tmp_path: Path, pictures: Path, made: list[tuple[int, float]]) -> None:
    columns = [{"metric": "psnr_y", "on": str(pictures / "test")}]
    vary = {"data.subimages": SIZES, "optimiser.learning_rate": [1e-3, 1e-4]}
    prepared(tmp_path, pictures, "t", tables={"t": {"vary": vary, "columns": columns}})
    assert made == [(48, 4), (40, 4), (56, 4)]


def test_those_of_every_choice_of_a_search_but_none_of_a_range(
    tmp_path: Path, pictures: Path, made: list[tuple[int, float]]
) -> None:
    parameters = {
        "optimiser.learning_rate": {"choice": [1e-3, 1e-4]},
        "network.blocks": {"choice": [1, 2]},
        "data.subimages": {"choice": SIZES[:2]},
        "data.derive.*.alpha": {"choice": [2.0, 6.0], "when": {"network.blocks": [2]}},
        "data.derive.*.lam": {"float": [0.5, 2.0]},
    }
    prepared(tmp_path, pictures, parameters=parameters)
    assert made[0] == (48, 4)
    assert sorted(made[1:]) == [(40, 2), (40, 4), (40, 6), (48, 2), (48, 6)]


def test_a_stage_that_no_row_of_a_table_needs_is_not_trained_before_it(tmp_path: Path, pictures: Path) -> None:
    columns = [{"metric": "psnr_y", "on": str(pictures / "test")}]
    rows = {"a": {"network.init.main": "start.pth"}, "b": {"network.init.main": "other.pth"}}
    for more, names in (({}, {"highpass"}), ({"c": {}}, {"highpass", "fidelity"})):
        tables = {"t": {"rows": rows | more, "columns": columns}}
        space = search_space(tmp_path, pictures, stage="gan", tables=tables)
        work = open_campaign(space, [], str(tmp_path / "out"), "t")
        assert shared_stages(work) == names
        assert {stage["name"] for stage in plan_campaign(work)["stages"]} == names | {"gan"}
