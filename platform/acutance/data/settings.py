"""What a pipeline says of its training data, and the fingerprint of the shard set that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from pydantic import Field, PositiveInt

from acutance.data.datasets import Source
from acutance.data.degradations import DEGRADATIONS
from acutance.data.manifest import SHARD_VERSION, Column
from acutance.errors import ConfigError, DataError
from acutance.fingerprint import file_sha256, fingerprint
from acutance.imaging.detail import EXTRACTORS
from acutance.schema import Strict, choice_of


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
    detail: choice_of(EXTRACTORS, skip=1) | None = Field(  # type: ignore[valid-type]
        default=None, description="the extractor of detail layers; null for none"
    )
    bad_pictures: Literal["skip", "stop"] = Field(
        default="skip",
        description="what to do with a picture that cannot be read: report and skip it, or stop",
    )
    pictures_per_shard: PositiveInt = 4


def columns_of(settings: DataSettings, scale: int) -> dict[str, Column]:
    """Return the tensor columns of the shard set.

    Raises:
        ConfigError: when the sub-images do not fit the scale.
    """
    for key in ("size", "stride"):
        value = getattr(settings.subimages, key)
        if value % scale:
            raise ConfigError(
                f"{value} is no multiple of the scale {scale}",
                where=f"data.subimages.{key}",
                fix="choose a multiple",
            )
    divisors = {"hr": 1, "lr": scale} if settings.degradation else {"hr": 1}
    size = settings.subimages.size
    columns = {n: Column(dtype="uint8", shape=(size // d, size // d, 3), divisor=d) for n, d in divisors.items()}
    if settings.detail:
        for name, d in divisors.items():
            columns[f"{name}_detail"] = Column(dtype="float16", shape=(size // d, size // d, 1), divisor=d)
    return columns


def dataset_fingerprint(
    settings: DataSettings, scale: int, sources: Sequence[Source], *, sums: Sequence[str] | None = None
) -> str:
    """Return the fingerprint of the shard set that these settings make of these pictures.

    It depends on the pictures' names and contents and on all other settings, not on where the pictures lie.

    Args:
        sums: `checksums(sources, scale)`, where known already.

    Raises:
        ConfigError: when the sub-images do not fit the scale.
        DataError: when a file cannot be read.
    """
    columns_of(settings, scale)
    if sums is None:
        sums = checksums(sources, scale)
    return fingerprint(
        {
            "version": SHARD_VERSION,
            "settings": settings.model_dump(mode="json", exclude={"train"}),
            "scale": scale,
            "sources": [[s.name, sha] for s, sha in zip(sources, sums, strict=True)],
        }
    )


def checksums(sources: Sequence[Source], scale: int) -> list[str]:
    """Return the SHA-256 of each picture's file.

    Raises:
        DataError: when a file cannot be read.
    """
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda source: _checksum(str(source.hr_path(scale))), sources))


def _checksum(path: str) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        fix = "mend its permissions or remove it"
        raise DataError(f"a picture cannot be read: {error.strerror}", where=path, fix=fix) from error
