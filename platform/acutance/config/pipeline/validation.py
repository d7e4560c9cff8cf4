"""What a stage is measured by while it is trained, which of its checkpoints are kept, and when it stops early."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator

from acutance import parts
from acutance.config.data import DataSetName, of_two_folders
from acutance.config.metrics import MEASURES, METRICS, score_name
from acutance.config.schema import Strict
from acutance.errors import nearest

BEST = "@best"
"""Behind the name of a stage: its best model, as its `keep.best` says, in place of its last."""


def stage_named(source: str) -> str:
    """Return the stage of `STAGE` or `STAGE@best`."""
    return source.removesuffix(BEST)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Watched(Strict):
    """A value of the validation that decides something: a metric on one of its data sets."""

    metric: str
    on: DataSetName | None = Field(default=None, description="the first data set of the validation where left out")


class Patience(Watched):
    """Early stopping: how many validations in a row may pass without a better value."""

    validations: PositiveInt


class Validation(Strict):
    """Validation during training, on pictures that the network does not learn from.

    Stages that restore pictures are measured on whole pictures, as `acutance evaluate` does it, also once before the
    first step. Others, by measures such as `accuracy`, on one patch from the middle of each picture.
    """

    on: Annotated[list[DataSetName], BeforeValidator(_listed)] = Field(
        min_length=1,
        description="data sets or folders of pictures; for a measure one like the stage's own; or two folders",
        json_schema_extra={"type": ["string", "array", "object"]},
    )
    lr: DataSetName | None = Field(default=None, description="the folder of the LR of each picture of `on`")
    split: str = Field(default="val", description="its part, of scored or classified pictures")
    metrics: list[str] = Field(min_length=1)
    every: PositiveInt | None = Field(default=None, description="steps; null: at the end alone")
    protocol: str = Field(default="y_crop4", description="how restored pictures are prepared for metrics")
    pictures: NonNegativeInt = Field(default=4, description="how many restored pictures are shown as they change")
    patience: Patience | None = Field(default=None, description="stops the training early; null: never")

    @model_validator(mode="before")
    @classmethod
    def _two_folders(cls, content: Any) -> Any:
        return of_two_folders(content, "on")

    @model_validator(mode="after")
    def _known(self) -> Validation:
        known = [*parts.names("measure"), *parts.names("metric")]
        if unknown := [name for name in self.metrics if ":" not in name and name not in known]:
            raise ValueError(f"metrics: there is no {unknown[0]!r}{nearest(unknown[0], known)}")
        protocols = parts.names("protocol")
        if ":" not in self.protocol and self.protocol not in protocols:
            raise ValueError(f"protocol: there is no {self.protocol!r}{nearest(self.protocol, protocols)}")
        if len({_is_metric(name) for name in self.metrics}) > 1:
            raise ValueError("metrics: metrics of restored pictures and measures of other outputs cannot be mixed")
        if len(self.on) > 1 and (self.lr or not self.of_pictures):
            raise ValueError(f"on: {'a measure' if not self.of_pictures else '`lr`'} needs a single data set")
        idle = ("split",) if self.of_pictures else ("protocol", "pictures")
        if taken := [name for name in idle if getattr(self, name) != type(self).model_fields[name].default]:
            what = "restored pictures" if self.of_pictures else "measures"
            raise ValueError(f"{taken[0]}: means nothing for {what}; leave it out")
        if self.patience:
            if self.every is None:
                raise ValueError("patience: needs `every`")
            self.require_watched(self.patience, "patience")
        return self

    @property
    def of_pictures(self) -> bool:
        """Whether whole restored pictures are measured."""
        return _is_metric(self.metrics[0])

    def names(self) -> dict[str, tuple[str, str]]:
        """Return what each value of a validation is called -> its metric and its data set."""
        if not self.of_pictures:
            return {metric: (metric, self.on[0]) for metric in self.metrics}
        return {score_name(metric, on): (metric, on) for on in self.on for metric in self.metrics}

    def name_of(self, watched: Watched) -> str:
        """Return what a watched value is called."""
        return score_name(watched.metric, watched.on or self.on[0]) if self.of_pictures else watched.metric

    def more_is_better(self, metric: str) -> bool:
        """Return whether larger values of a metric are better; a distance to the truth's own value is best at 0."""
        return ((METRICS if self.of_pictures else MEASURES)[metric]).goal == "maximize"

    def require_watched(self, watched: Watched, place: str) -> None:
        """Refuse a watched value that the validation does not have.

        Raises:
            ValueError: naming those that it has.
        """
        if watched.metric not in self.metrics:
            raise ValueError(f"{place}.metric: {watched.metric!r} is not among the validation's {self.metrics}")
        if watched.on is not None and watched.on not in self.on:
            raise ValueError(f"{place}.on: {watched.on!r} is not among the validation's {self.on}")


def _is_metric(name: str) -> bool:
    return METRICS.get(name) is not None if ":" in name else name in parts.names("metric")


class Best(Watched):
    """The checkpoints with the best values of a validation; the very best is also a model file, `STAGE@best`."""

    count: PositiveInt = 1


class Keep(Strict):
    """Which checkpoints are kept; the others are deleted."""

    last: PositiveInt = Field(default=2, description="so many of the newest")
    best: Best | None = None
    every: PositiveInt | None = Field(default=None, description="all at multiples of so many steps")
