"""A tracking store for every test, and model files to register."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from made_for_servers import Server, free_port, mlflow_server
from made_models import model_files_in
from mlflow import MlflowClient

from acutance.registry.address import connect
from acutance.registry.tracking import pipeline_run, stage_run

ModelFile = Callable[[int], Path]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No address from the environment; and nothing may use MLflow's own store in the working directory.

    No other process is on its way to carry out a decision: whoever left something undone is dead.
    """
    monkeypatch.setattr("acutance.registry.reconcile.POLL_SECONDS", 0.001)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    elsewhere = tmp_path / "working directory"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    yield
    assert not list(elsewhere.iterdir())


@pytest.fixture
def storage(tmp_path: Path, empty_database: Path) -> str:
    """A storage root with an empty tracking store."""
    root = tmp_path / "outputs of a test"
    root.mkdir()
    shutil.copy(empty_database, root)
    return str(root)


@pytest.fixture
def client(storage: str) -> MlflowClient:
    return connect(storage)


@pytest.fixture(scope="module")
def module_client(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> MlflowClient:
    """A client of a tracking store that the tests of a module share: opening one takes longer than most of them."""
    root = tmp_path_factory.mktemp("outputs of a module")
    shutil.copy(empty_database, root)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        return connect(str(root))


@pytest.fixture
def shared(module_client: MlflowClient) -> Iterator[MlflowClient]:
    """The module's store, without registered models."""
    yield module_client
    for model in module_client.search_registered_models():
        module_client.delete_registered_model(model.name)


@pytest.fixture(scope="module")
def shared_run(module_client: MlflowClient) -> str:
    """A run in the module's store."""
    return pipeline_run(module_client, "restorers", "quickstart", "a" * 16)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Server]:
    """A tracking server over SQLite."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, folder)
    files = folder / "artifacts"
    with mlflow_server(free_port(), folder, f"sqlite:///{folder}/mlflow.db", str(files)) as address:
        yield Server(address, files)


@pytest.fixture
def run_id(client: MlflowClient) -> str:
    """A stage's run."""
    return stage_run(client, pipeline_run(client, "restorers", "quickstart", "a" * 16), "gan", "b" * 16)


@pytest.fixture
def model_file(tmp_path: Path) -> ModelFile:
    return model_files_in(tmp_path)


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    """Uint8 (21, 34, 3)."""
    return np.random.default_rng(0).integers(0, 256, (21, 34, 3), dtype=np.uint8)
