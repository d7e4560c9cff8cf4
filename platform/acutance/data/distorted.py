"""Makes distorted pictures in TID2013's layout from real pictures; their scores come from a metric, not from people.

So score predictors can be trained without TID2013, by its own reader. A file beside the pictures says that the scores
are synthetic, and so do models that are trained on them.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.markup import escape
from torch import Tensor
from torch.nn import functional

from acutance.console import say
from acutance.data.folders import Source
from acutance.data.pictures import PictureError, read_file, read_picture
from acutance.data.scored import BINS, SYNTHETIC, TID_VALIDATION
from acutance.errors import ConfigError, DataError
from acutance.fingerprint import fingerprint
from acutance.imaging.degradations import degrade
from acutance.imaging.gms import gms_map
from acutance.imaging.resize import imresize

HEIGHT, WIDTH = 256, 384
FEWEST = len(TID_VALIDATION) + 2
"""Least number of references: three are for validation, and two at least for training."""
MOST = 99
"""Most references: names have two digits."""

DISTORTIONS: dict[str, list[list[dict[str, Any]]]] = {
    "noise": [[{"type": "awgn", "sigma": sigma}] for sigma in (5, 10, 18, 30, 50)],
    "blur": [[{"type": "blur", "sigma": sigma}] for sigma in (0.7, 1.1, 1.7, 2.6, 4.0)],
    "jpeg": [[{"type": "jpeg", "quality": quality}] for quality in (70, 40, 20, 10, 5)],
    "reduction": [[{"type": "bicubic", "scale": scale}] for scale in (2, 3, 4, 6, 8)],
    "blur and noise": [
        [{"type": "blur", "sigma": sigma}, {"type": "awgn", "sigma": noise}]
        for sigma, noise in ((0.6, 4), (0.9, 8), (1.4, 14), (2.1, 24), (3.2, 40))
    ],
    "reduction and jpeg": [
        [{"type": "bicubic", "scale": scale}, {"type": "jpeg", "quality": quality}]
        for scale, quality in ((2, 90), (2, 50), (3, 50), (4, 30), (4, 10))
    ],
}
"""Five levels of each, from mild to strong; what a reduction has shrunk is enlarged again."""

DEVIATION = 0.13
"""Standard deviation of all scores: the median of TID2013's."""

VERSION = 1
"""Counts changes after which the same pictures give other files."""


@dataclass(frozen=True)
class Distorted:
    """The result: its folder and its numbers of references and distorted pictures; `fresh` if just made."""

    folder: str
    references: int
    pictures: int
    fresh: bool


def distort(
    sources: Sequence[Source],
    folder: Path,
    *,
    references: int = 25,
    on_progress: Callable[[int, str], None] = lambda *_: None,
) -> Distorted:
    """Write a data set in the layout of TID2013, whole or not at all; the same pictures make the same files.

    References are the centres, 384 x 256, of the first pictures that can be read and are that large. The scores are
    `opinion` of the distorted and the true picture. `synthetic.json` is written last.

    Args:
        sources: real pictures.
        folder: of the data set; nothing is done where it exists already.
        references: how many pictures to take, 5 to 99; TID2013 has 25.
        on_progress: called with (references done, the newest one's name).

    Raises:
        ConfigError: for another number of references.
        DataError: for too few pictures, and for a folder that holds something else.
    """
    if not FEWEST <= references <= MOST:
        fix = f"ask for {FEWEST} to {MOST}; the first three are for validation"
        raise ConfigError(f"{references} references are too few or too many", where="references", fix=fix)
    references_used = _references(sources, references)
    about = _about(references_used)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if _synthetic_file(folder) != about:
            raise DataError("this folder holds something else", where=str(folder), fix="name a new folder")
        return Distorted(str(folder), references, _count(references), fresh=False)
    aside = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed
    try:
        _write(references_used, about, aside, on_progress)
        aside.replace(folder)
    except OSError as error:
        raise DataError(f"the pictures cannot be written: {error.strerror}", where=str(folder)) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return Distorted(str(folder), references, _count(references), fresh=True)


def opinion(picture: Tensor, reference: Tensor) -> float:
    """Return a stand-in for a mean opinion score, 0 to 9: 9 exp(-GMSD / 0.12).

    GMSD is that of Xue et al. ("Gradient magnitude similarity deviation", IEEE TIP 23, 2014): the deviation of the
    similarity of gradients, of pictures that are halved first.

    Args:
        picture, reference: uint8 (3, H, W).
    """
    halved = [functional.avg_pool2d(each.float(), 2) for each in (picture, reference)]
    gmsd = gms_map(halved[0], halved[1]).std(correction=0).item()
    return (BINS - 1) * math.exp(-gmsd / 0.12)


def distorted(reference: Tensor, steps: Sequence[dict[str, Any]], seed: int) -> Tensor:
    """Apply degradations to uint8 (3, H, W), enlarge what has become smaller, and round to uint8 (3, H, W)."""
    height, width = reference.shape[-2:]
    degraded_picture = degrade(reference, steps, seed)
    levels = degraded_picture.float() if degraded_picture.dtype == torch.uint8 else degraded_picture * 255
    if levels.shape != reference.shape:
        levels = imresize(levels, round(width / levels.shape[-1]), (height, width))
    return levels.round().clamp(0, 255).to(torch.uint8)


def _references(sources: Sequence[Source], count: int) -> list[Source]:
    """Return the first sources whose pictures can be read and are large enough."""
    references_used: list[Source] = []
    for source in sources:
        if len(references_used) == count:
            break
        try:
            height, width = read_picture(source.path).shape[:2]
        except PictureError as error:
            say(escape(f"  left out {source.name}: {error.what}"))
            continue
        if height >= HEIGHT and width >= WIDTH:
            references_used.append(source)
    if len(references_used) < count:
        what = f"{len(references_used)} pictures of {WIDTH} x {HEIGHT} pixels or more are here, {count} are asked for"
        raise DataError(what, fix="give larger pictures, or ask for fewer references")
    return references_used


def _write(sources: list[Source], about: dict[str, Any], folder: Path, on_progress: Callable[[int, str], None]) -> None:
    for name in ("reference_images", "distorted_images"):
        (folder / name).mkdir(parents=True)
    scores: list[str] = []
    for number, source in enumerate(sources, start=1):
        reference = _centre(read_picture(source.path))
        _write_bmp(folder / "reference_images" / f"I{number:02}.BMP", reference)
        for kind, levels in enumerate(DISTORTIONS.values(), start=1):
            for level, steps in enumerate(levels, start=1):
                name = f"i{number:02}_{kind:02}_{level}.bmp"
                picture = distorted(reference, steps, int(fingerprint([VERSION, name]), 16))
                _write_bmp(folder / "distorted_images" / name, picture)
                scores.append(f"{opinion(picture, reference):.5f} {name}\n")
        on_progress(number, source.name)
    (folder / "mos_with_names.txt").write_text("".join(scores))
    (folder / "mos_std.txt").write_text(f"{DEVIATION}\n" * len(scores))
    (folder / SYNTHETIC).write_text(json.dumps(about, indent=2) + "\n")


def _about(sources: list[Source]) -> dict[str, Any]:
    """Return the content of the SYNTHETIC file: all that determines the data set."""
    return {
        "version": VERSION,
        "scores": "synthetic",
        "metric": "9 exp(-GMSD / 0.12)",
        "deviation": DEVIATION,
        "distortions": DISTORTIONS,
        "references": [[source.name, hashlib.sha256(read_file(source.path)).hexdigest()] for source in sources],
    }


def _synthetic_file(folder: Path) -> Any:
    """Return the content of a folder's SYNTHETIC file; None where there is none that can be read."""
    try:
        return json.loads((folder / SYNTHETIC).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _count(references: int) -> int:
    return references * sum(map(len, DISTORTIONS.values()))


def _centre(pixels: np.ndarray) -> Tensor:
    """Return the middle of a picture as uint8 (3, HEIGHT, WIDTH)."""
    top, left = (pixels.shape[0] - HEIGHT) // 2, (pixels.shape[1] - WIDTH) // 2
    return torch.from_numpy(pixels[top : top + HEIGHT, left : left + WIDTH].copy()).movedim(-1, 0)


def _write_bmp(path: Path, picture: Tensor) -> None:
    file = io.BytesIO()
    Image.fromarray(picture.movedim(0, -1).contiguous().numpy()).save(file, format="BMP")
    path.write_bytes(file.getvalue())
