"""A pipeline opened for work: its settings, the data sets it names, where its outputs go, and what is to be done."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from acutance import pipeline as pipelines
from acutance import storage
from acutance.data import Catalogue, Checked, Source, checked, dataset_fingerprint, load_catalogue, shards_folder
from acutance.errors import DataError, WeightsError
from acutance.pipeline import Pipeline
from acutance.training.plan import StageJob, parameter_counts, plan_stages, weights_files
from acutance.tuning.study import attempt_named, study_address
from acutance.weights import require_weights

DEFAULT_STORAGE = "outputs"


@dataclass(frozen=True)
class Work:
    """A pipeline with the data sets it names and where its outputs go.

    Attributes:
        trial: STUDY/NUMBER of the trial whose values it has, empty where it has its own.
    """

    file: Path
    pipeline: Pipeline
    catalogue: Catalogue
    root: str
    trial: str = ""

    @property
    def name(self) -> str:
        """The pipeline's short name: its file's."""
        return self.file.stem

    @cached_property
    def pictures(self) -> Checked:
        """The names and checksums of the training pictures; all of them are read for it, once."""
        return checked(self.catalogue.find(self.pipeline.data.train), self.pipeline.scale)

    @property
    def dataset(self) -> str:
        """The fingerprint of the shard set."""
        return dataset_fingerprint(self.pipeline.data, self.pipeline.scale, self.pictures)

    def shards(self) -> str:
        """Return the URI of the shard set's folder."""
        return shards_folder(self.root, self.dataset)

    def jobs(self, only: str | None = None) -> list[StageJob]:
        """Return the stage jobs in order."""
        return plan_stages(self.pipeline, self.pictures, self.root, only=only)

    def held_out(self) -> dict[str, list[Source]]:
        """Return the pictures of each data set that models are measured on."""
        return {name: self.catalogue.find(name) for name in self.pipeline.evaluate.on}


def open_work(file: str, overrides: list[str], profile: str | None, root: str | None, trial: str | None = None) -> Work:
    """Read a pipeline and the catalogue beside it.

    Args:
        trial: STUDY/NUMBER of a trial whose values the pipeline gets, beneath the overrides.

    Raises:
        ConfigError: see `acutance.pipeline.load`; or there is no such trial.
    """
    values = attempt_named(study_address(storage_root(root)), trial).values if trial else {}
    pipeline = pipelines.load(file, overrides, profile=profile, values=values)
    return Work(Path(file), pipeline, catalogue_for(file), storage_root(root), trial or "")


def storage_root(given: str | None) -> str:
    """Return the storage root: as given, else ACUTANCE_STORAGE, else ./outputs; a local one absolute."""
    root = given or os.environ.get("ACUTANCE_STORAGE") or DEFAULT_STORAGE
    return root.rstrip("/") if storage.is_remote(root) else str(Path(root).absolute())


def catalogue_for(file: str = "") -> Catalogue:
    """Return the catalogue of data sets: beside a pipeline file, or in ./pipelines."""
    beside = Path(file).parent / "datasets.yaml"
    return load_catalogue(beside if beside.is_file() else Path("pipelines/datasets.yaml"))


def plan(work: Work, only: str | None = None) -> dict[str, Any]:
    """Return what a run would do, without doing it and without data present."""
    missing = [
        problem for name in [work.pipeline.data.train, *work.pipeline.evaluate.on] if (problem := _missing(work, name))
    ]
    done: dict[str, bool] = {}
    try:
        todo = [work.pipeline.stages[name] for name in work.pipeline.order(only)]
        require_weights(file for stage in todo for file in weights_files(stage))
        done = {} if missing else {job.name: job.done() for job in work.jobs(only)}
    except WeightsError as error:
        missing.append(f"{error.what}; {error.fix}")
    stages = [
        {
            "name": name,
            "needs": work.pipeline.upstream(name),
            "steps": work.pipeline.stages[name].steps,
            "done": done.get(name, False),
            "parameters": parameter_counts(work.pipeline.stages[name]),
        }
        for name in work.pipeline.order(only)
    ]
    config = work.pipeline.model_dump(mode="json", by_alias=True, exclude={"profiles"})
    return {
        "pipeline": str(work.file),
        "storage": work.root,
        "missing": missing,
        "stages": stages,
        "config": config,
    }


def _missing(work: Work, dataset: str) -> str | None:
    try:
        work.catalogue.find(dataset)
    except DataError as error:
        return f"{dataset}: {error.what}; {error.fix}"
    return None
