"""How fast is the detail extraction E on a GPU, and how much of its memory bandwidth does it use?

Three things in turn, timed by the device, so that whatever else the machine does meets all of them:

- `acutance.imaging.extract_detail`, four passes, of 1 and of 16 pictures at once
- the same equations in plain PyTorch, `acutance.imaging.detail.separable_detail`
- a copy within the device, a gigabyte or more: the bandwidth that can be had

Bandwidth achieved counts the bytes that must move (`detail_gpu.traffic`), each once a pass. Pictures small enough
for the device's cache may therefore appear to exceed the copy.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import skimage.data
import torch
from torch.nn import functional

from acutance.imaging.colour import rgb_to_y
from acutance.imaging.detail import extract_detail, lambda_schedule, separable_detail

ITERATIONS = 4
BATCHES = (1, 16)
COPIED = 2**30  # bytes

Way = tuple[str, int]  # what, and on how many pictures at once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3, help="of plain PyTorch; the others run twenty times a round")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device here: nothing was measured")
        return
    pictures = {count: photographs(count, arguments.megapixels) for count in BATCHES}
    fast = {("E", n): lambda luma=luma: extract_detail(luma) for n, luma in pictures.items()}
    slow = {("plain PyTorch", n): lambda luma=luma: plain(luma) for n, luma in pictures.items()}
    source = torch.zeros(COPIED // 4, device="cuda")
    target = torch.empty_like(source)
    fast["copy", 1] = lambda: target.copy_(source)

    milliseconds: dict[Way, list[float]] = {way: [] for way in [*fast, *slow]}
    measure(fast | slow, {way: [] for way in milliseconds})  # compiles and warms up
    for _ in range(arguments.rounds):
        for _ in range(20):
            measure(fast, milliseconds)
        measure(slow, milliseconds)
    report(pictures, {way: statistics.median(times) for way, times in milliseconds.items()})


def photographs(count: int, megapixels: float) -> torch.Tensor:
    """The luminance (N, 1, H, W) of a photograph that comes with scikit-image, brought to size, some mirrored."""
    luma = rgb_to_y(torch.from_numpy(skimage.data.coffee()).permute(2, 0, 1), studio=False)[None]
    factor = (megapixels * 1e6 / luma.numel()) ** 0.5
    luma = functional.interpolate(luma, scale_factor=factor, mode="bicubic", antialias=True).clamp(0, 255)
    return torch.cat([luma.flip(-1) if index % 2 else luma for index in range(count)]).cuda()


def plain(luma: torch.Tensor) -> torch.Tensor:
    lambdas = lambda_schedule(1.0, ITERATIONS)
    return separable_detail(luma, alpha=4.0, lam=1.0, gamma=0.75, eps=2.0, lambdas=lambdas)


def measure(ways: dict[tuple[str, int], Callable[[], object]], milliseconds: dict[Way, list[float]]) -> None:
    for name, way in ways.items():
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        way()
        end.record()
        end.synchronize()
        milliseconds[name].append(begin.elapsed_time(end))


def report(pictures: dict[int, torch.Tensor], medians: dict[Way, float]) -> None:
    from acutance.imaging.detail_gpu import traffic

    height, width = pictures[1].shape[-2:]
    peak = 2 * COPIED / medians["copy", 1] / 1e6
    print(f"$ python {' '.join([str(Path('benchmarks') / Path(sys.argv[0]).name), *sys.argv[1:]])}")
    print(f"{torch.cuda.get_device_name()}, {platform.system()}, Python {platform.python_version()}")
    print(f"torch {version('torch')}, triton {version('triton')}, CUDA {torch.version.cuda}")
    print(f"{width} x {height} = {width * height / 1e6:.2f} megapixels; a copy within the device: {peak:.0f} GB/s\n")
    print(
        f"{'pictures':>8}{'ms/megapixel':>14}{'GB/s':>8}{'of copy':>9}{'plain PyTorch, ms/megapixel':>29}{'ratio':>8}"
    )
    for count, luma in pictures.items():
        megapixels, ours, theirs = luma.numel() / 1e6, medians["E", count], medians["plain PyTorch", count]
        achieved = traffic(ITERATIONS) * megapixels / ours
        print(f"{count:8}{ours / megapixels:14.4f}{achieved:8.0f}{achieved / peak:9.0%}", end="")
        print(f"{theirs / megapixels:18.2f}{theirs / ours:8.0f}")
    difference = (extract_detail(pictures[1]) - plain(pictures[1])).abs().max().item()
    print(f"\nthe two differ by at most {difference:.1e}; {traffic(ITERATIONS)} bytes a pixel must move")


if __name__ == "__main__":
    main()
