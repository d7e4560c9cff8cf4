"""Do pictures and metrics agree with the world? MATLAB's own LR files, published tables, exact solves.

Prints a Markdown page: what others published or computed, what comes out here, and how far the two may differ. Exits
with 1 where something differs by more. Needs ACUTANCE_DATA, the folder of Set5, Set14 and BSD100 with their LR files
and of NIQE's and SqueezeNet's parameters.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from acutance.config.metrics import PROTOCOLS
from acutance.data.datasets import Source, load_catalogue
from acutance.data.pictures import read_picture
from acutance.evaluation.metrics import measure
from acutance.evaluation.perceptual import distances
from acutance.evaluation.pictures import bicubic_for, pair_for
from acutance.imaging.colour import rgb_to_y
from acutance.imaging.detail import exact_detail, extract_detail
from acutance.imaging.gms import gms_map, soft_mask
from acutance.imaging.resize import imresize, imresize_uint8
from acutance.imaging.weightmap import weight_map

REPOSITORY = Path(__file__).resolve().parent.parent
BENCHMARKS = ("Set5", "Set14", "BSD100")


@dataclass(frozen=True)
class Check:
    """One number of the world and ours; they may differ by `within`."""

    what: str
    theirs: float
    ours: float
    within: float
    digits: int = 4

    @property
    def holds(self) -> bool:
        """Tell whether the two agree."""
        return abs(self.theirs - self.ours) <= self.within * (1 + 1e-9)


def main() -> None:
    """Print the page."""
    os.environ.setdefault("ACUTANCE_WEIGHTS", os.environ.get("ACUTANCE_DATA", ""))
    torch.set_num_threads(1)
    catalogue = load_catalogue(REPOSITORY / "pipelines" / "datasets.yaml")
    sources = {(name, scale): catalogue.find(name, scale) for name in BENCHMARKS for scale in (2, 4)}
    print("# Agreement with the world\n")
    print("Made by `ACUTANCE_DATA=... python benchmarks/agreement.py > benchmarks/results/agreement.md`")
    print(f"with torch {version('torch')}, NumPy {version('numpy')}, SciPy {version('scipy')}.\n")
    failed = sum(section(title, list(checks(sources))) for title, checks in SECTIONS.items())
    if failed:
        sys.exit(f"{failed} of these numbers differ by more than they may")


def section(title: str, checks: list[Check]) -> int:
    """Print one table; return how many of its numbers do not agree."""
    print(f"## {title}\n\n| | theirs | ours | difference | may differ by | |\n|---|---:|---:|---:|---:|---|")
    for check in checks:
        theirs, ours = (f"{value:.{check.digits}f}" for value in (check.theirs, check.ours))
        verdict = "agrees" if check.holds else "**differs**"
        difference = f"{check.ours - check.theirs:+.5f}"
        print(f"| {check.what} | {theirs} | {ours} | {difference} | {check.within:g} | {verdict} |")
    print(flush=True)
    return sum(not check.holds for check in checks)


Sources = dict[tuple[str, int], list[Source]]
"""By data set and scale."""


def matlab_files(sources: Sources) -> Iterator[Check]:
    """How many of the published LR files `imresize_uint8` makes again, bit by bit."""
    for name in BENCHMARKS:
        for scale in (2, 4):
            equal = [
                torch.equal(
                    imresize_uint8(picture_tensor(s.hr_path(scale)), 1 / scale), picture_tensor(s.lr_paths[scale])
                )
                for s in sources[name, scale]
            ]
            yield Check(f"{name} x{scale}, files that are equal bit by bit", len(equal), sum(equal), 0, digits=0)


def bicubic_rows(sources: Sources) -> Iterator[Check]:
    """The bicubic row of 4PP-EUSR, Table 2 (protocol y_crop4)."""
    metrics = {"psnr_y": 0.01, "ssim_y": 0.002, "niqe": 0.06}
    published = {"Set5": (28.418, 0.810, 8.540), "Set14": (26.091, 0.705, 7.764), "BSD100": (25.957, 0.669, 7.712)}
    for name, row in published.items():
        ours = bicubic_row(sources, name, "y_crop4", list(metrics))
        for metric, theirs, mine in zip(metrics, row, ours, strict=True):
            yield Check(f"{name}, {metric}", theirs, mine, metrics[metric], digits=3)


def dsrgan_rows(sources: Sources) -> Iterator[Check]:
    """The bicubic row of DSRGAN, Table II (protocol dsrgan), to its last printed digit."""
    published = {"Set5": (28.386, 0.8249), "Set14": (26.097, 0.7853), "BSD100": (25.961, 0.6675)}
    for name, (psnr, ssim) in published.items():
        ours = bicubic_row(sources, name, "dsrgan", ["psnr_y", "ssim_y_wang"])
        yield Check(f"{name}, PSNR of Y", psnr, round(ours[0], 3), 0, digits=3)
        yield Check(f"{name}, Wang's SSIM", ssim, round(ours[1], 4), 0)


def bicubic_row(sources: Sources, name: str, protocol: str, metrics: list[str]) -> list[float]:
    """The means of bicubic enlargement over a benchmark at x4."""
    rows = []
    for source in sources[name, 4]:
        lr, truth = pair_for(PROTOCOLS[protocol], name, source, 4)
        restored = bicubic_for(PROTOCOLS[protocol], lr, truth, 4)
        values = measure(restored, truth, metrics=metrics, protocol=protocol, scale=4).values
        rows.append([values[metric] for metric in metrics])
    return [float(mean) for mean in np.mean(np.array(rows, float), axis=0)]


def lpips_example(_: Sources) -> Iterator[Check]:
    """The example of torchmetrics' documentation, LPIPS of SqueezeNet."""
    generator = torch.manual_seed(42)
    first, second = (torch.rand(2, 3, 100, 100, generator=generator) * 2 - 1 for _ in range(2))
    for theirs, ours in zip((0.1024, 0.0938), distances(first, second, network="squeeze").tolist(), strict=True):
        yield Check("LPIPS of two pictures of noise", theirs, ours, 5e-5)


def weight_map_shares(sources: Sources) -> Iterator[Check]:
    """Per cent of values that the weight map selects, as computed by an independent program."""
    published = {"BSD100": (78.80, 75.81, 71.83, 65.82, 57.82), "Set14": (80.12, 76.94, 72.96, 66.63, 58.63)}
    for name, shares in published.items():
        pictures = [picture_tensor(source.path) for source in sources[name, 4]]
        for parts, theirs in zip((7, 6, 5, 4, 3), shares, strict=True):
            ours = np.mean([100 * weight_map(picture, alpha=1 / parts).mean().item() for picture in pictures])
            yield Check(f"{name}, alpha 1/{parts}", theirs, float(ours), 0.1, digits=2)


def gms_shares(sources: Sources) -> Iterator[Check]:
    """GMS maps and soft masks of bicubic x4 on Set14, as computed by an independent program."""
    pairs = [
        (imresize(picture_tensor(s.lr_paths[4]).float(), 4).clamp(0, 255).round(), picture_tensor(s.path).float())
        for s in sources["Set14", 4]
    ]
    maps, masks = [gms_map(*pair) for pair in pairs], [soft_mask(*pair) for pair in pairs]
    for threshold, theirs in zip((0.02, 0.05, 0.1, 0.2, 0.3), (67.5, 55.4, 44.4, 31.4, 22.6), strict=True):
        ours = np.mean([100 * (found > threshold).float().mean().item() for found in maps])
        yield Check(f"per cent of pixels above {threshold}", theirs, float(ours), 0.1, digits=1)
    yield Check("mean of the soft mask", 0.278, float(np.mean([mask.mean() for mask in masks])), 0.004, digits=3)


def detail_extraction(sources: Sources) -> Iterator[Check]:
    """DSRGAN's E on Set5's bird: against the exact sparse solve, in float64, and as published golden values."""
    luma = rgb_to_y(picture_tensor(sources["Set5", 4][1].path), studio=False)
    x, exact = extract_detail(luma).double(), exact_detail(luma)
    correlation = float(torch.corrcoef(torch.stack([x.ravel(), exact.ravel()]))[0, 1])
    yield Check("correlation with the exact solution (at least 0.997)", 1.0, correlation, 0.003)
    yield Check("relative distance from it", 0.0, float((x - exact).norm() / exact.norm()), 0.2, digits=3)


SECTIONS: dict[str, Callable[[Sources], Iterator[Check]]] = {
    "MATLAB's LR files (SelfExSR)": matlab_files,
    "4PP-EUSR, Table 2, bicubic": bicubic_rows,
    "DSRGAN, Table II, bicubic": dsrgan_rows,
    "LPIPS, torchmetrics' documented example": lpips_example,
    "Weight map, share of selected values": weight_map_shares,
    "GMS, bicubic x4 of Set14": gms_shares,
    "Detail extraction E, Set5's bird": detail_extraction,
}


def picture_tensor(path: Path) -> torch.Tensor:
    """uint8 (3, H, W)."""
    return torch.from_numpy(read_picture(path)).permute(2, 0, 1).contiguous()


if __name__ == "__main__":
    main()
