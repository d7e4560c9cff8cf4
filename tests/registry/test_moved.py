"""Outputs that were moved or copied: their models are found, and nothing is written where they were."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils

from acutance.errors import ModelError, RefusedError, UserError
from acutance.registry.address import connect
from acutance.registry.moved import follow
from acutance.registry.package import log_model
from acutance.registry.relocate import relocate
from acutance.registry.resolve import resolve_model
from acutance.registry.tracking import log_json, pipeline_run
from conftest import ModelFile

NAME = "restorer"
FIRST = f"models:/{NAME}/1"


@pytest.fixture
def outputs(client: MlflowClient, run_id: str, model_file: ModelFile, picture: np.ndarray, storage: str) -> Path:
    log_json(client, run_id, "config.json", {"scale": 4})
    log_model(client, run_id, model_file(1), NAME, picture)
    utils._artifact_repos_cache.clear()  # what MLflow remembers ends with its process
    return Path(storage)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in (folder / "mlartifacts").rglob("*") if path.is_file()}


def places(folder: Path) -> set[str]:
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return {place for (place,) in database.execute("SELECT artifact_uri FROM runs")}


def test_moved_outputs_are_whole(outputs: Path, run_id: str, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "outputs"
    shutil.copytree(outputs, moved)
    shutil.rmtree(outputs)
    client = connect(str(moved))
    assert resolve_model(FIRST, str(moved)).is_relative_to(moved)
    assert Path(client.download_artifacts(run_id, "config.json")).is_file()
    log_json(client, run_id, "more.json", {})
    log_json(client, pipeline_run(client, "restorers", "another", "c" * 16), "more.json", {})
    assert len([file for file in files(moved) if file.endswith("more.json")]) == 2
    assert not outputs.exists()


def test_a_copy_leaves_the_original_alone(outputs: Path, run_id: str, tmp_path: Path) -> None:
    copy, before = tmp_path / "copy", (files(outputs), places(outputs))
    shutil.copytree(outputs, copy)
    client = connect(str(copy))
    log_json(client, run_id, "more.json", {})
    assert resolve_model(FIRST, str(copy)).is_relative_to(copy)
    assert files(copy) - before[0]
    assert (files(outputs), places(outputs)) == before
    assert resolve_model(FIRST, str(outputs)).is_relative_to(outputs)


def test_moved_outputs_that_are_read_only_are_told_so(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved, open_file = tmp_path / "moved", sqlite3.connect
    shutil.move(outputs, moved)
    monkeypatch.setattr(sqlite3, "connect", lambda path, **_: open_file(f"file:{path}?mode=ro", uri=True))
    with pytest.raises(RefusedError, match=f"was in {outputs}, and cannot be written to") as caught:
        follow(moved / "mlflow.db")
    assert caught.value.where == str(moved / "mlflow.db")
    assert str(moved) in str(caught.value.fix)


def test_one_folder_by_two_names_is_not_moved(outputs: Path, tmp_path: Path) -> None:
    before = places(outputs)
    (tmp_path / "link").symlink_to(outputs)
    connect(str(tmp_path / "link"))
    assert places(outputs) == before


def test_files_that_stayed_behind_are_found_there_or_by_their_check_sums(outputs: Path, tmp_path: Path) -> None:
    alone, kept = tmp_path / "alone", tmp_path / "disk" / "some" / "place"
    alone.mkdir()
    shutil.move(outputs / "mlflow.db", alone)
    uri = connect(str(alone)).tracking_uri
    assert resolve_model(FIRST, str(alone)).is_relative_to(outputs)
    kept.parent.mkdir(parents=True)
    shutil.move(outputs / "mlartifacts", kept)
    with pytest.raises(ModelError, match="acutance models relocate FOLDER"):
        resolve_model(FIRST, str(alone))
    assert [tuple(place) for place in relocate(uri, alone)] == [(NAME, "1", "")]
    [(name, version, folder)] = relocate(uri, tmp_path / "disk")
    assert (name, version) == (NAME, "1")
    assert Path(folder).is_relative_to(kept)
    assert resolve_model(FIRST, str(alone)).is_relative_to(kept)
    assert relocate(uri, tmp_path) == []


def test_the_places_of_a_servers_files_are_its_own(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="only a server itself"):
        relocate("http://127.0.0.1:9", tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        relocate(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "none")
