"""The metrics by name, and `measure`: one restored picture against its truth.

A metric is a pure function of planes or pictures. What it cannot measure has no value, but a reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from scipy.ndimage import correlate1d, uniform_filter

from acutance.errors import WeightsError
from acutance.evaluation import niqe as _niqe
from acutance.evaluation import perceptual
from acutance.evaluation.png import compressed_size
from acutance.evaluation.protocols import PROTOCOLS
from acutance.evaluation.unmeasurable import Unmeasurable
from acutance.evaluation.weights import find_weights
from acutance.imaging.frequency import high_frequency_energy

PEAK = 255.0
CUTOFF = 0.25
"""Detail finer than this, in units of Nyquist, counts as sharpness: what a x4 picture has lost."""

Goal = Literal["maximize", "minimize", "closest to the truth"]
View = Literal["plane", "cropped rgb", "rgb"]


def psnr_y(restored: np.ndarray, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of two planes in dB (peak 255).

    Args:
        restored: Y, float64 (h, w).
        truth: the same.

    Raises:
        Unmeasurable: for identical planes, whose ratio is infinite, and for empty ones.
    """
    _require(truth, 1, "PSNR")
    error = float(np.mean((restored - truth) ** 2))
    if error == 0:
        raise Unmeasurable("the picture equals the truth: its PSNR is infinite")
    return 10 * math.log10(PEAK**2 / error)


def ssim_y(restored: np.ndarray, truth: np.ndarray) -> float:
    """Return the structural similarity of two planes, 1 for identical ones.

    Wang et al., IEEE TIP 2004: Gaussian window 11x11 of sigma 1.5, its valid region only, K = (0.01, 0.03),
    L = 255; without the automatic downsampling of the authors' later script.

    Raises:
        Unmeasurable: for a plane with a side of fewer than 11 pixels.
    """
    _require(truth, 11, "SSIM")
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    mu_r, mu_t = _window(restored), _window(truth)
    variances = _window(restored**2) - mu_r**2 + _window(truth**2) - mu_t**2
    covariance = _window(restored * truth) - mu_r * mu_t
    similarity = (2 * mu_r * mu_t + c1) * (2 * covariance + c2) / ((mu_r**2 + mu_t**2 + c1) * (variances + c2))
    return float(similarity.mean())


def ssim_y_wang(restored: np.ndarray, truth: np.ndarray) -> float:
    """Return the structural similarity as the authors' later script: of planes shrunk to about 256 pixels.

    Wang's `ssim.m`: f = max(1, round(shorter side / 256)); the mean over f x f pixels, mirrored at the border,
    of every f-th pixel; then `ssim_y`, which it equals where f is 1. Compare it with tables of this kind only.

    Raises:
        Unmeasurable: for a plane with a side of fewer than 11 pixels.
    """
    _require(truth, 11, "SSIM")
    factor = max(1, math.floor(min(truth.shape) / 256 + 0.5))
    return ssim_y(_shrunk(restored, factor), _shrunk(truth, factor))


def psnr_rgb(restored: np.ndarray, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB (peak 255), of the mean squared error of all three colours.

    Args:
        restored: uint8 (h, w, 3) RGB, without the protocol's border.
        truth: the same.

    Raises:
        Unmeasurable: for identical pictures, whose ratio is infinite, and for empty ones.
    """
    return psnr_y(restored.astype(np.float64), truth.astype(np.float64))


def ssim_rgb(restored: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean of the three colours' structural similarities, each as `ssim_y` (BasicSR's SSIM of RGB).

    Args:
        restored: uint8 (h, w, 3) RGB, without the protocol's border.
        truth: the same.

    Raises:
        Unmeasurable: for a picture with a side of fewer than 11 pixels.
    """
    pairs = zip(*(np.moveaxis(picture.astype(np.float64), -1, 0) for picture in (restored, truth)), strict=True)
    return float(np.mean([ssim_y(*pair) for pair in pairs]))


def high_frequency(plane: np.ndarray) -> float:
    """Return how much fine detail a plane holds: the RMS of its high-pass part, in grey levels.

    Blur lowers it and noise raises it, so it is judged by its distance to the truth's own value.

    Args:
        plane: Y, float64 (h, w).

    Raises:
        Unmeasurable: for an empty plane.
    """
    _require(plane, 1, "high-frequency energy")
    # Mirrored, the plane has no jump from its last pixel to its first: the periodic transform would count it.
    mirrored = np.pad(plane, [(0, side) for side in plane.shape], mode="symmetric")
    return float(high_frequency_energy(torch.from_numpy(mirrored)[None], cutoff=CUTOFF).sqrt())


def _require(plane: np.ndarray, side: int, name: str) -> None:
    if min(plane.shape[:2]) < side:
        raise Unmeasurable(f"{name} needs {side} pixels on a side; {plane.shape[1]}x{plane.shape[0]} are left")


def _shrunk(plane: np.ndarray, factor: int) -> np.ndarray:
    # MATLAB's `imfilter` puts the centre of an even box left of its middle, scipy right of it.
    box = uniform_filter(plane, factor, mode="reflect", origin=0 if factor % 2 else -1)
    return box[::factor, ::factor]


def _window(plane: np.ndarray) -> np.ndarray:
    weights = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    return correlate1d(correlate1d(plane, weights, axis=0), weights, axis=1)[5:-5, 5:-5]


@dataclass(frozen=True)
class Metric:
    """A metric and how to read it.

    Attributes:
        function: of (restored, truth), or of (restored) where no truth is needed.
        title: its name in tables.
        on: whether it sees the protocol's plane, the RGB picture without the protocol's border, or the whole one.
        needs_truth: False for a metric that judges one picture alone; the truth itself then has a value, too.
        goal: which way is better.
        unit: of its values; empty where they have none.
        digits: after the point, in tables.
        requirement: the parameter file without which it is unavailable.
    """

    function: Callable[..., float]
    title: str
    on: View
    needs_truth: bool
    goal: Goal
    digits: int
    unit: str = ""
    requirement: str | None = None


METRICS: dict[str, Metric] = {
    "psnr_y": Metric(psnr_y, "PSNR-Y", "plane", True, "maximize", 2, unit="dB"),
    "ssim_y": Metric(ssim_y, "SSIM-Y", "plane", True, "maximize", 4),
    "ssim_y_wang": Metric(ssim_y_wang, "SSIM-Y (Wang)", "plane", True, "maximize", 4),
    "psnr_rgb": Metric(psnr_rgb, "PSNR-RGB", "cropped rgb", True, "maximize", 2, unit="dB"),
    "ssim_rgb": Metric(ssim_rgb, "SSIM-RGB", "cropped rgb", True, "maximize", 4),
    "niqe": Metric(_niqe.niqe, "NIQE", "plane", False, "minimize", 2, requirement=_niqe.PARAMETERS),
    "lpips_squeeze": Metric(
        perceptual.lpips_squeeze,
        "LPIPS (squeeze)",
        "rgb",
        True,
        "minimize",
        4,
        requirement=perceptual.BACKBONE,
    ),
    "high_frequency": Metric(
        high_frequency, "fine detail", "plane", False, "closest to the truth", 2, unit="grey levels"
    ),
    "compressed_size": Metric(compressed_size, "PNG size", "rgb", False, "closest to the truth", 0, unit="bytes"),
}


@dataclass(frozen=True)
class Measurement:
    """What was measured on one picture: metric -> value, or None and a reason."""

    values: dict[str, float | None]
    reasons: dict[str, str] = field(default_factory=dict)


def unavailable(metrics: Iterable[str]) -> dict[str, str]:
    """Return metric -> reason for those whose parameter file is not on this machine."""
    missing: dict[str, str] = {}
    for name in metrics:
        requirement = METRICS[name].requirement
        try:
            if requirement:
                find_weights(requirement)
        except WeightsError as error:
            missing[name] = f"{error.what}; {error.fix}"
    return missing


def measure(
    restored: np.ndarray, truth: np.ndarray | None, *, metrics: Iterable[str], protocol: str, scale: int
) -> Measurement:
    """Measure one restored picture by each metric.

    Args:
        restored: uint8 (H, W, 3) RGB.
        truth: the same size; None measures by the metrics that need no truth, and leaves out the others.
        metrics: names of METRICS, all of them available.
        protocol: a name of PROTOCOLS.
        scale: the scale of the restoration; the protocol's border depends on it.

    Raises:
        ValueError: for pictures of different sizes.
        WeightsError: for a metric whose parameter file is missing or wrong.
    """
    if truth is not None and truth.shape != restored.shape:
        raise ValueError(f"the restored picture is {restored.shape}, the truth {truth.shape}")
    pictures = [restored] if truth is None else [restored, truth]
    rules = PROTOCOLS[protocol]
    views: dict[View, list[np.ndarray]] = {
        "plane": [rules.plane(picture, scale) for picture in pictures],
        "cropped rgb": [rules.cropped(picture, scale) for picture in pictures],
        "rgb": pictures,
    }
    values: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for name in metrics:
        metric = METRICS[name]
        if metric.needs_truth and truth is None:
            continue
        seen = views[metric.on]
        try:
            values[name] = metric.function(*(seen if metric.needs_truth else seen[:1]))
        except Unmeasurable as reason:
            values[name], reasons[name] = None, str(reason)
    return Measurement(values, reasons)
