"""The columns of a shard set, and its fingerprint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from acutance.config import limits
from acutance.config.data import BICUBIC, DataSettings, DerivedColumn, closure
from acutance.config.size import shown, uneven
from acutance.data.manifest import SHARD_VERSION, Coding, Column
from acutance.data.scored import BINS
from acutance.errors import ConfigError
from acutance.fingerprint import fingerprint
from acutance.imaging.derivations import stored_shape

PictureChecksums = list[tuple[str, str]]
"""The name and the checksum of each picture of a training set, and of its own LR where that is read."""


class Content(NamedTuple):
    """The pictures of a training set, and notes that models trained on it must show."""

    inputs: PictureChecksums
    notes: tuple[str, ...] = ()


Contents = dict[str, Content]
"""`DataSettings.source` -> content."""


LABELS = {
    "distribution": Column(dtype="float32", shape=(BINS,), divisor=1, coding="label"),
    "class": Column(dtype="int64", shape=(1,), divisor=1, coding="label"),
    "hr_bytes": Column(dtype="int64", shape=(1,), divisor=1, coding="label"),
}
"""The columns of labels: probabilities of ten scores, a class, and the bytes of a picture's file."""


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
    if settings.label:
        columns[settings.label] = LABELS[settings.label]
    for name, derived in settings.stored.items():
        columns[name] = _derived_column(name, derived, settings.size, columns)
    return columns


def _derived_column(name: str, derived: DerivedColumn, size: tuple[int, int], columns: dict[str, Column]) -> Column:
    """Return the format of a stored derived column: pixels in 16 bits, or some values of the whole picture."""
    if missing := [source for source in derived.sources if source not in columns]:
        where, fix = f"data.derive.{name}.of", f"name one of {', '.join(columns)}"
        raise ConfigError(f"the shards hold no column {missing[0]!r}", where=where, fix=fix)
    sources = [columns[source] for source in derived.sources]
    shape = stored_shape(
        derived, [source.shape[-1] if len(source.shape) == 3 else -source.shape[0] for source in sources]
    )
    if len(shape) == 1:
        return Column(dtype="float64", shape=shape, divisor=1, coding="label")
    channels, smaller = shape
    return _column(size, sources[0].divisor * smaller, getattr(derived.part, "coding", "value"), channels)


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


def dataset_fingerprint(settings: DataSettings, scale: int, pictures: PictureChecksums, enlarger: str = "") -> str:
    """Return the fingerprint of the shard set that these settings make of these pictures.

    It depends on the pictures' names and contents and on all other settings, not on where the pictures lie, nor on
    derived columns that the shards do not hold.

    Args:
        enlarger: the fingerprint of the model that enlarges them.

    Raises:
        ConfigError: when the sub-images do not fit the scale.
    """
    return columns_fingerprint(settings, scale, pictures, columns_of(settings, scale), enlarger)


def columns_fingerprint(
    settings: DataSettings, scale: int, pictures: PictureChecksums, columns: Iterable[str], enlarger: str = ""
) -> str:
    """Return the fingerprint of a shard set's pictures and some columns: all that a stage depends on.

    Raises:
        ConfigError: when the sub-images do not fit the scale.
    """
    columns_of(settings, scale)  # sub-images that do not fit are an error
    read = closure(columns, settings.stored)
    excluded: dict[str, Any] = dict.fromkeys(("train", "lr", "split", "derive"), True)
    if settings.enlarge and settings.enlarge.by != BICUBIC:
        excluded["enlarge"] = {"by"}
    derived = {name: column for name, column in settings.stored.items() if name in read}
    content = {
        "version": SHARD_VERSION,
        "settings": settings.model_dump(mode="json", exclude=excluded),
        "scale": scale,
        "sources": pictures,
        "derived": {name: column.model_dump(mode="json", exclude={"margin"}) for name, column in derived.items()},
        "enlarger": enlarger,
    }
    if raised := limits.others():
        content["limits"] = raised  # they decide which pictures are left out
    return fingerprint(content)
