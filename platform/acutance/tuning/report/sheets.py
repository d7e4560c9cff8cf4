"""The best trials' pictures side by side: parts of held-out pictures, restored by the models of the best trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from acutance.config.metrics import PROTOCOLS, QUANTITIES
from acutance.config.search_space import Goal
from acutance.data.datasets import Source
from acutance.evaluation.pictures import INPUT, pair_for, shown
from acutance.evaluation.sheet import Panel, Strip, region
from acutance.inference.restore import restore
from acutance.models.model_file import load_model
from acutance.tuning.report.front import score_text
from acutance.tuning.study import TrialRecord

PICTURES = 2
MODELS = 3
SIDE = 240
"""Pixels of the truth on a side of the part that is restored; little enough for large networks on a CPU."""


def best_strips(
    trials: Sequence[TrialRecord], goal: Goal, pictures: Mapping[str, Sequence[Source]], *, protocol: str, scale: int
) -> list[Strip]:
    """Return a strip for each of two held-out pictures: the input, each trial's restored picture, the truth.

    Only the part with the most fine detail is restored. Captions are what the campaign measured on whole pictures.

    Args:
        trials: the best first; the models of the first three are used.
        goal: whose scores are the captions; pictures are of its data set.
        pictures: data set -> pictures.

    Raises:
        AcutanceError: when a model or a picture cannot be read, or does not fit the other.
    """
    models = [(trial, *load_model(trial.model)) for trial in trials[:MODELS]]
    strips = []
    for source in _chosen(pictures[goal.on]):
        lr, truth = _part(*pair_for(PROTOCOLS[protocol], goal.on, source, scale), scale)
        panels = [Panel(INPUT if scale == 1 else "LR", f"{lr.shape[1]} x {lr.shape[0]} pixels", shown(lr))]
        for trial, network, description in models:
            caption = f"{QUANTITIES[goal.metric].title} {score_text(goal, trial)}"
            panels.append(Panel(_trial_name(trial), caption, restore(network, description, lr)["image"]))
        panels.append(Panel("ground truth", f"{truth.shape[1]} x {truth.shape[0]} pixels", truth))
        strips.append(Strip(source.name, tuple(panels), region(lr, truth)))
    return strips


def _trial_name(trial: TrialRecord) -> str:
    return f"{trial.row}, seed {trial.seed}" if trial.row else f"trial {trial.number}"


def _chosen(sources: Sequence[Source]) -> Sequence[Source]:
    """The first picture and the one in the middle: neighbours in a data set are often alike."""
    return sources if len(sources) <= PICTURES else [sources[0], sources[len(sources) // 2]]


def _part(lr: np.ndarray, truth: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the square of the LR that holds the most fine detail, and the truth of it."""
    side = max(SIDE // scale, 1)
    top, left = (max(0, centre // scale - side // 2) for centre in region(lr, truth, SIDE))
    small = lr[top : top + side, left : left + side]
    place = (slice(top * scale, (top + small.shape[0]) * scale), slice(left * scale, (left + small.shape[1]) * scale))
    return small, truth[place]
