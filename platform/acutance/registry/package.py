"""Model packages: an MLflow model of the weights, the code that runs them, and a card that describes it."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import Schema, TensorSpec

from acutance.fingerprint import file_sha256
from acutance.models.model_file import load_model
from acutance.registry.address import answers
from acutance.registry.resolve import CANDIDATE, CHAMPION, SHA256, WEIGHTS, registered, versions_of
from acutance.registry.tracking import FINGERPRINT, GIT_COMMIT, finite, git_commit

PICTURES = TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3), name=None)
SIGNATURE = ModelSignature(inputs=Schema([PICTURES]), outputs=Schema([PICTURES]))
REQUIREMENTS = ("mlflow", "numpy", "safetensors", "torch")
"""Not acutance itself: on a package index an installer would take whatever bears that name."""

EXAMPLE_SIDE = 32


def log_model(
    client: MlflowClient,
    run_id: str,
    model_file: str | Path,
    name: str,
    example: np.ndarray,
    *,
    tags: Mapping[str, str] | None = None,
    metrics: Mapping[str, float] | None = None,
    paper: Mapping[str, Any] | None = None,
) -> ModelVersion:
    """Package a model file and register it as a version with the alias `candidate`.

    A version with the model's fingerprint is not registered a second time; it becomes the candidate again
    unless it is the champion.

    Args:
        run_id: of the run that made the model.
        model_file: a local model file.
        name: the registered model's; it is created where it is not there.
        example: a picture, uint8 (h,w,3) RGB, of which the package keeps a corner.
        tags: of the version, besides its fingerprint, its checksum and the git commit.
        metrics: means over the held-out pictures.
        paper: title, authors and year of what it follows, for the card.

    Raises:
        ModelError: when the file is no model of ours, or reads more than a picture.
        UnreachableError: when the registry does not answer.
    """
    _, description = load_model(str(model_file))
    checksum = file_sha256(model_file)
    mark = str(description.get("fingerprint") or checksum[:16])
    marks = {**(tags or {}), FINGERPRINT: mark, SHA256: checksum}
    if commit := git_commit():
        marks[GIT_COMMIT] = commit
    with answers(client.tracking_uri):
        version = _registered_before(client, name, mark)
        if version is None:
            card = model_card(name, description, paper=paper, metrics=metrics)
            model_id = _log(client, run_id, name, model_file=Path(model_file), example=example, card=card, tags=marks)
            _note_metrics(client, run_id, model_id, metrics or {})
            # Not `models:/<id>`: over SQLite MLflow would look that up in its module-level store.
            source = client.get_logged_model(model_id).artifact_location
            version = client.create_model_version(name, source, run_id, tags=marks, description=card, model_id=model_id)
        number = str(version.version)
        if str(registered(client, name).aliases.get(CHAMPION)) != number:
            client.set_registered_model_alias(name, CANDIDATE, number)
        return client.get_model_version(name, number)


def save_package(folder: Path, model_file: Path, example: np.ndarray, card: str, model: Model | None = None) -> None:
    """Write a model package: uint8 (N,h,w,3) RGB in, uint8 (N,H,W,3) out.

    Args:
        folder: it must not exist yet.
        example: uint8 (h,w,3).
        card: Markdown for its README.md.
        model: MLflow's record to fill in; a new one where left out.
    """
    with tempfile.TemporaryDirectory() as scratch:
        weights = shutil.copyfile(model_file, Path(scratch) / Path(WEIGHTS).name)
        mlflow.pyfunc.save_model(
            str(folder),
            mlflow_model=model or Model(),
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"model": str(weights)},
            signature=SIGNATURE,
            input_example=np.ascontiguousarray(example[None, :EXAMPLE_SIDE, :EXAMPLE_SIDE]),
            pip_requirements=requirements(),
        )
    (folder / "README.md").write_text(card, encoding="utf-8")


def requirements() -> list[str]:
    """Return the exact versions a package was made with; local builds (`+cpu`) count as their release."""
    return [f"{package}=={installed(package).split('+')[0]}" for package in REQUIREMENTS]


def model_card(
    name: str,
    description: Mapping[str, Any],
    *,
    paper: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
) -> str:
    """Return a short Markdown text: what the model is, from where, how good, how to run it."""
    scale = description.get("scale")
    lines = [f"# {name}", "", f"{description.get('title') or 'An image restorer'}, x{scale}."]
    if paper:
        lines += ["", f"After: {paper.get('authors')}, *{paper.get('title')}*, {paper.get('year')}."]
    network = description["network"]
    arguments = ", ".join(f"{key}={value}" for key, value in network.items() if key != "type")
    lines += ["", f"Network: {network['type']} ({arguments}); stage {description.get('stage')}."]
    if metrics:
        lines += ["", "| metric | mean on held-out pictures |", "|---|---|"]
        lines += [f"| {metric} | {value:.4f} |" for metric, value in sorted(metrics.items())]
    if notes := description.get("notes"):
        lines += ["", *(f"* {note}" for note in notes)]
    lines += [
        "",
        f"Pictures are uint8 RGB of any size, (N, h, w, 3) in and {scale} times as high and wide out:",
        "",
        f"    acutance upscale models:/{name}@{CHAMPION} IN OUT",
        f"    mlflow models serve -m models:/{name}@{CHAMPION} --env-manager local   # where acutance is installed",
        "",
        "The code of the package is under the Apache License 2.0; for the weights, mind the terms of the",
        "pictures they were trained on.",
    ]
    return "\n".join(lines) + "\n"


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
    model_file: Path,
    example: np.ndarray,
    card: str,
    tags: Mapping[str, str],
) -> str:
    """Store a package and tie it to its run; return the model's id. A failure leaves nothing behind."""
    experiment = client.get_run(run_id).info.experiment_id
    model_id = client.create_logged_model(experiment, name, run_id, tags=dict(tags)).model_id
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "package"
            save_package(folder, model_file, example, card, Model(run_id=run_id, model_id=model_id))
            client.log_model_artifacts(model_id, str(folder))
        client.finalize_logged_model(model_id, "READY")
    except BaseException:
        client.delete_logged_model(model_id)
        raise
    client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
    return model_id


def _note_metrics(client: MlflowClient, run_id: str, model_id: str, metrics: Mapping[str, float]) -> None:
    """Record a model's means with the run and with the model."""
    now = time.time_ns() // 1_000_000
    values = [Metric(key, value, now, 0, model_id=model_id) for key, value in finite(metrics).items()]
    client.log_batch(run_id, metrics=values)
