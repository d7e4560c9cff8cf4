"""The values of a stage's validations, by step, in a file beside its model: what decides by them is a function of them.

They are a function of (weights, data), so that a resumed training has the same ones as an undisturbed one.
"""

from __future__ import annotations

import math

from acutance import storage
from acutance.config.metrics import MEASURES, METRICS
from acutance.config.pipeline.validation import Validation, Watched
from acutance.errors import DamagedError, TrainingError
from acutance.training.stage_plan import StagePlan

VALIDATION = "validation.json"
"""The file, beside the model, with the values by step."""

Values = dict[str, float]

Scores = dict[int, Values]
"""Step -> the values of its validation, by `Validation.names`."""


def read_scores(folder: str) -> Scores:
    """Return the values of a stage's validations so far.

    Args:
        folder: URI of the stage's folder.

    Raises:
        TrainingError: when the file is damaged.
    """
    file = storage.join(folder, VALIDATION)
    try:
        content = storage.read_json(file) if storage.exists(file) else {}
    except DamagedError as error:
        fix = f"delete {folder}: the stage is then trained and measured again"
        raise TrainingError(error.what, where=file, fix=fix) from None
    return {int(step): {name: math.nan if v is None else v for name, v in row.items()} for step, row in content.items()}


def write_scores(folder: str, scores: Scores) -> None:
    """Write all values of a stage's validations, whole or not at all."""
    content = {step: {name: None if math.isnan(v) else v for name, v in row.items()} for step, row in scores.items()}
    storage.write_json(storage.join(folder, VALIDATION), dict(sorted(content.items())))


def best_steps(scores: Scores, validation: Validation, watched: Watched) -> list[int]:
    """Return the steps that have a value, best first; of equal ones the earlier is better."""
    name, sign = validation.name_of(watched), -1 if validation.more_is_better(watched.metric) else 1
    values = {step: sign * row.get(name, math.nan) for step, row in scores.items()}
    return sorted(
        (step for step, value in values.items() if not math.isnan(value)), key=lambda step: (values[step], step)
    )


def stop_reason(plan: StagePlan, scores: Scores, step: int) -> str:
    """Return why a training stops at a step, by the validations before it; empty where it goes on.

    The validation of the step itself does not count, so that it may still run, elsewhere, while the training goes on.
    """
    validation = plan.stage.validation
    patience = validation.patience if validation else None
    if validation is None or patience is None:
        return ""
    earlier = {at: row for at, row in scores.items() if at < step}
    best = best_steps(earlier, validation, patience)[:1]
    since = [at for at in earlier if not best or at > best[0]]
    if len(since) < patience.validations:
        return ""
    name = validation.name_of(patience)
    reached = f"since {earlier[best[0]][name]:.6g} at step {best[0]}" if best else "ever had a value"
    return f"{name} did not get better in {len(since)} validations {reached}" if best else f"{name} never {reached}"


def require_accepted(plan: StagePlan) -> None:
    """Refuse a finished stage that is worse than its setting `accept`; the same settings would give the same result.

    Raises:
        TrainingError: with the value and the limit.
    """
    accepted, validation = plan.stage.accept, plan.stage.validation
    if not accepted or validation is None:
        return
    last, names = max(read_scores(plan.folder).items(), default=(0, {}))[1], validation.names()
    for name, worst in accepted.items():
        metric, value = names[name][0], last.get(name, math.nan)
        more_is_better = validation.more_is_better(metric)
        if not (value >= worst if more_is_better else value <= worst):
            limit = f"{worst:g} or {'more' if more_is_better else 'less'} was asked for"
            digits = (METRICS if validation.of_pictures else MEASURES)[metric].digits
            raise TrainingError(
                f"{plan.name} is not accepted: its {name} is {value:.{digits}f}, {limit}",
                where=f"stages.{plan.name}.accept",
                fix="train it longer or otherwise, or accept less; what needs it was not trained",
            )
