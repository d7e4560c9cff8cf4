"""How fast is the detail extraction E, against the exact solution and a C++ smoother of the same kind?

One core, one picture, three ways in turn, so that whatever else the machine does meets all of them:

- `acutance.imaging.extract_detail`, four passes
- `cv2.ximgproc.fastGlobalSmootherFilter`, four passes: the same solves, but without logarithms and powers
- `acutance.imaging.exact_detail`: eq. 5 as one sparse system, SciPy's SuperLU in float64
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import cv2
import numba
import numpy as np
import skimage.data
import torch
from machine import cpu

from acutance.imaging.colour import rgb_to_y
from acutance.imaging.detail import exact_detail, extract_detail

PACKAGES = ("numba", "numpy", "opencv-contrib-python-headless", "scipy", "torch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3, help="exact solves; the others run ten times a round")
    arguments = parser.parse_args()
    use_one_core()
    luma = photograph(arguments.megapixels)
    guide, source = luma[0].to(torch.uint8).numpy(), luma[0].numpy()

    compiling = first_call(luma)
    fast = {
        "E, acutance": lambda: extract_detail(luma),
        "fast global smoother, C++": lambda: cv2.ximgproc.fastGlobalSmootherFilter(guide, source, 1.0, 10.0),
    }
    exact = {"exact sparse solve, SciPy": lambda: exact_detail(luma)}
    seconds: dict[str, list[float]] = {name: [] for name in [*fast, *exact]}
    for _ in range(arguments.rounds):
        for _ in range(10):
            measure(fast, seconds)
        measure(exact, seconds)
    report(luma, seconds, compiling)


def use_one_core() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def first_call(luma: torch.Tensor) -> float:
    """Seconds of a process's first extraction where no machine code was kept."""
    with tempfile.TemporaryDirectory() as empty:
        numba.config.CACHE_DIR = empty
        started = time.perf_counter()
        extract_detail(luma[:, :32, :32])
        return time.perf_counter() - started


def photograph(megapixels: float) -> torch.Tensor:
    """The luminance (1, H, W) of a photograph that comes with scikit-image, brought to size."""
    rgb = skimage.data.coffee()
    factor = (megapixels * 1e6 / (rgb.shape[0] * rgb.shape[1])) ** 0.5
    rgb = cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return rgb_to_y(torch.from_numpy(rgb).permute(2, 0, 1), studio=False)


def measure(ways: dict[str, Callable[[], object]], seconds: dict[str, list[float]]) -> None:
    for name, way in ways.items():
        started = time.perf_counter()
        way()
        seconds[name].append(time.perf_counter() - started)


def report(luma: torch.Tensor, seconds: dict[str, list[float]], compiling: float) -> None:
    height, width = luma.shape[-2:]
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ours = next(iter(medians.values()))
    x, exact = extract_detail(luma).numpy().ravel(), exact_detail(luma).numpy().ravel()
    print(f"$ python {' '.join([str(Path('benchmarks') / Path(sys.argv[0]).name), *sys.argv[1:]])}")
    print(f"{cpu()}, one core, {platform.system()}, Python {platform.python_version()}")
    print(", ".join(f"{name} {version(name)}" for name in PACKAGES))
    print(f"{width} x {height} = {width * height / 1e6:.2f} megapixels\n")
    print(f"{'':28}{'median':>12}{'fastest':>12}{'ratio':>10}{'runs':>6}")
    for name, times in seconds.items():
        milliseconds = f"{medians[name] * 1e3:9.1f} ms{min(times) * 1e3:9.1f} ms"
        print(f"{name:28}{milliseconds}{medians[name] / ours:10.2f}{len(times):6}")
    print(f"\nE correlates with the exact solution at {np.corrcoef(x, exact)[0, 1]:.4f}")
    print(f"first call, compiling: {compiling:.1f} s; kept on disk for the next process")


if __name__ == "__main__":
    main()
