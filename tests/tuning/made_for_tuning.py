"""Campaigns without pictures: settings, and an `AskTell` over a study of their own."""

from __future__ import annotations

from typing import Any

from optuna import Study
from optuna.storages import BaseStorage, InMemoryStorage

from acutance.config import pipeline as pipelines
from acutance.config.mistakes import validate
from acutance.config.search_space import Campaign, Search
from acutance.tuning.ask_tell import AskTell
from acutance.tuning.study import open_study
from command_line import REPOSITORY

PIPELINE = REPOSITORY / "pipelines" / "quickstart.yaml"
PSNR = {"metric": "psnr_y", "on": "a", "goal": "maximize"}
NIQE = {"metric": "niqe", "on": "a", "goal": "minimize"}


def campaign_of(**changes: Any) -> Campaign:
    """Return a campaign that searches one number, `optimiser.learning_rate` in 0..1."""
    content = {
        "title": "t",
        "pipeline": "p",
        "stage": "gan",
        "parameters": {"optimiser.learning_rate": {"float": [0.001, 1]}},
        "objectives": [PSNR],
        "sampler": {"type": "random"},
    }
    return validate(Campaign, {**content, **changes}, "a test")


def search_of(campaign: Campaign, **more: Any) -> Search:
    """Return the campaign as if it had been read from a file."""
    return Search(campaign, PIPELINE, pipelines.load(PIPELINE), **more)


def ask_tell_of(
    campaign: Campaign, steps: int = 90, storage: BaseStorage | None = None, **more: Any
) -> tuple[AskTell, Study]:
    """Return an `AskTell` over the study `s` of a storage."""
    study = open_study(storage or InMemoryStorage(), "s", campaign.objectives)
    return AskTell(study, search_of(campaign, **more), steps), study
