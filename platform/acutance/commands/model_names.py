"""From what a user calls a model to its file: a registered name, a stage of a pipeline, or a path."""

from __future__ import annotations

import re

from acutance import storage
from acutance.commands.context import open_pipeline
from acutance.config.packaged import found
from acutance.config.pipeline.validation import Validation, Watched
from acutance.errors import ModelError
from acutance.registry.resolve import resolve_model
from acutance.training import checkpoint
from acutance.training.scores import best_steps, read_scores
from acutance.training.stage_plan import StagePlan

STAGE = re.compile(r"(?P<pipeline>.+):(?P<stage>[^:@]+)(?:@(?P<which>last|best|step=\d+))?")


def model_file(reference: str, root: str) -> str:
    """Return the URI of the model file that MODEL names.

    Args:
        reference: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, a file, or PIPELINE:STAGE, of which `@last` is the
            newest checkpoint while it is trained, `@best` the best one, and `@step=N` that of a step.
        root: URI of the storage root.

    Raises:
        ModelError: when it names nothing, or a stage or a step that is not there.
    """
    if storage.is_remote(reference):
        return reference
    parts = STAGE.fullmatch(reference)
    if not parts or found(parts["pipeline"], "pipelines") is None:
        return str(resolve_model(reference, root))
    name = parts["stage"]
    plan = _plan_of(parts["pipeline"], name, root)
    command = f"acutance train {parts['pipeline']} --stage {name}"
    steps = checkpoint.steps(plan.checkpoints)
    if parts["which"] is None and steps and not plan.done():
        fix = f"{command}, or take its newest checkpoint: {reference}@last"
        raise ModelError("this stage is not trained to its end yet", where=reference, fix=fix)
    if not plan.done() and not steps:
        raise ModelError("this stage is not trained yet", where=reference, fix=command)
    return _checkpoint(plan, parts["which"] or "last", reference)


def checkpoint_file(reference: str, root: str) -> str:
    """Return the URI of the checkpoint that PIPELINE:STAGE (also @best, @last, @step=N) or a path names.

    Raises:
        ModelError: when there is none.
    """
    parts = STAGE.fullmatch(reference)
    if not parts or found(parts["pipeline"], "pipelines") is None:
        return reference
    plan = _plan_of(parts["pipeline"], parts["stage"], root)
    steps, which = checkpoint.steps(plan.checkpoints), parts["which"] or "last"
    if not steps:
        what = "there is no checkpoint of this stage"
        raise ModelError(what, where=reference, fix="train it; a week after its end only those of `keep` stay")
    if which == "last":
        return checkpoint.file_of(plan.checkpoints, steps[-1])
    return _best_checkpoint(plan, steps, reference) if which == "best" else _checkpoint(plan, which, reference)


def _plan_of(pipeline: str, stage: str, root: str) -> StagePlan:
    return next(plan for plan in open_pipeline(pipeline, [], None, root).plans(stage) if plan.name == stage)


def _checkpoint(plan: StagePlan, which: str, reference: str) -> str:
    """Return the URI of a checkpoint of a stage, or of its model file where that is the same."""
    steps = checkpoint.steps(plan.checkpoints)
    if which == "last":
        return plan.model if plan.done() else checkpoint.file_of(plan.checkpoints, steps[-1])
    if which == "best":
        return _best(plan, steps, reference)
    step = int(which.removeprefix("step="))
    if step not in steps:
        there = ", ".join(map(str, steps)) or "none"
        fix = f"there are {there}; `stages.{plan.name}.keep` says which ones are kept"
        raise ModelError(f"there is no checkpoint of step {step}", where=reference, fix=fix)
    return checkpoint.file_of(plan.checkpoints, step)


def _best(plan: StagePlan, steps: list[int], reference: str) -> str:
    return plan.best_model if storage.exists(plan.best_model) else _best_checkpoint(plan, steps, reference)


def _best_checkpoint(plan: StagePlan, steps: list[int], reference: str) -> str:
    validation = plan.stage.validation
    ranked = best_steps(read_scores(plan.folder), validation, _watched(plan, validation)) if validation else []
    there = [step for step in ranked if step in steps]
    if not there:
        what = "no checkpoint of this stage has values of a validation"
        fix = f"give it stages.{plan.name}.validation and stages.{plan.name}.keep.best"
        raise ModelError(what, where=reference, fix=fix)
    return checkpoint.file_of(plan.checkpoints, there[0])


def _watched(plan: StagePlan, validation: Validation) -> Watched:
    """Return by what checkpoints are compared: as the stage says, else by the first metric of its validation."""
    return plan.stage.keep.best or Watched(metric=validation.metrics[0])
