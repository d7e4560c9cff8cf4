"""New numbers for the detail extraction E: is it faster to make new shards, or to compute E in the training step?

One core, BSDS500's training pictures (ACUTANCE_DATA), batches as in pipelines/dsrgan.yaml:

- stored: once for each new value the shard set is made and decoded, as a trial of a search does it in its own process;
  a step then cuts its patches from four columns
- computed: a step cuts larger patches from two columns that all values share, and computes E of both

What a set costs once grows with its pixels; what a step costs more does not. Both are measured in turn, in seconds of
the processor; the row for DIV2K is the measured one times the ratio of pixels. On a GPU the step's E is faster, and the
shards are not.
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
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import torch
from machine import cpu

from acutance.config import pipeline as pipelines
from acutance.config.data import DataSettings
from acutance.data.datasets import load_catalogue
from acutance.data.manifest import Manifest
from acutance.data.pictures import read_picture
from acutance.data.prepare import found_shards, prepare
from acutance.data.shards import open_columns
from acutance.data.stream import Stream
from acutance.imaging.derivations import derive_columns, lgs
from acutance.losses.pixel import inside

PIPELINES = Path(__file__).resolve().parent.parent / "pipelines"
OVERRIDES = ["data.train=BSDS500_train", "data.subimages={size: 320, stride: 320}"]
DIV2K_PIXELS = 32_592 * 480 * 480
SCALE = 4
HARDEST = {"lam": 4.0, "eps": 1.0}
"""Of the search space, the numbers with which a pixel reaches farthest."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20_000, help="of a trial; what ASHA lets one take on average")
    parser.add_argument("--margin", type=int, default=8, help="LR pixels around a patch whose details are computed")
    parser.add_argument("--rounds", type=int, default=3, help="shard sets made; each goes with 50 batches of both ways")
    arguments = parser.parse_args()
    use_one_core()
    loaded = pipelines.load(PIPELINES / "dsrgan.yaml", OVERRIDES)
    batch, patch = loaded.stages["gan"].batch, loaded.stages["gan"].patch
    once: list[float] = []
    seconds: dict[str, list[float]] = {"stored": [], "computed": []}
    for round_number in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as root:
            data = changed(loaded.data, alpha=4 + 0.1 * round_number)
            seconds_once, manifest, columns = made(data, root)
            once.append(seconds_once)
            ways = {
                "stored": stored(manifest, columns, batch, patch),
                "computed": computed(manifest, columns, batch, patch, arguments.margin, data),
            }
            for step in range(50):
                for name, way in ways.items():
                    seconds[name].append(timed(way, step))
    pixels = manifest.rows * 320 * 320
    report(arguments.steps, statistics.median(once), {k: statistics.median(v) for k, v in seconds.items()}, pixels)
    errors(data, arguments.margin)


def use_one_core() -> None:
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def changed(data: DataSettings, **numbers: float) -> DataSettings:
    derive = {name: column.model_copy(update=numbers) for name, column in data.derive.items()}
    return data.model_copy(update={"derive": derive})


def made(data: DataSettings, root: str) -> tuple[float, Manifest, dict[str, Any]]:
    """Return the seconds from new numbers to the first batch, the shard set and its columns."""
    started = time.process_time()
    manifest = prepare(data, SCALE, load_catalogue(PIPELINES / "datasets.yaml"), root, in_process=True)
    columns = open_columns(str(found_shards(root, manifest.fingerprint)), manifest.columns, Path(root) / "scratch")
    return time.process_time() - started, manifest, dict(columns)


def stream_of(manifest: Manifest, columns: dict[str, Any], batch: int, patch: int) -> Stream:
    divisors = {name: manifest.columns[name].divisor for name in columns}
    codings = {name: manifest.columns[name].coding for name in columns}
    return Stream(columns, divisors=divisors, codings=codings, patch=patch, batch=batch, key=0)


def stored(manifest: Manifest, columns: dict[str, Any], batch: int, patch: int) -> Callable[[int], Any]:
    return stream_of(manifest, columns, batch, patch).batch


def computed(
    manifest: Manifest, columns: dict[str, Any], batch: int, patch: int, margin: int, data: DataSettings
) -> Callable[[int], Any]:
    pictures = {name: columns[name] for name in ("hr", "lr")}
    stream = stream_of(manifest, pictures, batch, patch + 2 * margin * SCALE)

    def cut_and_extract(step: int) -> dict[str, torch.Tensor]:
        whole = stream.batch(step)
        seen = {"hr": inside(whole["hr"], margin * (SCALE - 1)), "lr": whole["lr"]}
        return {name: inside(picture, margin) for name, picture in derive_columns(seen, data.derive).items()}

    return cut_and_extract


def timed(way: Callable[[int], Any], step: int) -> float:
    started = time.process_time()
    way(step)
    return time.process_time() - started


def report(steps: int, once: float, step: dict[str, float], pixels: int) -> None:
    print(f"$ python {' '.join([str(Path('benchmarks') / Path(sys.argv[0]).name), *sys.argv[1:]])}")
    print(f"{cpu()}, one core, {platform.system()}, Python {platform.python_version()}")
    print(", ".join(f"{name} {version(name)}" for name in ("numba", "numpy", "pyarrow", "torch")))
    print(f"BSDS500_train: 199 pictures, {pixels / 1e6:.0f} megapixels of sub-images\n")
    more = step["computed"] - step["stored"]
    print(f"{'':50}{'stored':>12}{'computed':>12}{'equal after':>20}")
    print(f"{'batch of 20 with its details':50}{step['stored'] * 1e3:9.1f} ms{step['computed'] * 1e3:9.1f} ms")
    for name, factor in (("BSDS500_train", 1.0), ("DIV2K_train, by its pixels", DIV2K_PIXELS / pixels)):
        print(f"{f'{name}: once a value':50}{once * factor:10.1f} s{0:10.1f} s{once * factor / more:14,.0f} steps")
        trial = {"stored": once * factor + steps * step["stored"], "computed": steps * step["computed"]}
        print(f"{f'{name}: trial of {steps:,} steps':50}{trial['stored']:10.1f} s{trial['computed']:10.1f} s")


def errors(data: DataSettings, margin: int) -> None:
    """Print how far a patch's details of LR are from those of the whole LR picture, in log2."""
    pictures = load_catalogue(PIPELINES / "datasets.yaml").find(data.train)[:20]
    print(f"\nlargest |difference| of x, {len(pictures)} LR pictures cut to 48 pixels, {margin} of them margin:")
    for name, numbers in (("the paper's numbers", {}), (f"{HARDEST}", HARDEST)):
        worst = []
        for source in pictures:
            lr = torch.from_numpy(read_picture(source.path)[::SCALE, ::SCALE].copy()).permute(2, 0, 1)
            whole = lgs(lr, **numbers)[:, 16 + margin : 64 - margin, 16 + margin : 64 - margin]
            worst.append(float((inside(lgs(lr[:, 16:64, 16:64], **numbers), margin) - whole).abs().max()))
        print(f"  {name:28} median picture {statistics.median(worst):.1e}, worst {max(worst):.1e}")


if __name__ == "__main__":
    main()
