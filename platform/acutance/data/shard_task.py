"""The Ray Data task that makes one shard from a fixed list of pictures.

The shard does not depend on when and where it is made. A JSON note beside it is written last: it is then complete.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from PIL import Image
from pydantic import AfterValidator, Field

from acutance import storage
from acutance.cluster.hardware import device_of
from acutance.config.data import DataSettings
from acutance.config.schema import Strict
from acutance.config.size import is_lr_of, shown, sides
from acutance.data import subimages
from acutance.data.attempts import MOST, Attempts
from acutance.data.columns import columns_of
from acutance.data.inputs import Excerpt, File, Picture
from acutance.data.manifest import PreparedSource, Shard, Skipped, is_intact
from acutance.data.pictures import PictureError, encode_png, read_picture
from acutance.data.shards import ShardWriter
from acutance.errors import AcutanceError, DamagedError, DataError
from acutance.parts.sources import register
from acutance.silence import silence_libraries

Enlarge = Callable[[np.ndarray, str], np.ndarray]
"""Enlarges pictures uint8 (N, h, w, 3) on a torch device; it is pickled and sent to the nodes."""


def _registered(code: list[dict[str, str]]) -> list[dict[str, str]]:
    for one in code:
        register(one["name"], one["text"])
    return code


class Task(Strict):
    """All that a node needs to make one shard of a set; `dataset` is the set's fingerprint, `run` a call of `prepare`.

    `code` holds the user's files of parts that the settings name; they are registered before the settings are read.
    """

    code: Annotated[list[dict[str, str]], AfterValidator(_registered)] = Field(default_factory=list)
    number: int
    inputs: list[Picture] | list[Excerpt]
    settings: DataSettings
    scale: int
    folder: str
    dataset: str = ""
    run: str = ""


class Part(Strict):
    """The result of a task; stored beside the shard, after it, with the fingerprint of its set."""

    dataset: str = ""
    sources: list[PreparedSource]
    skipped: list[Skipped]
    shard: Shard | None


class Report(Strict):
    """What a task returns: its part, or the error that ends the run."""

    number: int
    kept: bool = False
    part: Part | None = None
    failure: tuple[str, str, str | None, str | None] | None = None


def run_task(row: dict[str, Any], enlarge: Enlarge | None = None, gpus: float = 0) -> dict[str, Any]:
    """Do the `task` of a row (JSON of a Task) and return its `report` (JSON of a Report); Ray has given it `gpus`."""
    silence_libraries()
    task = Task.model_validate_json(row["task"])
    try:
        report = _make_shard(task, enlarge, device_of(gpus))
    except AcutanceError as error:
        failure = (type(error).__name__, error.what, error.where, error.fix)
        report = Report(number=task.number, failure=failure)
    except OSError as error:
        what = f"a shard cannot be made: {error.strerror or error}"
        report = Report(number=task.number, failure=("DataError", what, task.folder, "mend the storage"))
    return {"report": report.model_dump_json()}


def _make_shard(task: Task, enlarge: Enlarge | None, device: str) -> Report:
    """Make one shard unless it is complete already.

    Raises:
        DataError: for a picture that changed, that this node cannot read, or that is bad where bad ones stop the run.
    """
    file, note = f"{task.number:05d}.parquet", storage.join(task.folder, f"{task.number:05d}.json")
    part = _stored_part(task, note)
    if part is not None:
        return Report(number=task.number, part=part, kept=True)
    writer = ShardWriter(columns_of(task.settings, task.scale))
    attempts = Attempts(storage.join(task.folder, f"{task.number:05d}.attempts.json"), task.run)
    sources, skipped = [], []
    for one in task.inputs:
        try:
            if attempts.are_exhausted(one.name):
                raise _crashed(one, task.settings)
            attempts.begin(one.name)
            if isinstance(one, Excerpt):
                rows = _add_excerpt(writer, one, enlarge, device)
            else:
                rows = _add_picture(writer, one, task, device)
            sources.append(PreparedSource(name=one.name, sha256=one.sha256, rows=rows))
        except _LeftOut as reason:
            skipped.append(Skipped(name=one.name, reason=str(reason)))
        attempts.end(one.name)
    attempts.forget()
    shard = writer.store(task.folder, file) if writer.rows else None
    part = Part(dataset=task.dataset, sources=sources, skipped=skipped, shard=shard)
    storage.write_json(note, part.model_dump(mode="json"))
    return Report(number=task.number, part=part)


class _LeftOut(Exception):  # noqa: N818 - not an error: the reason to go on without a picture
    pass


def _stored_part(task: Task, note: str) -> Part | None:
    try:
        part = Part.model_validate(storage.read_json(note))
    except (FileNotFoundError, DamagedError, ValueError):
        return None
    intact = part.shard is None or is_intact(task.folder, part.shard)
    return part if intact and part.dataset == task.dataset else None


def _add_picture(writer: ShardWriter, picture: Picture, task: Task, device: str) -> int:
    """Cut one picture into the shard; return its number of sub-images."""
    columns, cuts = columns_of(task.settings, task.scale), task.settings.subimages
    assert cuts is not None  # whole pictures are excerpts
    divisors = [c.divisor for c in columns.values()]
    if cuts.stride == "anywhere":
        return _add_file(writer, picture, task)
    whole = _read(picture, task.settings)
    if picture.distribution:
        whole = _at_least(whole, min(sides(cuts.size)))  # of such pictures they are equal
    hr = subimages.crop_to_multiple(whole, divisors)
    height, width = hr.shape[:2]
    at = subimages.corners(height, width, cuts, math.lcm(*divisors))
    if not at:
        raise _too_small(hr, cuts.size)
    lr = {scale: _read_lr(file, scale, whole, hr, task.settings) for scale, file in picture.lr.items()}
    layers = subimages.layers(hr, task.settings, task.scale, lr, device)
    parts = {
        name: subimages.cut(layer, at, cuts.size, columns[name].divisor)
        if layer.ndim == 3
        else np.tile(layer.astype(columns[name].dtype), (len(at), 1))
        for name, layer in layers.items()
    }
    if picture.distribution:
        parts["distribution"] = np.tile(np.array(picture.distribution, np.float32), (len(at), 1))
    writer.add(picture.name, picture.sha256, at, parts)
    return len(at)


def _add_file(writer: ShardWriter, picture: Picture, task: Task) -> int:
    """Add a whole picture to the shard as its file, or as a PNG file of the enlarged picture; return 1."""
    assert task.settings.subimages is not None  # only pictures that are cut come here
    content, size = _bytes_of(picture), min(sides(task.settings.subimages.size))  # the sides are equal
    whole = _decoded(content, picture, task.settings)
    if min(whole.shape[:2]) < size:
        if not picture.distribution:
            raise _too_small(whole, size)
        content = encode_png(_at_least(whole, size))
    parts: dict[str, Any] = {"hr": [content], "hr_bytes": np.array([[len(content)]])}
    if picture.distribution:
        parts["distribution"] = np.array([picture.distribution], np.float32)
    writer.add(picture.name, picture.sha256, [(0, 0)], parts)
    return 1


def _at_least(whole: np.ndarray, size: int) -> np.ndarray:
    """Enlarge a picture whose shorter side is under `size` to it, as the released code of the predictors does."""
    height, width = whole.shape[:2]
    if min(height, width) >= size:
        return whole
    larger = tuple(max(size, round(side * size / min(height, width))) for side in (width, height))
    return np.asarray(Image.fromarray(whole).resize(larger, Image.Resampling.BILINEAR))


def _add_excerpt(writer: ShardWriter, excerpt: Excerpt, enlarge: Enlarge | None, device: str) -> int:
    """Add whole pictures and their classes to the shard; return their number."""
    found = excerpt.read()
    pixels = enlarge(found.pixels, device) if enlarge else found.pixels
    at = [(0, 0)] * len(pixels)
    writer.add(excerpt.name, excerpt.sha256, at, {"hr": pixels, "class": found.labels[:, None]})
    return len(pixels)


def _read_lr(file: File, scale: int, whole: np.ndarray, hr: np.ndarray, settings: DataSettings) -> np.ndarray:
    """Return a picture's own LR, cut as `hr` was cut from the whole picture; its last pixels may be parts of one."""
    lr = _read(file, settings, "its LR: ")
    if not is_lr_of(lr.shape[:2], whole.shape[:2], scale):
        sizes = f"{lr.shape[1]}x{lr.shape[0]} at x{scale} is not {whole.shape[1]}x{whole.shape[0]}"
        raise _unusable(f"its LR: {sizes}", file, settings)
    return lr[: hr.shape[0] // scale, : hr.shape[1] // scale]


def _too_small(picture: np.ndarray, size: int | tuple[int, int]) -> _LeftOut:
    height, width = picture.shape[:2]
    return _LeftOut(f"it is {width}x{height} pixels, smaller than a sub-image ({shown(size)})")


def _read(picture: File, settings: DataSettings, which: str = "") -> np.ndarray:
    return _decoded(_bytes_of(picture), picture, settings, which)


def _bytes_of(picture: File) -> bytes:
    try:
        content = storage.read_bytes(picture.path)
    except OSError:
        fix = "put the pictures into an object store, or where every node finds them at the same path"
        raise DataError("a node of the cluster cannot read this picture", where=picture.path, fix=fix) from None
    if hashlib.sha256(content).hexdigest() != picture.sha256:
        raise DataError("this picture changed while it was being prepared", where=picture.path, fix="run it again")
    return content


def _decoded(content: bytes, picture: File, settings: DataSettings, which: str = "") -> np.ndarray:
    try:
        return read_picture(content)
    except PictureError as error:
        raise _unusable(which + error.what, picture, settings) from None


def _crashed(one: Picture | Excerpt, settings: DataSettings) -> Exception:
    why = f"its worker died {MOST} times: it needs more memory than there is, or crashes its decoder"
    if isinstance(one, Picture):
        return _unusable(why, one, settings)
    return DataError(f"these pictures cannot be used: {why}", where=one.name, fix="mend or remove the file they are in")


def _unusable(why: str, picture: File, settings: DataSettings) -> Exception:
    if settings.bad_pictures == "skip":
        return _LeftOut(why)
    fix = "mend or remove it, or set data.bad_pictures=skip"
    return DataError(f"a picture cannot be used: {why}", where=picture.path, fix=fix)
