from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_models import model_files_in
from mlflow import MlflowClient

from acutance.errors import ModelError
from acutance.fingerprint import file_sha256
from acutance.registry.package import log_model
from acutance.registry.resolve import resolve_model

NAME = "sr-x2-test"

ModelFile = Callable[[int], Path]


@pytest.fixture(scope="module")
def registered(
    module_client: MlflowClient, shared_run: str, picture: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A storage whose registry has the versions 1 and 2; 2 is the candidate."""
    model_file = model_files_in(tmp_path_factory.mktemp("models"))
    for seed in (1, 2):
        log_model(module_client, shared_run, model_file(seed), NAME, picture)
    return module_client.tracking_uri.removeprefix("sqlite:///").removesuffix("/mlflow.db")


def test_alias_version_and_path(registered: str, model_file: ModelFile) -> None:
    for reference, seed in (
        (f"models:/{NAME}@candidate", 2),
        (f"models:/{NAME}/1", 1),
        (f"models:/{NAME}/2", 2),
    ):
        path = resolve_model(reference, registered)
        assert path.name == "model.safetensors"
        assert file_sha256(path) == file_sha256(model_file(seed))
    assert resolve_model(str(model_file(1)), "nowhere") == model_file(1)


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        (f"models:/{NAME}@champion", ["no such version", "versions 1, 2", "@candidate (version 2)"]),
        (f"models:/{NAME}/7", ["no such version", "versions 1, 2"]),
        (f"models:/{NAME}", ["no such version", "versions 1, 2"]),
        ("models:/sr-x2-tset@champion", [f"did you mean '{NAME}'?"]),
        ("models:/", ["no model reference", "models:/NAME@ALIAS"]),
        ("models:/a/b/c", ["no model reference"]),
        ("models:/it's@x", ["no registered model"]),
        ("missing.safetensors", ["no such model file", "models:/NAME@champion"]),
    ],
)
def test_errors_name_what_there_is(registered: str, reference: str, told: list[str]) -> None:
    with pytest.raises(ModelError) as caught:
        resolve_model(reference, registered)
    assert caught.value.exit_code == 2
    for text in told:
        assert text in str(caught.value)


def test_empty_registry_says_how_to_fill_it(storage: str) -> None:
    with pytest.raises(ModelError, match="acutance run"):
        resolve_model(f"models:/{NAME}@champion", storage)


def test_changed_or_lost_files_are_noticed(
    client: MlflowClient, run_id: str, model_file: ModelFile, picture: np.ndarray, storage: str
) -> None:
    log_model(client, run_id, model_file(1), NAME, picture)
    path = resolve_model(f"models:/{NAME}/1", storage)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ModelError, match="not those that were registered"):
        resolve_model(f"models:/{NAME}/1", storage)
    shutil.rmtree(Path(storage) / "mlartifacts")
    with pytest.raises(ModelError, match="files of this version are gone"):
        resolve_model(f"models:/{NAME}/1", storage)


def test_version_of_other_software_is_refused(client: MlflowClient, storage: str) -> None:
    client.create_registered_model(NAME)
    client.create_model_version(NAME, str(Path(storage) / "anything"))
    with pytest.raises(ModelError, match="not registered by this software"):
        resolve_model(f"models:/{NAME}/1", storage)
