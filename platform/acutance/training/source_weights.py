"""The files of weights that a stage starts from, or whose networks its terms look through."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from acutance import storage
from acutance.config.pipeline import Stage
from acutance.config.pipeline.validation import stage_named
from acutance.data.inventory import checksums
from acutance.errors import WeightsError
from acutance.fingerprint import file_sha256
from acutance.models.features import UNTRAINED
from acutance.models.model_file import describe_model
from acutance.training.stage_plan import StagePlan
from acutance.weights import find_weights, other_than_published


def weights_files(stage: Stage) -> list[str]:
    """Return the names of the published weights files that a stage's network and feature networks need."""
    networks = [network for network in stage.feature_networks() if network.weights == "published"]  # type: ignore[attr-defined]
    trunk = trunk_file(stage)
    return sorted({network.part.file for network in networks} | ({trunk} if trunk else set()))


def trunk_file(stage: Stage) -> str | None:
    """Return the name of the published weights file that a stage's network starts from, or None."""
    return str(stage.network.part.file) if _start(stage) == "published" else None


def _start(stage: Stage) -> str | None:
    """Return the setting `weights` of a network that has one; it is unused when `init` loads the whole network."""
    return None if "." in stage.network.init else getattr(stage.network, "weights", None)


def notes_of(stage: Stage, before: Mapping[str, StagePlan]) -> set[str]:
    """Return the notes of a stage's model file, and those that it inherits from the models that it depends on."""
    models = [before[name].description for name in map(stage_named, stage.reads()) if name in before]
    others = {source for source in stage.reads() if stage_named(source) not in before}
    files = [path_of(source) for source in others if source.endswith(".safetensors")]
    models += [describe_model(file) for file in files]
    inherited = {note for model in models for note in model.get("notes", [])}
    trunk = {str(stage.network.part.untrained)} if _start(stage) == "none" else set()
    untrained = {UNTRAINED for network in stage.feature_networks() if network.weights == "none"}  # type: ignore[attr-defined]
    altered = {other_than_published(find_weights(file)) for file in weights_files(stage)} - {""}
    return inherited | trunk | untrained | altered


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file; it is computed again only when size or modification time change."""
    state = path.stat()
    return _checksum_of(path, state.st_mtime_ns, state.st_size)


@cache
def _checksum_of(path: Path, *_: int) -> str:
    return file_sha256(path)


def in_weights_folder(source: str) -> bool:
    """Return whether a file is named without a folder, and so is searched in the weights folders."""
    return not storage.is_remote(source) and "/" not in source and not Path(source).exists()


def path_of(source: str) -> str:
    """Return the path of a model or weights file by the name that a stage gives it."""
    return str(find_weights(source)) if in_weights_folder(source) else source


def source_checksum(source: str, stage: str, root: str) -> str:
    """Return the SHA-256 of a file that a stage starts from.

    Raises:
        WeightsError: when there is no such file.
    """
    if in_weights_folder(source):
        try:
            return checksum(find_weights(source))
        except WeightsError as error:
            raise _missing(source, stage, f"put the file there, or into a folder of {error.where}") from None
    if source not in storage.states([source]):
        raise _missing(source, stage, "put the file there")
    return checksums([source], root, "models")[source]


def _missing(source: str, stage: str, fix: str) -> WeightsError:
    what = f"{source!r} is neither a stage of this pipeline nor a file"
    return WeightsError(what, where=f"stages.{stage}", fix=f"name a stage, or {fix}")
