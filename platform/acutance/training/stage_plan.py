"""What a worker needs to train one stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from acutance import storage
from acutance.config.data import DataSettings
from acutance.config.pipeline import Stage
from acutance.config.pipeline.validation import BEST
from acutance.data.datasets import Source
from acutance.data.stream import key_of
from acutance.inference.enlarger import Enlarger
from acutance.storage.done import is_done

TRAINING_VERSION = 9
"""Counts changes of the training code after which equal settings give other weights."""

Pictures = Mapping[str, Sequence[Source]]
"""Data set -> its pictures."""


@dataclass(frozen=True)
class ShardSpec:
    """A shard set that a stage trains on or is validated on; `prepare` makes it.

    Attributes:
        fingerprint: of everything that determines its content.
        folder: its URI.
        enlarger: enlarges its LR pictures, if `settings.enlarge` asks for it.
    """

    settings: DataSettings
    scale: int
    fingerprint: str
    folder: str
    enlarger: Enlarger | None = None

    def done(self) -> bool:
        """Return whether the shard set is complete."""
        return is_done("shards", self.folder, self.fingerprint)


@dataclass(frozen=True)
class StagePlan:
    """Everything that a worker needs to train one stage; it is pickled to other processes.

    Attributes:
        stage: its settings, with the derived columns that are made in its steps.
        margin: HR pixels around its patches that these columns need.
        folder: URI of the stage's own folder: checkpoints, `model.safetensors`, `done.json`.
        measured_on: the shard set of its validation by measures.
        pictures: data set -> the pictures of its validation on whole pictures.
        validation_tasks: how many Ray tasks measure a checkpoint beside the training; 0: the workers measure.
        validation_gpus: of each of these tasks.
        sources: name of a model that it starts from, or whose features its terms compare -> URI of that file.
        weights: name of a file in the weights folder -> SHA-256.
        description: of the model file, besides its network.
        workers: how many train it together under Ray Train.
        continues: URI of a checkpoint, or of a folder of which the newest is taken; the training starts from it, with
            settings of its own.
        beginning: fingerprint of what determines its first steps: everything but its length and its schedules.
        begins_at: URI of a checkpoint of another training with the same beginning; the training starts from it.
    """

    name: str
    stage: Stage
    scale: int
    seed: int
    trained_on: ShardSpec
    folder: str
    fingerprint: str
    sources: dict[str, str] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    description: dict[str, Any] = field(default_factory=dict)
    continues: str | None = None
    beginning: str = ""
    begins_at: str | None = None
    measured_on: ShardSpec | None = None
    pictures: Pictures = field(default_factory=dict)
    validation_tasks: int = 0
    validation_gpus: float = 0.0
    workers: int = 1
    margin: int = 0

    @property
    def key(self) -> int:
        """The seed of its samples, initial weights and dropout; stages of a pipeline have different ones."""
        return key_of(self.seed, self.name)

    @property
    def shards(self) -> str:
        """URI of the shard set that it trains on."""
        return self.trained_on.folder

    @property
    def checkpoints(self) -> str:
        """URI of the folder of its checkpoints."""
        return storage.join(self.folder, "checkpoints")

    @property
    def model(self) -> str:
        """URI of the finished model file."""
        return storage.join(self.folder, "model.safetensors")

    @property
    def best_model(self) -> str:
        """URI of the finished model file of the best checkpoint, where the stage keeps one."""
        return storage.join(self.folder, "best.safetensors")

    def named(self, source: str) -> str:
        """Return the URI of the model file that `STAGE` or `STAGE@best` names."""
        return self.best_model if source.endswith(BEST) else self.model

    def model_description(self) -> dict[str, Any]:
        """Return the description that model files and checkpoints of the stage hold."""
        network = self.stage.network.model_dump(mode="json", exclude={"init"})
        scale = self.scale if "lr" in self.stage.network.part.inputs else 1
        return {"network": network, "scale": scale, **self.description}

    def done(self) -> bool:
        """Return whether the training is complete."""
        return is_done("stage", self.folder, self.fingerprint)


def lease_of(root: str, stage: str) -> str:
    """Return the URI of the lease on a stage, by its fingerprint: who trains it, for any pipeline."""
    return storage.join(root, "leases", f"{stage}.json")
