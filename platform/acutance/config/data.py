"""Settings of training data: pictures, sub-images, degradation and derived columns."""

from __future__ import annotations

import inspect
import math
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, model_validator

from acutance.config.schema import Choice, Strict
from acutance.config.size import Size, sides
from acutance.errors import ConfigError

BICUBIC = "bicubic"
SIDE = 32
"""Of classified pictures, CIFAR's."""

Turning = Literal["turns", "flips", "mirror", "none"]
"""How samples are turned: flips and transposition, both flips, left to right, or not at all."""


def dataset_name(name: str) -> str:
    """Write a folder in one way: `./a/`, `./a//b/..` and `./a` are one data set, and one in the names of metrics."""
    if "://" in name:
        return name.rstrip("/")
    name = posixpath.expanduser(name)
    plain = posixpath.normpath(name) if "/" in name else name
    return f"./{plain}" if "/" in name and "/" not in plain and plain not in (".", "..") else plain


DataSetName = Annotated[str, AfterValidator(dataset_name)]
"""A data set of the catalogue, or a folder."""


PAIRED = "paired"
"""The degradation that takes the data set's own LR pictures."""


class DegradationChoice(Choice):
    """A degradation: noise, blur, reduction or JPEG."""

    kind: ClassVar[str] = "degradation"
    given: ClassVar[tuple[str, ...]] = ("seed",)


class StoredDegradationChoice(Choice):
    """The degradation that makes the LR pictures of shards from whole HR pictures: one that reduces by `scale`."""

    kind: ClassVar[str] = "degradation"
    given: ClassVar[tuple[str, ...]] = ("seed", "scale")

    @model_validator(mode="after")
    def _reduces(self) -> StoredDegradationChoice:
        if getattr(self.part, "reduces_by", "") != "scale":
            raise ValueError(f"{self.type} does not reduce pictures by a setting `scale`, as stored LR pictures need")
        return self


class DerivedColumn(Choice):
    """A column that is a function of other columns: a detail layer, an edge map, a weight map.

    It is made of whole pictures and stored in the shards, or made of the patches of each step. In both cases a network
    that reads it gets it from the picture alone wherever the network is used.
    """

    kind: ClassVar[str] = "derivation"

    of: str | list[str] = Field(description="the column that it is made of, or several")
    stored: bool = Field(
        default=False,
        description="true: made once, of whole pictures, and kept in the shards; false: made in each step, so that new "
        "settings need no new shards",
    )
    margin: NonNegativeInt = Field(
        default=0, description="pixels of its first source around a patch that it sees where it is made in the step"
    )

    @property
    def sources(self) -> list[str]:
        """The columns that it is a function of."""
        return [self.of] if isinstance(self.of, str) else self.of

    @model_validator(mode="after")
    def _of_as_many_as_it_takes(self) -> DerivedColumn:
        taken = [p for p in inspect.signature(self.part).parameters.values() if p.kind is not p.KEYWORD_ONLY]
        several = any(p.kind is p.VAR_POSITIONAL for p in taken)
        if not self.sources or not (several or len(self.sources) == len(taken)):
            wanted = "columns" if several else "1 column" if len(taken) == 1 else f"{len(taken)} columns"
            raise ValueError(f"{self.type} is made of {wanted}, not of {len(self.sources)}")
        return self


def closure(names: Iterable[str], derived: Mapping[str, DerivedColumn]) -> set[str]:
    """Return columns and all that they are made of, as far as they are derived."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += derived[name].sources if name in derived else []
    return found


def plain(steps: Sequence[Choice]) -> list[dict[str, Any]]:
    """Return steps as `imaging.degradations.degrade` takes them."""
    return [{"type": step.type, **step.arguments()} for step in steps]


def reduction(steps: Sequence[Choice]) -> int:
    """Return how many times smaller the steps make a picture."""
    return math.prod(getattr(step, name) for step in steps if (name := getattr(step.part, "reduces_by", "")))


def _tried(steps: list[DegradationChoice]) -> list[DegradationChoice]:
    """Apply the steps to a small picture, so that a value out of its range is an error before anything starts."""
    if any(step.type == PAIRED for step in steps):
        raise ValueError(f"{PAIRED}: for `data.degradation` alone; it reads the LR pictures of the data set")
    chosen = [step.part for step in steps]
    if chosen:
        import torch  # what says that a key is wrong does without

        picture = torch.zeros(1, 3, 8, 8)
        try:
            for part, step in zip(chosen, steps, strict=True):
                picture = part(picture, seed=0, **step.arguments())
        except ConfigError as error:
            raise ValueError(f"{error.where}: {error.what}; {error.fix}") from None
    return steps


Steps = Annotated[list[DegradationChoice], AfterValidator(_tried)]
"""Degradations in order, such as `[{type: awgn, sigma: 30}, {type: jpeg, quality: 25}]`."""


def _known(step: dict[str, Any]) -> dict[str, Any]:
    DegradationChoice.require_known(step)
    return step


UntriedSteps = list[Annotated[dict[str, Any], AfterValidator(_known)]]
"""As `Steps`, but with known names alone: they are read and tried where they are used, since that imports torch."""


class SubImages(Strict):
    """How a picture is cut: squares or rectangles of `size` HR pixels, one every `stride`, the last at the border.

    With the stride `anywhere` nothing is cut beforehand. Pictures are stored whole, as their files; each sample decodes
    one and takes its patch from any place in it, all equally likely.

    Scored pictures with a side under `size` are enlarged to it (Choi et al.'s released code), others are left out.
    """

    size: Size = Field(description="HR pixels of a side, or [height, width]")
    stride: PositiveInt | Literal["centre", "anywhere"] = Field(
        description="in HR pixels; centre: one, from the middle; anywhere: pictures stay whole"
    )


class Enlargement(Strict):
    """Classified pictures are enlarged, and rounded to 8 bits, before a network sees them."""

    by: str = Field(description="bicubic (MATLAB's), a stage of the pipeline, or a model file")
    scale: PositiveInt = 2


class DataSettings(Strict):
    """What a pipeline, or one of its stages, trains on."""

    train: DataSetName = Field(
        description="a dataset of the catalogue, or the path or s3:// URI of a folder of pictures; or of two folders, "
        "{hr: ./hr, lr: ./lr}: then the degradation is `paired`",
        json_schema_extra={"type": ["string", "object"]},
    )
    lr: DataSetName | None = Field(
        default=None, description="the folder of the LR of each picture of `train`, of the same name or NAMEx4"
    )
    label: Literal["distribution", "class"] | None = Field(
        default=None, description="what each row is labelled with, of scored or of classified pictures"
    )
    split: str = Field(default="train", description="the part of scored or classified pictures")
    subimages: SubImages | None = Field(default=None, description="left out for classified pictures alone")
    enlarge: Enlargement | None = Field(default=None, description="of classified pictures; null: they stay as they are")
    degradation: StoredDegradationChoice | None = Field(
        default={"type": BICUBIC},
        validate_default=True,
        description="what makes LR from HR, such as bicubic; paired: the data set's own LR; null: no LR",
    )
    lr_scales: list[PositiveInt] = Field(
        default_factory=list, description="scales of further LR pictures, columns lr_x2 and so on, made like lr"
    )
    derive: dict[str, DerivedColumn] = Field(
        default_factory=dict, description="further columns, each a function of others; those of all stages"
    )
    bad_pictures: Literal["skip", "stop"] = Field(
        default="skip",
        description="what to do with a picture that cannot be read: report and skip it, or stop",
    )
    pictures_per_shard: PositiveInt = 4

    @property
    def source(self) -> str:
        """The name of its source: the data set, its part if it has several, and its own LR pictures if used."""
        if self.lr:
            return f"{self.train} with the LR in {self.lr}"
        if self.degradation and self.degradation.type == PAIRED:
            further = f" {' '.join(map(str, self.lr_scales))}" if self.lr_scales else ""
            return f"{self.train} with its LR{further}"
        return f"{self.train}:{self.split}" if self.label else self.train

    @property
    def stored(self) -> dict[str, DerivedColumn]:
        """The derived columns that the shards hold."""
        return {name: column for name, column in self.derive.items() if column.stored}

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a row's picture in HR pixels."""
        return sides(self.subimages.size if self.subimages else SIDE * (self.enlarge.scale if self.enlarge else 1))

    @model_validator(mode="before")
    @classmethod
    def _two_folders(cls, content: Any) -> Any:
        """Where LR is given it is not made, whatever the pipeline did with other pictures."""
        given = of_two_folders(content, "train")
        return content if given is content else {**given, "degradation": {"type": PAIRED}}

    @model_validator(mode="before")
    @classmethod
    def _nothing_restored(cls, content: Any) -> Any:
        """Pictures with labels have no LR unless the settings name a degradation."""
        if isinstance(content, dict) and content.get("label"):
            return {"degradation": None, **content}
        return content

    @model_validator(mode="after")
    def _of_its_kind(self) -> DataSettings:
        classified = self.label == "class"
        if classified and self.subimages:
            raise ValueError("subimages: classified pictures are small and stay whole; leave it out")
        if not classified and not self.subimages:
            raise ValueError("subimages: say how pictures are cut, such as {size: 128, stride: 64}")
        if not classified and self.enlarge:
            raise ValueError("enlarge: for classified pictures alone; leave it out")
        if classified and (self.degradation or self.derive):
            raise ValueError("degradation, derive: not of classified pictures; leave them out")
        made = self.degradation or self.stored
        if self.subimages and self.subimages.stride == "anywhere" and made:
            raise ValueError(
                "subimages.stride: of pictures cut anywhere no degradation and no derived column is stored"
            )
        whole = self.label or (self.subimages and self.subimages.stride == "anywhere")
        if self.subimages and whole and len(set(sides(self.subimages.size))) > 1:
            raise ValueError("subimages.size: one number where pictures are scored or stay whole")
        if not self.label and self.split != "train":
            raise ValueError("split: for scored and classified pictures; name another data set in `train`")
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> DataSettings:
        if self.lr and (self.label or self.lr_scales or not self.degradation or self.degradation.type != PAIRED):
            raise ValueError("lr: a folder of LR is `paired`; leave out label, lr_scales and another degradation")
        if self.lr_scales and self.degradation is None:
            raise ValueError("lr_scales: without a degradation there is no LR; leave them out")
        return self


def of_two_folders(content: Any, key: str) -> Any:
    """Return settings in which `key: {hr: FOLDER, lr: FOLDER}` is `key: FOLDER` and `lr: FOLDER`.

    Raises:
        ValueError: for another mapping.
    """
    given = content.get(key) if isinstance(content, dict) else None
    if not isinstance(given, dict):
        return content
    if given.keys() != {"hr", "lr"} or not all(isinstance(folder, str) for folder in given.values()):
        raise ValueError(f"{key}: two folders are given as {{hr: FOLDER, lr: FOLDER}}")
    return {**content, key: given["hr"], "lr": given["lr"]}
