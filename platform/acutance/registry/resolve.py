"""From a reference to a model file: a registered name with an alias or a version, or a path."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.utils.uri import is_local_uri

from acutance.errors import ModelError, nearest
from acutance.fingerprint import file_sha256
from acutance.registry.address import answers, connect, waited_for
from acutance.storage import is_remote
from acutance.storage.scratch import scratch

CANDIDATE = "candidate"
CHAMPION = "champion"
SHA256 = "acutance.sha256"
ABSENT = "RESOURCE_DOES_NOT_EXIST"
WEIGHTS = "artifacts/model.safetensors"
REFERENCE = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))?")


def resolve_model(reference: str, storage: str) -> Path:
    """Return the local path of the model file that a reference names.

    Args:
        reference: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, or the path of a model file.
        storage: the storage root; it says where the registry is, and a download is kept below it.

    Raises:
        ModelError: naming what there is instead.
        UnreachableError: when the registry does not answer.
    """
    if not reference.startswith("models:"):
        if Path(reference).is_file():
            return Path(reference)
        raise ModelError(
            "there is no such model file",
            where=reference,
            fix="give a path, or models:/NAME@champion; `acutance models list` shows the names",
        )
    client = connect(storage)
    with answers(client.tracking_uri):
        version = find_version(client, reference)
        return weights_of(client, version, _downloads(storage, version))


def find_version(client: MlflowClient, reference: str) -> ModelVersion:
    """Return the version that `models:/NAME@ALIAS` or `models:/NAME/VERSION` names.

    Raises:
        ModelError: naming the registered models, or the model's aliases and versions.
    """
    parts = REFERENCE.fullmatch(reference)
    if not parts:
        raise ModelError(
            "this is no model reference",
            where=reference,
            fix="write models:/NAME@ALIAS or models:/NAME/VERSION",
        )
    model = registered(client, parts["name"])
    wanted = parts["version"] or model.aliases.get(parts["alias"])
    found = next((v for v in versions_of(client, model.name) if str(v.version) == str(wanted)), None)
    if found is None:
        raise ModelError(
            f"the model {model.name!r} has no such version",
            where=reference,
            fix=f"there are {_choices(client, model)}",
        )
    return found


@waited_for
def registered(client: MlflowClient, name: str) -> RegisteredModel:
    """Return a registered model.

    Raises:
        ModelError: naming the registered ones.
    """
    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != ABSENT:
            raise
    names = [model.name for model in all_models(client)]
    raise ModelError(
        f"there is no registered model {name!r}{nearest(name, names)}",
        fix="register one with `acutance run PIPELINE`" if not names else "`acutance models list` shows them",
    )


def versions_of(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Return a model's versions, oldest first, with their aliases and tags."""
    quote = '"' if "'" in name else "'"
    wanted = "" if quote in name else f"name = {quote}{name}{quote}"
    found = [version for version in all_versions(client, wanted) if version.name == name]
    return sorted(found, key=lambda version: int(version.version))


@waited_for
def all_models(client: MlflowClient) -> list[RegisteredModel]:
    """Return all registered models by name, however many pages they fill."""
    return _all_pages(partial(client.search_registered_models, order_by=["name ASC"]))


@waited_for
def all_versions(client: MlflowClient, wanted: str = "") -> list[ModelVersion]:
    """Return the versions of all models, or those that a filter lets through, a request a thousand."""
    return _all_pages(partial(client.search_model_versions, wanted, max_results=1000))


def _all_pages(search: Callable[..., Any]) -> list[Any]:
    page = search()
    found = list(page)
    while page.token:
        page = search(page_token=page.token)
        found += page
    return found


@waited_for
def weights_of(client: MlflowClient, version: ModelVersion, folder: Path) -> Path:
    """Return the local path of a version's weights, downloaded into `folder` unless they lie on this machine.

    Raises:
        ModelError: when the package is gone, not one of ours, or holds other weights than were registered.
    """
    where = f"models:/{version.name}/{version.version}"
    expected = version.tags.get(SHA256)
    if expected is None:
        raise ModelError("this version was not registered by this software", where=where, fix="choose another one")
    kept = folder / "model.safetensors"
    if kept.is_file() and file_sha256(kept) == expected:
        return kept
    path = _fetched(client, version, kept, where)
    if file_sha256(path) != expected:
        raise ModelError(
            "the weights in the registry are not those that were registered",
            where=f"{where}: {path}",
            fix="register the model again, or bring its files back",
        )
    return path


def _fetched(client: MlflowClient, version: ModelVersion, kept: Path, where: str) -> Path:
    root = client.get_model_version_download_uri(version.name, str(version.version))
    source = f"{root.rstrip('/')}/{WEIGHTS}"
    try:
        if is_local_uri(root):
            return Path(download_artifacts(artifact_uri=source, tracking_uri=client.tracking_uri))
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as part:
            path = download_artifacts(artifact_uri=source, dst_path=part, tracking_uri=client.tracking_uri)
            os.replace(path, kept)
        return kept
    except (OSError, MlflowException) as error:
        if not _is_absent(error):
            raise
        raise ModelError(
            "the files of this version are gone",
            where=f"{where}: {source}",
            fix="bring them back, or look for them where they may be: acutance models relocate FOLDER",
        ) from error


def _is_absent(error: Exception) -> bool:
    """Return whether a download failed because the file does not exist; each kind of store says it differently."""
    told = getattr(error, "error_code", "") == ABSENT or "404 Client Error" in str(error)
    return told or isinstance(error, FileNotFoundError)


def _downloads(storage: str, version: ModelVersion) -> Path:
    """Return the folder that keeps a version's download: below the storage, or a temporary one."""
    root = scratch() if is_remote(storage) else Path(storage).absolute()
    return root / "models" / version.name / f"{version.version}-{version.tags.get(SHA256, '')[:8]}"


def _choices(client: MlflowClient, model: RegisteredModel) -> str:
    versions = ", ".join(str(version.version) for version in versions_of(client, model.name)) or "none"
    aliases = ", ".join(f"@{alias} (version {number})" for alias, number in sorted(model.aliases.items())) or "none"
    return f"the versions {versions} and the aliases {aliases}"
