"""A model on a picture or a folder of pictures."""

from __future__ import annotations

from pathlib import Path

import torch

from acutance.console import progress
from acutance.data.datasets import Catalogue
from acutance.data.pictures import PictureError, read_picture, write_picture
from acutance.errors import DataError
from acutance.models.model_file import load_model
from acutance.models.restore import restore


def upscale_pictures(model: str, source: str, target: str) -> tuple[list[Path], dict[str, str]]:
    """Restore a picture into a PNG file, or a folder of them into a folder of PNG files of the same names.

    Args:
        model: URI of a model file.

    Returns:
        The files written, and for each picture that could not be read the reason.

    Raises:
        DataError: when the input does not exist or holds no picture.
        ModelError: when the model cannot be read.
    """
    network, description = load_model(model)
    network = network.to("cuda" if torch.cuda.is_available() else "cpu")
    pairs = _pairs(Path(source), Path(target))
    written, failed = [], {}
    with progress("upscale", len(pairs)) as update:
        for done, (picture, file) in enumerate(pairs, 1):
            try:
                write_picture(file, restore(network, description, read_picture(picture, minimum_side=1))["image"])
                written.append(file)
            except PictureError as error:
                failed[str(picture)] = error.what
            update(done, picture.name)
    return written, failed


def _pairs(source: Path, target: Path) -> list[tuple[Path, Path]]:
    if source.is_file():
        file = target / f"{source.stem}.png" if target.is_dir() else target
        if file.suffix.lower() != ".png":
            raise DataError("pictures are written as PNG", where=str(file), fix="give a name ending in .png")
        return [(source, file)]
    if not source.is_dir():
        raise DataError("there is no such picture or folder", where=str(source), fix="check the path")
    pictures = Catalogue({}, "").find(str(source.absolute()))
    return [(picture.path, target / f"{picture.name}.png") for picture in pictures]
