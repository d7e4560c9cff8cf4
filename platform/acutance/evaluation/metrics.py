"""The metrics by name, and `measure`: one restored picture against its truth.

A metric is a pure function of planes or pictures. What it cannot measure has no value, but a reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
import torch

from acutance.config.metrics import METRICS, PROTOCOLS, Goal
from acutance.errors import WeightsError
from acutance.evaluation import ma as _ma
from acutance.evaluation import niqe as _niqe
from acutance.evaluation import perceptual
from acutance.evaluation.inputs import is_picture, require_colours, require_planes
from acutance.evaluation.pictures import levels, shown
from acutance.evaluation.png_size import compressed_size
from acutance.evaluation.ssim import ssim_rgb, ssim_y, ssim_y_wang
from acutance.evaluation.unmeasurable import Unmeasurable
from acutance.imaging.frequency import high_frequency_energy, high_frequency_share
from acutance.weights import require_weights

PEAK = 255.0
CUTOFF = 0.25
"""Detail finer than this, in units of Nyquist, counts as sharpness: what a x4 picture has lost."""

View = Literal["plane", "cropped rgb", "rgb", "8 bits"]


def psnr_y(restored: np.ndarray, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of two planes in dB (peak 255).

    Args:
        restored: Y, float64 (h, w).
        truth: the same.

    Raises:
        Unmeasurable: for identical planes, whose ratio is infinite, and for empty ones.
        ValueError: for what are not two planes of one size.
    """
    require_planes("PSNR", restored, truth)
    return _psnr(restored, truth)


def psnr_rgb(restored: np.ndarray, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB (peak 255), of the mean squared error of all three colours.

    Args:
        restored: uint8, or float64 of 0..255, (h, w, 3) RGB, without the protocol's border.
        truth: the same.

    Raises:
        Unmeasurable: for identical pictures, whose ratio is infinite, and for empty ones.
        ValueError: for what are not two pictures of one size.
    """
    require_colours("PSNR", restored, truth)
    return _psnr(restored, truth)


def _psnr(restored: np.ndarray, truth: np.ndarray) -> float:
    error = float(np.mean((restored.astype(np.float64) - truth) ** 2))
    if error == 0:
        raise Unmeasurable("the picture equals the truth: its PSNR is infinite")
    return 10 * math.log10(PEAK**2 / error)


def high_frequency(plane: np.ndarray) -> float:
    """Return how much fine detail a plane holds: the RMS of its high-pass part, in grey levels.

    Blur lowers it and noise raises it, so it is judged by its distance to the truth's own value.

    Args:
        plane: Y, float64 (h, w).

    Raises:
        Unmeasurable: for an empty plane.
        ValueError: for what is not a plane.
    """
    require_planes("fine detail", plane)
    return float(high_frequency_energy(_mirrored(plane), cutoff=CUTOFF).sqrt())


def share_of_high_frequencies(plane: np.ndarray) -> float:
    """Return which share of a plane's spectral energy lies beyond half the Nyquist frequency, the mean left out.

    Unlike `high_frequency` it does not depend on contrast: 0 for a constant plane, 1 for the finest checkerboard.

    Args:
        plane: Y, float64 (h, w).

    Raises:
        Unmeasurable: for an empty plane.
        ValueError: for what is not a plane.
    """
    require_planes("the share of high frequencies", plane)
    return float(high_frequency_share(_mirrored(plane), radius=0.5))


def _mirrored(plane: np.ndarray) -> torch.Tensor:
    """Its mirrored double: from its last pixel to its first it has no jump, which a periodic transform would count."""
    return torch.from_numpy(np.pad(plane, [(0, side) for side in plane.shape], mode="symmetric"))[None]


@dataclass(frozen=True)
class Metric:
    """A metric and how to read it.

    Attributes:
        function: of (restored, truth), or of (restored) where no truth is needed.
        title: its name in tables.
        on: whether it sees the protocol's plane, the RGB picture without the protocol's border, the whole one, or that
            rounded to 8 bits whatever the protocol.
        needs_truth: False for a metric that judges one picture alone; the truth itself then has a value, too.
        goal: which way is better.
        unit: of its values; empty where they have none.
        digits: after the point, in tables.
        requires: the parameter files without which it is unavailable.
    """

    function: Callable[..., float]
    title: str
    on: View
    needs_truth: bool
    goal: Goal
    digits: int
    unit: str = ""
    requires: tuple[str, ...] = ()


def _lpips(network: perceptual.Network) -> Metric:
    function = partial(perceptual.lpips, network=network)
    backbone = perceptual.BACKBONES[network].file
    return Metric(function, f"LPIPS ({network})", "rgb", True, "minimize", 4, requires=(backbone,))


PSNR_Y = Metric(psnr_y, "PSNR-Y", "plane", True, "maximize", 2, unit="dB")
SSIM_Y = Metric(ssim_y, "SSIM-Y", "plane", True, "maximize", 4)
SSIM_Y_WANG = Metric(ssim_y_wang, "SSIM-Y (Wang)", "plane", True, "maximize", 4)
PSNR_RGB = Metric(psnr_rgb, "PSNR-RGB", "cropped rgb", True, "maximize", 2, unit="dB")
SSIM_RGB = Metric(ssim_rgb, "SSIM-RGB", "cropped rgb", True, "maximize", 4)
NIQE = Metric(_niqe.niqe, "NIQE", "plane", False, "minimize", 2, requires=(_niqe.PARAMETERS,))
MA = Metric(_ma.ma, "Ma", "plane", False, "maximize", 2, requires=(_ma.PARAMETERS,))
PI = Metric(_ma.perceptual_index, "PI", "plane", False, "minimize", 2, requires=(_ma.PARAMETERS, _niqe.PARAMETERS))
LPIPS_SQUEEZE = _lpips("squeeze")
LPIPS_ALEX = _lpips("alex")
LPIPS_VGG = _lpips("vgg")
HIGH_FREQUENCY = Metric(high_frequency, "fine detail", "plane", False, "closest to the truth", 2, unit="grey levels")
HIGH_FREQUENCY_SHARE = Metric(
    share_of_high_frequencies, "share of high frequencies", "plane", False, "closest to the truth", 5
)
COMPRESSED_SIZE = Metric(compressed_size, "PNG size", "8 bits", False, "closest to the truth", 0, unit="bytes")


@dataclass(frozen=True)
class Measurement:
    """The values of one picture: metric -> value, or None and a reason."""

    values: dict[str, float | None]
    reasons: dict[str, str] = field(default_factory=dict)


def unavailable(metrics: Iterable[str]) -> dict[str, str]:
    """Return metric -> reason for those whose parameter file is not on this machine."""
    missing: dict[str, str] = {}
    for name in metrics:
        try:
            require_weights(METRICS[name].requires)
        except WeightsError as error:
            missing[name] = f"{error.what}; {error.fix}"
    return missing


def measure(
    restored: np.ndarray, truth: np.ndarray | None, *, metrics: Iterable[str], protocol: str, scale: int
) -> Measurement:
    """Measure one restored picture by each metric.

    Args:
        restored: uint8 (H, W, 3) RGB; or float32 with black 0 and white 1, a degraded picture or one that the protocol
            does not round, which is measured as it is by all that does not ask for a file.
        truth: uint8 of the same size; None measures by the metrics that need no truth, and leaves out the others.
        metrics: names of METRICS, all of them available.
        protocol: a name of PROTOCOLS.
        scale: the scale of the restoration; the protocol's border depends on it.

    Raises:
        ValueError: for what is not uint8 (H, W, 3), and for pictures of different sizes.
        WeightsError: for a metric whose parameter file is missing or wrong.
    """
    unrounded, restored = (levels(restored), shown(restored)) if restored.dtype == np.float32 else (restored, restored)
    named = {"restored picture": restored} if truth is None else {"restored picture": restored, "truth": truth}
    for name, picture in named.items():
        if not is_picture(picture):
            raise ValueError(f"the {name} must be uint8 (H, W, 3), not {picture.dtype} {picture.shape}")
    if truth is not None and truth.shape != restored.shape:
        raise ValueError(f"the restored picture is {restored.shape}, the truth {truth.shape}")
    pictures = list(named.values())
    rules, exact = PROTOCOLS[protocol], [unrounded, *pictures[1:]]
    views: dict[View, list[np.ndarray]] = {
        "plane": [rules.plane(picture, scale) for picture in exact],
        "cropped rgb": [rules.cropped(picture, scale) for picture in exact],
        "rgb": exact,
        "8 bits": pictures,
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
