"""How fast are NIQE, SSIM and LPIPS, against public implementations, and do they give the same values?

One core, one photograph and its bicubic enlargement from a quarter of its size; all ways in turn, so that whatever
else the machine does meets all of them. Each gets its picture as its own users hand it over: planes and arrays for
NumPy, tensors for PyTorch.

The public implementations are no dependency of the project: `make bench` installs them into .tools/peers.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import cv2
import numpy as np
import skimage.data
import torch
import torchvision
from detail import use_one_core
from machine import cpu
from skimage.metrics import structural_similarity

from acutance.config.metrics import METRICS, PROTOCOLS
from acutance.errors import WeightsError
from acutance.evaluation.niqe import PARAMETERS
from acutance.evaluation.perceptual import BACKBONES
from acutance.evaluation.pictures import bicubic, reduced
from acutance.weights import find_weights

REPOSITORY = Path(__file__).resolve().parent.parent
PEERS = REPOSITORY / ".tools" / "peers"
INSTALL = (
    "uv pip install --no-deps --require-hashes --no-build-isolation-package basicsr --python .venv/bin/python "
    "--target .tools/peers -r benchmarks/peers.txt"
)
PACKAGES = ("basicsr", "deepinv", "lpips", "numba", "numpy", "scikit-image", "scipy", "torch", "torchmetrics")
TURN = 0.1
"""Seconds: a way that takes less is run again when it is its turn."""

Way = Callable[[], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    if not (PEERS / "deepinv").is_dir():
        sys.exit(f"what this compares with is not installed; run `make bench`, or: {INSTALL}")
    sys.path.append(str(PEERS))
    use_one_core()
    truth = photograph(arguments.megapixels)
    restored = bicubic(np.floor(reduced(truth, 4) + 0.5).clip(0, 255).astype(np.uint8), 4)
    groups = {"NIQE": niqe_ways, "SSIM of Y": ssim_ways, "LPIPS, SqueezeNet": lpips_ways}

    heading(truth)
    for title, ways_of in groups.items():
        try:
            report(title, ways_of(restored, truth), arguments.rounds, truth.shape[0] * truth.shape[1] / 1e6)
        except WeightsError as error:
            print(f"\n{title}: not measured; {error.what}; {error.fix}")


def photograph(megapixels: float) -> np.ndarray:
    """uint8 (H, W, 3): a photograph that comes with scikit-image, brought to size; sides are multiples of 4."""
    rgb = skimage.data.coffee()
    factor = (megapixels * 1e6 / (rgb.shape[0] * rgb.shape[1])) ** 0.5
    rgb = cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(rgb[: rgb.shape[0] // 4 * 4, : rgb.shape[1] // 4 * 4])


def niqe_ways(restored: np.ndarray, truth: np.ndarray) -> dict[str, Way]:
    luma = PROTOCOLS["y_crop4"].plane(restored, 0)
    ways: dict[str, Way] = {"acutance": lambda: METRICS["niqe"].function(luma)}
    ways["acutance"]()

    tensor, deepinv = torch.from_numpy(luma)[None, None].float(), deepinv_niqe()
    ways["deepinv, PyTorch"] = in_inference(lambda: deepinv(tensor))
    if (PEERS / "basicsr").is_dir():
        basicsr = basicsr_niqe()
        ways["BasicSR, NumPy"] = lambda: basicsr(luma, 0, input_order="HW")
    return ways


def deepinv_niqe() -> Callable[[torch.Tensor], torch.Tensor]:
    """Deepinv's, with the published parameters in place of the file that it would download."""
    metric = importlib.import_module("deepinv.loss.metric").NIQE(weights_path=None, round_tensor=True)
    with np.load(find_weights(PARAMETERS), allow_pickle=False) as stored:
        metric.mu_p = torch.from_numpy(stored["mu_pris_param"]).flatten().float()
        metric.cov_p = torch.from_numpy(stored["cov_pris_param"]).float()
    return metric


def basicsr_niqe() -> Callable[..., float]:
    # It imports a module that torchvision has since dropped; what it needs of it is in `functional`.
    sys.modules.setdefault("torchvision.transforms.functional_tensor", torchvision.transforms.functional)
    return importlib.import_module("basicsr.metrics.niqe").calculate_niqe


def ssim_ways(restored: np.ndarray, truth: np.ndarray) -> dict[str, Way]:
    torchmetrics = importlib.import_module("torchmetrics.functional.image").structural_similarity_index_measure
    planes = [PROTOCOLS["y_crop4"].plane(picture, 4) for picture in (restored, truth)]
    tensors = [torch.from_numpy(plane)[None, None].float() for plane in planes]
    wangs = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return {
        "acutance": lambda: METRICS["ssim_y"].function(*planes),
        "scikit-image, SciPy": lambda: structural_similarity(*planes, **wangs),
        "TorchMetrics, PyTorch": in_inference(lambda: torchmetrics(*tensors, data_range=255.0)),
    }


def lpips_ways(restored: np.ndarray, truth: np.ndarray) -> dict[str, Way]:
    package = lpips_package(find_weights(BACKBONES["squeeze"].file))
    tensors = [torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 127.5 - 1 for picture in (restored, truth)]
    tensors = [tensor.contiguous() for tensor in tensors]
    return {
        "acutance": lambda: METRICS["lpips_squeeze"].function(restored, truth),
        "lpips, PyTorch": in_inference(lambda: package(*tensors)),
    }


def lpips_package(weights: Path) -> Callable[..., torch.Tensor]:
    """The package's own, with torchvision's weights from a file in place of those that it would download."""
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
    stored = torch.load(weights, map_location="cpu", weights_only=True)
    names = network.net.state_dict()
    network.net.load_state_dict({name: stored[f"features.{name.split('.', 1)[1]}"] for name in names})
    return network


def in_inference(way: Callable[[], torch.Tensor]) -> Way:
    def measured() -> float:
        with torch.inference_mode():
            return float(way())

    return measured


def report(title: str, ways: dict[str, Way], rounds: int, megapixels: float) -> None:
    values = {name: float(way()) for name, way in ways.items()}  # the first call compiles
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name] += timed(way)
    fastest = {name: min(times) / megapixels for name, times in seconds.items()}
    print(f"\n{title:25}{'fastest':>12}{'median':>12}{'ratio':>8}{'runs':>6}{'value':>12}{'differs by':>13}")
    for name, times in seconds.items():
        per_megapixel = f"{fastest[name] * 1e3:9.1f} ms{statistics.median(times) / megapixels * 1e3:9.1f} ms"
        differs = "" if name == "acutance" else f"{abs(values[name] - values['acutance']):13.1e}"
        ratio = fastest[name] / fastest["acutance"]
        print(f"{name:25}{per_megapixel}{ratio:8.2f}{len(times):6}{values[name]:12.6f}{differs}")


def timed(way: Way) -> list[float]:
    seconds: list[float] = []
    while sum(seconds) < TURN:
        started = time.perf_counter()
        way()
        seconds.append(time.perf_counter() - started)
    return seconds


def heading(truth: np.ndarray) -> None:
    height, width = truth.shape[:2]
    print(f"$ python {' '.join([str(Path('benchmarks') / Path(sys.argv[0]).name), *sys.argv[1:]])}")
    print(f"{cpu()}, one core, {platform.system()}, Python {platform.python_version()}")
    print(", ".join(f"{name} {version(name)}" for name in PACKAGES if name != "basicsr" or (PEERS / name).is_dir()))
    print(f"{width} x {height} = {width * height / 1e6:.2f} megapixels; times are per megapixel, ratios of the fastest")


if __name__ == "__main__":
    main()
