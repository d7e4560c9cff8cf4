"""The shards that a campaign's trials read, made by the whole cluster before trials hold its GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from acutance.commands.context import PipelineContext
from acutance.commands.prepare import prepare_data
from acutance.commands.tune.context import CampaignContext
from acutance.config.pipeline import with_values
from acutance.config.search_space.parameters import Choices, grid
from acutance.errors import ConfigError
from acutance.fingerprint import fingerprint

Values = dict[str, Any]


def prepare_trials(context: CampaignContext) -> None:
    """Make the shards of every row of a table, every point of a grid, and all that a search may choose.

    The caller has connected to Ray. What is known only once a trial has begun is left to the trial: shards for a value
    out of a range, and pictures that are enlarged by a stage that it trains.

    Raises:
        DataError: as `prepare_data`.
    """
    ready = set()
    if context.search.points is None:
        prepare_data(context.base, context.campaign.stage)
        ready.add(_shards_key(context.base, context))
    for values in _known_values(context):
        trial = _trial_pipeline(context, values)
        if trial is not None and (key := _shards_key(trial, context)) not in ready:
            prepare_data(trial, context.campaign.stage)
            ready.add(key)


def _known_values(context: CampaignContext) -> Iterator[Values]:
    """Yield the values of trials by dotted path; for a search only the choices that shards depend on."""
    if context.search.points is not None:
        yield from (point.values for point in context.search.points)
        return
    shared, needed = _shards_key(context.base, context), set[str]()
    choices = {name: one for name, one in context.campaign.parameters.items() if isinstance(one, Choices)}
    for name, parameter in reversed(choices.items()):  # a condition refers to earlier parameters
        trials = [_trial_pipeline(context, context.campaign.placed({name: value})) for value in parameter.choice]
        if name in needed or any(trial and _shards_key(trial, context) != shared for trial in trials):
            needed |= {name, *parameter.when}
    for chosen in grid({name: parameter for name, parameter in choices.items() if name in needed}):
        yield context.campaign.placed(chosen)


def _trial_pipeline(context: CampaignContext, values: Values) -> PipelineContext | None:
    """Return the pipeline of a trial with some values; None if they conflict, which the trial then reports."""
    content = context.search.base.model_dump(mode="json", by_alias=True)
    try:
        pipeline = with_values(content, context.campaign.stage, values, 0, str(context.file))
    except ConfigError:
        return None
    return replace(context.base, pipeline=pipeline.shortened())


def _shards_key(trial: PipelineContext, context: CampaignContext) -> str:
    """Return a fingerprint of the settings that determine the shards of a trial; no picture is read."""
    data = trial.data(context.campaign.stage)
    stages = trial.pipeline.model_dump(mode="json", include={"stages"}) if any(one.enlarge for one in data) else {}
    return fingerprint([trial.pipeline.scale, stages, *(one.model_dump(mode="json") for one in data)])
