"""Model packages: an MLflow model of the weights, the code that runs them, and a card that describes it.

A package runs wherever its `requirements.txt` is installed. Acutance itself is not among them (on a package index an
installer would take whatever bears that name): its code lies in `code/`, which MLflow puts first on the path. A process
that has Acutance imported already stays with its own.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import mlflow.pyfunc
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.types.schema import Schema, TensorSpec

from acutance.cluster.package import copy_code
from acutance.config.packaged import HOME
from acutance.errors import ModelError
from acutance.fingerprint import file_sha256
from acutance.inference.restore import restore
from acutance.models.model_file import load_model
from acutance.process import is_gone, this_process
from acutance.registry.address import waited_for
from acutance.registry.card import SHEET, Facts, model_card, shortened
from acutance.registry.resolve import CANDIDATE, CHAMPION, SHA256, WEIGHTS, registered, versions_of
from acutance.registry.runs import OWNER
from acutance.registry.tracker import metric_name
from acutance.registry.tracking import FINGERPRINT, GIT_COMMIT, finite, git_commit
from acutance.storage.scratch import working_folder

PICTURES = TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3), name=None)
SIGNATURE = ModelSignature(inputs=Schema([PICTURES]), outputs=Schema([PICTURES]))
CODE = Path(__file__).with_name("served_model.py")
REQUIREMENTS = (
    *(
        "boto3",
        "botocore",
        "mlflow",
        "numba",
        "numpy",
        "psutil",
        "pyarrow",
        "pydantic",
        "pydantic_core",
        "rich",
    ),
    *("ruamel.yaml", "safetensors", "scipy", "torch", "torchvision", "typing_extensions", "xxhash"),
)
"""What loading and restoring import, at once or late."""

EXAMPLE_SIDE = 32
NEWEST = 100
"""Models of an experiment that are looked through for half-logged ones."""

DESCRIPTION_LENGTH = 5000
"""MLflow's databases hold no longer description of a version."""

NOTICE = """Licensed under the Apache License, Version 2.0 (the "License"); you may not use these files except in
compliance with the License. You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software distributed under the License is distributed on
an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the
specific language governing permissions and limitations under the License.
"""


@waited_for
def log_model(
    client: MlflowClient,
    run_id: str,
    model_file: str | Path,
    name: str,
    example: np.ndarray,
    *,
    tags: Mapping[str, str] | None = None,
    metrics: Mapping[str, float] | None = None,
    facts: Facts | None = None,
    sheet: Path | None = None,
) -> ModelVersion:
    """Package a model file and register it as a version with the alias `candidate`.

    A version with the model's fingerprint is not registered a second time; it becomes the candidate again
    unless it is the champion.

    Args:
        run_id: of the run that made the model.
        model_file: a local model file.
        name: the registered model's; it is created where it is not there.
        example: a picture, uint8 (h,w,3) RGB, of which the package keeps a corner; the model must restore it.
        tags: of the version, besides its fingerprint, its checksum and the git commit.
        metrics: means over the held-out pictures.
        facts: of its run, for the card.
        sheet: a PNG of held-out pictures that the card shows.

    Raises:
        ModelError: when the file is no model of ours, reads more than a picture or makes none.
        UnreachableError: when the registry does not answer.
    """
    network, description = load_model(str(model_file))
    if "image" not in restore(network, description, _corner(example)):
        raise ModelError("this network makes no picture", where=str(model_file), fix="register a stage that does")
    checksum = file_sha256(model_file)
    mark = str(description.get("fingerprint") or checksum[:16])
    all_tags = {**(tags or {}), FINGERPRINT: mark, SHA256: checksum}
    if commit := git_commit():
        all_tags[GIT_COMMIT] = commit
    version = _registered_before(client, name, mark)
    if version is None:
        card = model_card(name, network, description, facts or Facts(), sheet=sheet is not None)

        def save(folder: Path, model: Model) -> None:
            save_package(folder, Path(model_file), example, card, model, sheet=sheet)

        model_id = _log(client, run_id, name, save=save, tags=all_tags)
        _note_metrics(client, run_id, model_id, metrics or {})
        # Not `models:/<id>`: over SQLite MLflow would look that up in its module-level store.
        source = client.get_logged_model(model_id).artifact_location
        text = shortened(card, DESCRIPTION_LENGTH)
        version = client.create_model_version(name, source, run_id, tags=all_tags, description=text, model_id=model_id)
    number = str(version.version)
    if str(registered(client, name).aliases.get(CHAMPION)) != number:
        client.set_registered_model_alias(name, CANDIDATE, number)
    return client.get_model_version(name, number)


def save_package(
    folder: Path,
    model_file: Path,
    example: np.ndarray,
    card: str,
    model: Model | None = None,
    *,
    sheet: Path | None = None,
) -> None:
    """Write a model package: uint8 (N,h,w,3) RGB in, uint8 (N,H,W,3) out.

    Args:
        folder: it must not exist yet.
        example: uint8 (h,w,3).
        card: Markdown for its README.md.
        model: MLflow's record to fill in; a new one where left out.
        sheet: a PNG to lie beside the card.
    """
    with working_folder("code") as scratch:
        weights = shutil.copyfile(model_file, scratch / Path(WEIGHTS).name)
        copy_code(scratch)
        mlflow.pyfunc.save_model(
            str(folder),
            mlflow_model=model or Model(),
            python_model=str(CODE),
            code_paths=[str(scratch / HOME.name)],
            artifacts={"model": str(weights)},
            signature=SIGNATURE,
            input_example=_corner(example)[None],
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS],
        )
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / "LICENSE").write_text(_licence(), encoding="utf-8")
    if sheet:
        shutil.copyfile(sheet, folder / SHEET)


def _corner(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture[:EXAMPLE_SIDE, :EXAMPLE_SIDE])


def _licence() -> str:
    """Return the licence of the checkout or of the installed package; its notice where the code came alone."""
    places = [HOME.parents[1] / "LICENSE"]
    with contextlib.suppress(PackageNotFoundError):
        files = distribution("acutance").files or []
        places += [Path(str(file.locate())) for file in files if file.name == "LICENSE"]
    return next((place.read_text(encoding="utf-8") for place in places if place.is_file()), NOTICE)


def _registered_before(client: MlflowClient, name: str, fingerprint: str) -> ModelVersion | None:
    """Return the version with this fingerprint; create the registered model where it is not there."""
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    same = [version for version in versions_of(client, name) if version.tags.get(FINGERPRINT) == fingerprint]
    return same[-1] if same else None


def _log(
    client: MlflowClient,
    run_id: str,
    name: str,
    *,
    save: Callable[[Path, Model], None],
    tags: Mapping[str, str],
) -> str:
    """Store a package and tie it to its run; return the model's id. A failure leaves nothing behind."""
    experiment = client.get_run(run_id).info.experiment_id
    delete_half_logged(client, experiment)
    owned = {**tags, OWNER: this_process()}
    model_id = client.create_logged_model(experiment, name, run_id, tags=owned).model_id
    try:
        with working_folder("package") as scratch:
            folder = scratch / "package"
            save(folder, Model(run_id=run_id, model_id=model_id))
            client.log_model_artifacts(model_id, str(folder))
        client.finalize_logged_model(model_id, "READY")
    except BaseException:
        _delete(client, client.get_logged_model(model_id))
        raise
    client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
    return model_id


def delete_half_logged(client: MlflowClient, experiment: str) -> None:
    """Delete the models of an experiment that processes were killed over while they logged them."""
    for model in client.search_logged_models([experiment], max_results=NEWEST):
        if model.status == LoggedModelStatus.PENDING and is_gone(model.tags.get(OWNER, "")):
            _delete(client, model)


def _delete(client: MlflowClient, model: LoggedModel) -> None:
    """Delete a model, which MLflow only hides, and its stored files."""
    client.delete_logged_model(model.model_id)
    repository = get_artifact_repository(model.artifact_location, tracking_uri=client.tracking_uri)
    with contextlib.suppress(Exception):  # none is stored yet, or this store deletes nothing
        repository.delete_artifacts()


def _note_metrics(client: MlflowClient, run_id: str, model_id: str, metrics: Mapping[str, float]) -> None:
    """Record a model's means with the run and with the model."""
    now = time.time_ns() // 1_000_000
    values = [Metric(metric_name(key), value, now, 0, model_id=model_id) for key, value in finite(metrics).items()]
    client.log_batch(run_id, metrics=values)
