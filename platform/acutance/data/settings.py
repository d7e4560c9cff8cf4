"""What a pipeline says of its training data, and the fingerprint of the shard set that follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from acutance.config import limits
from acutance.config.schema import Strict, choice_of
from acutance.data.classified import SIDE
from acutance.data.degradations import DEGRADATIONS
from acutance.data.entries import DataSetName
from acutance.data.manifest import SHARD_VERSION, Coding, Column
from acutance.data.scored import BINS
from acutance.data.size import Size, shown, sides, uneven
from acutance.errors import ConfigError
from acutance.fingerprint import fingerprint
from acutance.imaging.extractors import CHANNELS, CODINGS, EXTRACTORS

Checked = list[tuple[str, str]]
"""The name and the checksum of each picture of a training set, and of its own LR where that is read."""


class Content(NamedTuple):
    """What a training set consists of, and what is to be said of whatever is trained on it."""

    originals: Checked
    notes: tuple[str, ...] = ()


Contents = dict[str, Content]
"""What each training set consists of, by `DataSettings.source`."""

BICUBIC = "bicubic"


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


class WeightMap(Strict):
    """Which values a loss counts, column `hr_weight`: those that differ from a neighbour by more than most do.

    `alpha` is in standard deviations of the whole picture's differences; 0 selects everything. Mean and deviation are
    stored in the shards, the map is made in the training step: another alpha needs no new shards.
    """

    alpha: NonNegativeFloat


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
    degradation: choice_of(DEGRADATIONS, given=("scale",)) | None = Field(  # type: ignore[valid-type]
        default={"type": "bicubic"},
        validate_default=True,
        description="how LR comes from HR, or whence; null for no LR",
    )
    lr_scales: list[PositiveInt] = Field(
        default_factory=list, description="scales of further LR pictures, columns lr_x2 and so on, made like lr"
    )
    detail: choice_of(EXTRACTORS) | None = Field(  # type: ignore[valid-type]
        default=None, description="the extractor of detail layers; null for none"
    )
    detail_margin: PositiveInt | None = Field(
        default=None,
        description="null: detail layers are stored in the shards; a number: they are computed in the training step, "
        "of patches with so many LR pixels more on each side, and new settings of the extractor need no new shards",
    )
    weight_map: WeightMap | None = Field(default=None, description="the mask `hr_weight` of HR; null for none")
    bad_pictures: Literal["skip", "stop"] = Field(
        default="skip",
        description="what to do with a picture that cannot be read: report and skip it, or stop",
    )
    pictures_per_shard: PositiveInt = 4

    @property
    def source(self) -> str:
        """What it is made of: a data set, the part of it where it has several, and its own LR where that is read."""
        if self.lr:
            return f"{self.train} with the LR in {self.lr}"
        if self.degradation and self.degradation.type == "paired":
            further = f" {' '.join(map(str, self.lr_scales))}" if self.lr_scales else ""
            return f"{self.train} with its LR{further}"
        return f"{self.train}:{self.split}" if self.label else self.train

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a row's picture in HR pixels."""
        return sides(self.subimages.size if self.subimages else SIDE * (self.enlarge.scale if self.enlarge else 1))

    @model_validator(mode="before")
    @classmethod
    def _two_folders(cls, content: Any) -> Any:
        """Where LR is given it is not made, whatever the pipeline did with other pictures."""
        given = of_two_folders(content, "train")
        return content if given is content else {**given, "degradation": {"type": "paired"}}

    @model_validator(mode="before")
    @classmethod
    def _nothing_restored(cls, content: Any) -> Any:
        """Pictures with labels have no LR unless it is asked for."""
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
        if classified and (self.degradation or self.detail or self.weight_map):
            raise ValueError("degradation, detail, weight_map: not of classified pictures; leave them out")
        made = self.degradation or self.detail or self.weight_map
        if self.subimages and self.subimages.stride == "anywhere" and made:
            raise ValueError("subimages.stride: of pictures cut anywhere no degradation, detail, weight_map is stored")
        whole = self.label or (self.subimages and self.subimages.stride == "anywhere")
        if self.subimages and whole and len(set(sides(self.subimages.size))) > 1:
            raise ValueError("subimages.size: one number where pictures are scored or stay whole")
        if not self.label and self.split != "train":
            raise ValueError("split: for scored and classified pictures; name another data set in `train`")
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> DataSettings:
        if self.lr and (self.label or self.lr_scales or not self.degradation or self.degradation.type != "paired"):
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


LABELS = {
    "distribution": Column(dtype="float32", shape=(BINS,), divisor=1, coding="label"),
    "class": Column(dtype="int64", shape=(1,), divisor=1, coding="label"),
    "hr_differences": Column(dtype="float64", shape=(2,), divisor=1, coding="label"),
    "hr_bytes": Column(dtype="int64", shape=(1,), divisor=1, coding="label"),
}
"""The columns of labels: the shares of ten scores, a class, a whole picture's `difference_statistics`, and how
many bytes its file has."""


def columns_of(settings: DataSettings, scale: int) -> dict[str, Column]:
    """Return the tensor columns of the shard set.

    Raises:
        ConfigError: when the sub-images do not fit the scale.
    """
    divisors = {"hr": 1, **lr_columns(settings, scale)}
    for key, value in settings.subimages.model_dump().items() if settings.subimages else ():
        if wrong := [] if isinstance(value, str) else uneven(value, divisors.values()):
            raise ConfigError(
                f"{shown(value)} is no multiple of the scale {wrong[0]}",
                where=f"data.subimages.{key}",
                fix="choose a multiple",
            )
    columns = {name: _column(settings.size, d, "pixels", 3) for name, d in divisors.items()}
    if settings.subimages and settings.subimages.stride == "anywhere":
        columns = {"hr": _column(settings.size, 1, "encoded", 3), "hr_bytes": LABELS["hr_bytes"]}
    if settings.detail and settings.detail_margin is None:
        coding = CODINGS[settings.detail.type]
        analysed = {name: divisors[name] for name in ("hr", "lr") if name in divisors}
        columns |= {
            f"{name}_detail": _column(settings.size, d, coding, CHANNELS[coding]) for name, d in analysed.items()
        }
    if settings.label:
        columns[settings.label] = LABELS[settings.label]
    if settings.weight_map:
        columns["hr_differences"] = LABELS["hr_differences"]
    return columns


def lr_columns(settings: DataSettings, scale: int) -> dict[str, int]:
    """Return the columns of LR pictures and how many times smaller than HR they are."""
    if settings.degradation is None:
        return {}
    return {"lr": scale, **{f"lr_x{further}": further for further in settings.lr_scales}}


def stored_scales(settings: DataSettings, scale: int) -> list[int]:
    """Return the scales at which the data set's own LR pictures are read."""
    paired = settings.degradation is not None and settings.degradation.type == "paired"
    return list(lr_columns(settings, scale).values()) if paired else []


def _column(size: tuple[int, int], divisor: int, coding: Coding, channels: int) -> Column:
    dtype = "uint8" if coding in ("pixels", "encoded") else "float16"
    return Column(dtype=dtype, shape=(size[0] // divisor, size[1] // divisor, channels), divisor=divisor, coding=coding)


def dataset_fingerprint(settings: DataSettings, scale: int, pictures: Checked, enlarger: str = "") -> str:
    """Return the fingerprint of the shard set that these settings make of these pictures.

    It depends on the pictures' names and contents and on all other settings, not on where the pictures lie, nor on
    detail layers that the shards do not hold.

    Args:
        enlarger: the fingerprint of the model that enlarges them.

    Raises:
        ConfigError: when the sub-images do not fit the scale.
    """
    return columns_fingerprint(settings, scale, pictures, columns_of(settings, scale), enlarger)


def columns_fingerprint(
    settings: DataSettings, scale: int, pictures: Checked, columns: Iterable[str], enlarger: str = ""
) -> str:
    """Return the fingerprint of a shard set's pictures and some of its columns: a stage depends on no more.

    Raises:
        ConfigError: when the sub-images do not fit the scale.
    """
    stored = columns_of(settings, scale).keys() & set(columns)
    layers = sorted(name for name in stored if name.endswith("_detail"))
    apart: dict[str, Any] = dict.fromkeys(("train", "lr", "split", "detail", "detail_margin", "weight_map"), True)
    if settings.enlarge and settings.enlarge.by != BICUBIC:
        apart["enlarge"] = {"by"}
    content = {
        "version": SHARD_VERSION,
        "settings": settings.model_dump(mode="json", exclude=apart),
        "scale": scale,
        "sources": pictures,
        "layers": {name: settings.detail.model_dump(mode="json") for name in layers if settings.detail},
        "differences": "hr_differences" in stored,
        "enlarger": enlarger,
    }
    if raised := limits.others():
        content["limits"] = raised  # they decide which pictures are left out
    return fingerprint(content)
