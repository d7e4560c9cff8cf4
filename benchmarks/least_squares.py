"""How fast is the weighted least squares smoother of DSRGAN's Table III (MSDM), against a direct sparse solution?

One core, one photograph in colour, both ways in turn, three channels each, in seconds of CPU time:

- `acutance.imaging.least_squares_detail`: conjugate gradients, preconditioned by multigrid
- the same with `solve_exactly`: SciPy's SuperLU in float64, whose time grows faster than the picture
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import skimage.data
import torch
from detail import use_one_core
from machine import cpu

from acutance.imaging.detail import solve_exactly
from acutance.imaging.smoothers import least_squares_detail


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(1020, 678), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    use_one_core()
    picture = photograph(*arguments.size)
    least_squares_detail(picture[:, :64, :64])  # compiles
    ways = {"multigrid, acutance": least_squares_detail, "direct, SciPy": directly}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found = {}
    for _ in range(arguments.rounds):
        for name, way in ways.items():
            started = time.process_time()
            found[name] = way(picture)
            seconds[name].append(time.process_time() - started)
    report(picture, seconds, *found.values())


def photograph(width: int, height: int) -> torch.Tensor:
    """A photograph (3, H, W) uint8 that comes with scikit-image, repeated as often as it takes: with real noise."""
    rgb = skimage.data.coffee()
    repeats = (-(-height // rgb.shape[0]), -(-width // rgb.shape[1]), 1)
    return torch.from_numpy(np.tile(rgb, repeats)[:height, :width].copy()).permute(2, 0, 1)


def directly(picture: torch.Tensor) -> torch.Tensor:
    unit = picture.double() / 255
    logs = (unit + 1e-4).log()
    weights = (1 / (logs.diff(dim=dim).abs().pow(1.2) + 1e-4) for dim in (-1, -2))
    return unit - solve_exactly(unit, *weights)


def report(picture: torch.Tensor, seconds: dict[str, list[float]], ours: torch.Tensor, exact: torch.Tensor) -> None:
    height, width = picture.shape[-2:]
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    smooth = picture.double() / 255 - exact
    print(f"$ python {' '.join([str(Path('benchmarks') / Path(sys.argv[0]).name), *sys.argv[1:]])}")
    print(f"{cpu()}, one core, {platform.system()}, Python {platform.python_version()}")
    print(", ".join(f"{name} {version(name)}" for name in ("numba", "numpy", "scipy", "torch")))
    print(f"{width} x {height} = {width * height / 1e6:.2f} megapixels, three channels\n")
    for name, times in seconds.items():
        ratio = medians[name] / medians["multigrid, acutance"]
        print(f"{name:24}{medians[name]:9.2f} s CPU{ratio:9.1f} times{len(times):4} runs")
    error = ((ours - exact).norm() / smooth.norm()).item()
    print(f"\nerror of the smoothed picture, relative: {error:.1e}")


if __name__ == "__main__":
    main()
