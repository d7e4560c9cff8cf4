"""Detects that a search space was edited after its campaign was interrupted: it is then another campaign.

What a study holds follows from its settings, so trials of other settings are never mixed. The interrupted study is
closed: its trials will not be gone on with.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import optuna
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from optuna import Study
from optuna.trial import TrialState

from acutance.commands.tune.context import CampaignContext
from acutance.console import say
from acutance.errors import ConfigError
from acutance.registry import tracking
from acutance.tuning.study_lock import exclusive_driver

SETTINGS, RUN = "settings", "mlflow_run"
"""Attributes of a study: the settings of its campaign, and its MLflow run."""

SHOWN = 8


def note_settings(context: CampaignContext, study: Study) -> None:
    """Store the settings of the campaign in its study."""
    study.set_user_attr(SETTINGS, _settings(context))


def close_former(context: CampaignContext, study: Study, client: MlflowClient) -> None:
    """When there is no such campaign to resume, say which one was interrupted and what differs; close that one."""
    former = _interrupted(context, study)
    if former is None:
        return
    try:
        with exclusive_driver(former):
            _say_what_differs(context, former)
            _close(former, f"given up: its search space was changed, {study.study_name} goes on", client)
    except ConfigError as error:  # it runs
        say(f"{former.study_name}, of the same search space with other settings, is not touched: {error.what}")


def _interrupted(context: CampaignContext, study: Study) -> Study | None:
    """Return the newest study of this search space that has unfinished trials."""
    storage, name = study._storage, re.compile(re.escape(context.name[:-8]) + "[0-9a-f]{8}")
    found: list[tuple[datetime, Study]] = []
    for other in optuna.study.get_all_study_names(storage):
        if other == study.study_name or not name.fullmatch(other):
            continue
        known = optuna.load_study(study_name=other, storage=storage)
        begun = [t.datetime_start for t in known.get_trials(deepcopy=False) if t.state == TrialState.RUNNING]
        found += [(max(filter(None, begun)), known)] if any(begun) else []
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _say_what_differs(context: CampaignContext, former: Study) -> None:
    old, new = former.user_attrs.get(SETTINGS, {}), _settings(context)
    lines = [
        f"  {key}: {old.get(key, 'not set')} -> {new.get(key, 'not set')}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]
    more = [f"  ... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    why = "\n".join([*lines[:SHOWN], *more]) or "  its pictures, its files of weights or this program"
    say(f"{former.study_name} is not gone on with, since its settings differ; {context.name} begins anew:\n{why}")


def _close(former: Study, reason: str, client: MlflowClient) -> None:
    for trial in former.get_trials(deepcopy=False):
        if trial.state == TrialState.RUNNING:
            former._storage.set_trial_user_attr(trial._trial_id, "reason", reason)
            former.tell(trial.number, state=TrialState.FAIL)
    run = former.user_attrs.get(RUN)
    try:
        if run and client.get_run(run).info.status == "RUNNING":
            tracking.finish_children(client, run, "KILLED")
            tracking.finish(client, run, "KILLED")
    except MlflowException:  # it was deleted, or is in another store
        return


def _settings(context: CampaignContext) -> dict[str, Any]:
    """Return what a campaign searches, and on what, as dotted keys and texts."""
    out = {"concurrency", "pipeline", "published", "tables"}
    campaign = context.campaign.model_dump(mode="json", by_alias=True, exclude=out)
    campaign["budget"] = {key: value for key, value in campaign["budget"].items() if key not in ("trials", "hours")}
    points = {"points": [[point.row, point.values] for point in context.search.points or []]}
    stages = context.search.base.model_dump(mode="json", by_alias=True, include={"stages", "data", "scale", "seed"})
    return tracking.flatten({**campaign, **points, **stages})
