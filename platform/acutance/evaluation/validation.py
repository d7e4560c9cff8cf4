"""What networks that make no pictures are measured by: predicted scores, classes, and targets computed in the step.

A measure is taken over all pictures of a data set at once: a rank correlation is no mean over pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Measure(NamedTuple):
    """A measure of one output against its target, both (N, ...).

    Attributes:
        output: the network's output that is measured.
        target: the batch column that it is measured against.
        title, unit, goal, digits: as a Metric's.
    """

    of: Callable[[np.ndarray, np.ndarray], float]
    output: str
    target: str
    title: str
    goal: str
    digits: int
    unit: str = ""


def earth_mover(predicted: np.ndarray, true: np.ndarray) -> float:
    """Return the mean over pictures of sqrt(mean_i (CDF_i - CDF'_i)^2), of shares (N, 10) of scores.

    The form of released code and published values (Choi et al. 2020; NIMA, Talebi and Milanfar 2018).
    """
    return float(np.sqrt(_squares(predicted, true).mean(1)).mean())


def earth_mover_sum(predicted: np.ndarray, true: np.ndarray) -> float:
    """Return the mean over pictures of sum_i (CDF_i - CDF'_i)^2, as Choi et al. 2020 writes it."""
    return float(_squares(predicted, true).sum(1).mean())


def rank_correlation(predicted: np.ndarray, true: np.ndarray) -> float:
    """Return Spearman's correlation of the mean scores, -1 to 1, of shares (N, 10) of the scores 1 to 10.

    Where all true, or all predicted, mean scores are equal, it is not a number.
    """
    from scipy.stats import spearmanr  # takes more than a second to import

    scores = np.arange(1, predicted.shape[1] + 1)
    means = predicted.astype(np.float64) @ scores, true.astype(np.float64) @ scores
    constant = any(np.ptp(mean) == 0 for mean in means)
    return math.nan if constant else float(spearmanr(*means).statistic)


def accuracy(logits: np.ndarray, classes: np.ndarray) -> float:
    """Return the share, 0 to 1, of pictures whose largest of the logits (N, classes) is that of their class (N, 1)."""
    return float((logits.argmax(1) == classes.reshape(-1)).mean())


def peak_ratio(predicted: np.ndarray, target: np.ndarray, border: int = 6) -> float:
    """Return the mean over pictures of the PSNR in dB, for a range of 1, without the border; of equal ones infinity."""
    inside = (..., slice(border, -border), slice(border, -border))
    errors = (predicted[inside].astype(np.float64) - target[inside]) ** 2
    with np.errstate(divide="ignore"):
        return float((-10 * np.log10(errors.reshape(len(errors), -1).mean(1))).mean())


def _squares(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    return (predicted.astype(np.float64).cumsum(1) - true.astype(np.float64).cumsum(1)) ** 2


EMD = Measure(earth_mover, "distribution", "distribution", "EMD", "minimize", 4)
EMD_SUM = Measure(earth_mover_sum, "distribution", "distribution", "EMD, summed", "minimize", 4)
SROCC = Measure(rank_correlation, "distribution", "distribution", "SROCC", "maximize", 3)
ACCURACY = Measure(accuracy, "logits", "class", "accuracy", "maximize", 4)
PSNR_HIGHPASS = Measure(peak_ratio, "highpass", "highpass", "PSNR of the high pass", "maximize", 2, "dB")
