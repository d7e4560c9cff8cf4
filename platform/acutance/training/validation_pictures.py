"""The pictures of a training's validations: what each restored, and the sheet that shows how it changes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from acutance import storage
from acutance.config.metrics import QUANTITIES
from acutance.data.pictures import encode_png, read_picture
from acutance.evaluation.pictures import INPUT
from acutance.evaluation.timeline import Column, timeline
from acutance.training.checkpoint import step_of
from acutance.training.scores import Scores
from acutance.training.stage_plan import StagePlan
from acutance.training.validate import CROP, Crops

FOLDER = "validation"
"""The folder, beside the model, of what each validation restored."""

SHEET = "validation.png"

MOST = 8
"""Steps that the sheet shows: the first, the newest, and others spread evenly between them."""


def show_change(plan: StagePlan, scores: Scores, step: int, crops: Mapping[str, Crops]) -> bytes:
    """Keep what a validation restored, and draw the sheet anew; return it as the bytes of a PNG file."""
    names = sorted(crops)
    folder = storage.join(plan.folder, FOLDER)
    whole = [_padded(crops[name].restored) for name in names]
    storage.write_bytes(storage.join(folder, f"step-{step:08d}.png"), encode_png(np.concatenate(whole)))
    columns = [_column(plan, scores, folder, file, len(names)) for file in spread(storage.names(folder), MOST)]
    plainly = Column(INPUT if plan.scale == 1 else "bicubic", "", [_padded(crops[name].plainly) for name in names])
    truth = Column("truth", "", [_padded(crops[name].truth) for name in names])
    title = f"{plan.description.get('title', '')}: {plan.name}"
    rows = [name.rpartition("/")[2] for name in names]  # of a folder its last part
    sheet = timeline([plainly, *(column for column in columns if column), truth], rows, title=title)
    storage.write_bytes(storage.join(plan.folder, SHEET), sheet)
    return sheet


def spread(files: list[str], count: int) -> list[str]:
    """Return at most `count` of some files: the first, the last, and others spread evenly between them."""
    if len(files) <= count:
        return files
    return [files[round(index * (len(files) - 1) / (count - 1))] for index in range(count)]


def _column(plan: StagePlan, scores: Scores, folder: str, file: str, pictures: int) -> Column | None:
    """Return the column of a step; None where other pictures were shown then."""
    stack, step = read_picture(storage.join(folder, file), minimum_side=1), step_of(file)
    if stack.shape[0] != pictures * CROP:
        return None
    return Column(f"step {step}", _caption(plan, scores.get(step, {})), np.split(stack, pictures))


def _caption(plan: StagePlan, values: Mapping[str, float]) -> str:
    """Return the first value of a validation, with its name and unit."""
    validation = plan.stage.validation
    assert validation is not None
    name, (metric, _) = next(iter(validation.names().items()))
    about = QUANTITIES[metric]
    return f"{about.title} {values[name]:.{about.digits}f} {about.unit}".rstrip() if name in values else ""


def _padded(part: np.ndarray) -> np.ndarray:
    height, width = (CROP - side for side in part.shape[:2])
    return np.pad(part, ((0, height), (0, width), (0, 0)), constant_values=255)
