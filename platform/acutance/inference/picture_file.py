"""Restores one picture file into another, unless the result exists already."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from acutance import storage
from acutance.cluster.hardware import device_of
from acutance.data.decode import decode_image
from acutance.data.metadata import NO_METADATA
from acutance.data.pictures import read_file
from acutance.errors import AcutanceError
from acutance.inference.decoded_images import restore_decoded
from acutance.inference.encode import SUFFIXES, check_format, lossy_file, png_files
from acutance.inference.origin import chunk_of, is_marked, mark_of
from acutance.models.model_file import load_model

OnRows = Callable[[int, int], None]
"""Called with (finished rows, all rows)."""


class Restorer(NamedTuple):
    """A network on its device, its description, and the SHA-256 of the model file."""

    network: nn.Module
    description: dict[str, Any]
    sha256: str


class Outcome(NamedTuple):
    """The result for one picture; `why` is the reason of a failure."""

    source: str
    target: str
    state: Literal["written", "kept", "failed"]
    why: str = ""


def read_model(uri: str) -> tuple[bytes, str]:
    """Return the bytes of a model file, to be sent to other machines, and their SHA-256.

    Raises:
        ModelError: when it is missing, damaged, or not a model file.
    """
    load_model(uri)  # an error comes once from here, and not from every process
    content = storage.read_bytes(uri)
    return content, hashlib.sha256(content).hexdigest()


def open_restorer(content: bytes, sha256: str, device: str | None = None) -> Restorer:
    """Build the network from a model file's bytes on a device; None is the GPU if there is one."""
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(content)
        file.flush()
        network, description = load_model(file.name)
    where = device or device_of(float(torch.cuda.is_available()))
    return Restorer(network.to(where), description, sha256)


def restore_file(
    restorer: Restorer, source: str, target: str, on_rows: OnRows | None = None, *, strip: bool = False
) -> Outcome:
    """Restore a picture file into `target`; its suffix says the format. A failure is returned, not raised.

    A PNG that this model made from this source is kept. Other formats hold no note of their origin and are made again.

    Args:
        strip: leave out the metadata: EXIF, XMP, dots per inch. The colour profile stays.
    """
    try:
        state = _restore_file(restorer, source, target, on_rows or (lambda *_: None), strip)
    except AcutanceError as error:
        return Outcome(source, target, "failed", f"{error.what}; {error.fix}" if error.fix else error.what)
    except Exception as error:  # one bad picture of thousands must not end the run
        return Outcome(source, target, "failed", f"{type(error).__name__}: {str(error)[:200]}")
    return Outcome(source, target, state)


def _restore_file(
    restorer: Restorer, source: str, target: str, on_rows: OnRows, strip: bool
) -> Literal["written", "kept"]:
    form = SUFFIXES[PurePosixPath(target).suffix.lower()]
    content = read_file(source)
    mark = mark_of(restorer.sha256, content, strip=strip)
    if form == "PNG" and is_marked(target, mark):
        return "kept"
    picture = decode_image(content)
    picture = replace(picture, about=NO_METADATA) if strip else picture
    scale = int(restorer.description["scale"])
    check_format(form, picture, scale)
    bands = _with_progress(
        restore_decoded(restorer.network, restorer.description, [picture]), picture.pixels.shape[0] * scale, on_rows
    )
    if form == "PNG":
        storage.write_bytes(target, png_files(bands, [picture], scale, notes=(chunk_of(mark),))[0])
    else:
        storage.write_bytes(target, lossy_file(bands, picture, form))
    return "written"


def _with_progress(bands: Iterator[list[np.ndarray]], height: int, on_rows: OnRows) -> Iterator[list[np.ndarray]]:
    done = 0
    for band in bands:
        yield band
        done += len(band[0])
        on_rows(done, height)
