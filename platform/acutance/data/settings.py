"""What a pipeline says of its training data, and the fingerprint of the shard set that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from acutance.data.datasets import Source
from acutance.data.degradations import DEGRADATIONS
from acutance.data.manifest import SHARD_VERSION, Coding, Column
from acutance.errors import ConfigError, DataError
from acutance.fingerprint import file_sha256, fingerprint
from acutance.imaging.extractors import CHANNELS, CODINGS, EXTRACTORS
from acutance.schema import Strict, choice_of

Checked = list[tuple[str, str]]
"""The name and the checksum of each picture of a training set."""


class SubImages(Strict):
    """How a picture is cut: squares of `size` HR pixels, one every `stride`, the last at the border."""

    size: PositiveInt
    stride: PositiveInt


class DataSettings(Strict):
    """What a pipeline trains on."""

    train: str = Field(description="a dataset of the catalogue, or the path of a folder of pictures")
    subimages: SubImages
    degradation: choice_of(DEGRADATIONS, skip=2) | None = Field(  # type: ignore[valid-type]
        default={"type": "bicubic"}, validate_default=True, description="how LR comes from HR; null for no LR"
    )
    lr_scales: list[PositiveInt] = Field(
        default_factory=list, description="scales of further LR pictures, columns lr_x2 and so on, made like lr"
    )
    detail: choice_of(EXTRACTORS, skip=1) | None = Field(  # type: ignore[valid-type]
        default=None, description="the extractor of detail layers; null for none"
    )
    detail_margin: PositiveInt | None = Field(
        default=None,
        description="null: detail layers are stored in the shards; a number: they are computed in the training step, "
        "of patches with so many LR pixels more on each side, and new settings of the extractor need no new shards",
    )
    bad_pictures: Literal["skip", "stop"] = Field(
        default="skip",
        description="what to do with a picture that cannot be read: report and skip it, or stop",
    )
    pictures_per_shard: PositiveInt = 4

    @model_validator(mode="after")
    def _fits_together(self) -> DataSettings:
        if self.lr_scales and self.degradation is None:
            raise ValueError("lr_scales: without a degradation there is no LR; leave them out")
        return self


def columns_of(settings: DataSettings, scale: int) -> dict[str, Column]:
    """Return the tensor columns of the shard set.

    Raises:
        ConfigError: when the sub-images do not fit the scale.
    """
    divisors = {"hr": 1, **lr_columns(settings, scale)}
    for key in ("size", "stride"):
        value = getattr(settings.subimages, key)
        if wrong := [d for d in divisors.values() if value % d]:
            raise ConfigError(
                f"{value} is no multiple of the scale {wrong[0]}",
                where=f"data.subimages.{key}",
                fix="choose a multiple",
            )
    size = settings.subimages.size
    columns = {name: _column(size // d, d, "pixels", 3) for name, d in divisors.items()}
    if settings.detail and settings.detail_margin is None:
        coding = CODINGS[settings.detail.type]
        analysed = {name: divisors[name] for name in ("hr", "lr") if name in divisors}
        columns |= {f"{name}_detail": _column(size // d, d, coding, CHANNELS[coding]) for name, d in analysed.items()}
    return columns


def lr_columns(settings: DataSettings, scale: int) -> dict[str, int]:
    """Return the columns of LR pictures and how many times smaller than HR they are."""
    if settings.degradation is None:
        return {}
    return {"lr": scale, **{f"lr_x{further}": further for further in settings.lr_scales}}


def _column(side: int, divisor: int, coding: Coding, channels: int) -> Column:
    dtype = "uint8" if coding == "pixels" else "float16"
    return Column(dtype=dtype, shape=(side, side, channels), divisor=divisor, coding=coding)


def checked(sources: Sequence[Source], scale: int) -> Checked:
    """Return the name and the SHA-256 of each picture's file.

    Raises:
        DataError: when a file cannot be read.
    """
    with ThreadPoolExecutor() as pool:
        sums = pool.map(lambda source: _checksum(str(source.hr_path(scale))), sources)
        return [(source.name, sha256) for source, sha256 in zip(sources, sums, strict=True)]


def dataset_fingerprint(settings: DataSettings, scale: int, pictures: Checked) -> str:
    """Return the fingerprint of the shard set that these settings make of these pictures.

    It depends on the pictures' names and contents and on all other settings, not on where the pictures lie, nor on
    detail layers that the shards do not hold.

    Raises:
        ConfigError: when the sub-images do not fit the scale.
    """
    stored = settings.detail if settings.detail_margin is None else None
    detail = stored.model_dump(mode="json") if stored else None
    return fingerprint({"pictures": pictures_fingerprint(settings, scale, pictures), "detail": detail})


def pictures_fingerprint(settings: DataSettings, scale: int, pictures: Checked) -> str:
    """Return the fingerprint of a shard set's pictures alone: a stage that reads no detail depends on no more.

    Raises:
        ConfigError: when the sub-images do not fit the scale.
    """
    columns_of(settings, scale)
    content = {
        "version": SHARD_VERSION,
        "settings": settings.model_dump(mode="json", exclude={"train", "detail", "detail_margin"}),
        "scale": scale,
        "sources": pictures,
    }
    return fingerprint(content)


def _checksum(path: str) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        fix = "mend its permissions or remove it"
        raise DataError(f"a picture cannot be read: {error.strerror}", where=path, fix=fix) from error
