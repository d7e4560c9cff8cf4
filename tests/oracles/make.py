"""Makes `free_pictures.npz` and `.json`: what other programs compute of photographs that come with scikit-image.

    make .tools/peers/.installed
    PYTHONPATH=.tools/peers .venv/bin/python tests/oracles/make.py

Nothing here is of this project: BasicSR 1.4.2 (Apache-2.0) resizes and has NIQE, PSNR and SSIM of colours,
scikit-image 0.26 has PSNR and SSIM of Y; the rest is NumPy. `niqe_pris_params.npz` is BasicSR's own file.

The older MATLAB, which made the LR files of the benchmarks, took rows first, rounded each pass to uint8 and repeated
the border. BasicSR has the weights; `older` applies them so. It makes the LR files of Set5, Set14 and BSD100 at x2 and
x4 again bit by bit, which `--check FOLDER` shows where they are (a folder with Set5/HR, Set5/LRx4 and so on).
"""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from skimage import data
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

# BasicSR imports a module that torchvision has since dropped; what it needs of it is in `functional`.
sys.modules.setdefault("torchvision.transforms.functional_tensor", torchvision.transforms.functional)
resizing = importlib.import_module("basicsr.utils.matlab_functions")
metrics = importlib.import_module("basicsr.metrics")

HERE = Path(__file__).resolve().parent
PICTURES = {name: getattr(data, name)() for name in ("astronaut", "chelsea", "coffee")}
CROPS = {name: picture[100:148, 120:176] for name, picture in PICTURES.items()}
ALPHAS = [1 / parts for parts in (7, 6, 5, 4, 3)]


def older(picture: np.ndarray, scale: float) -> np.ndarray:
    """Reduce uint8 (H, W, 3) as the older MATLAB, with weights in float64."""
    torch.set_default_dtype(torch.float64)
    for axis in (0, 1):
        length = picture.shape[axis]
        made = resizing.calculate_weights_indices(length, math.ceil(length * scale), scale, "cubic", 4, True)
        weights, indices, before, _ = (each.numpy() if torch.is_tensor(each) else each for each in made)
        taken = picture.take(np.clip(indices.astype(int) - before, 0, length - 1), axis).astype(float)
        shape = [1, *weights.shape, 1] if axis else [*weights.shape, 1, 1]
        picture = np.floor((taken * weights.reshape(shape)).sum(axis + 1) + 0.5).clip(0, 255).astype(np.uint8)
    torch.set_default_dtype(torch.float32)
    return picture


def resized(picture: np.ndarray, scale: float) -> np.ndarray:
    """Resize (H, W, 3) of 0..255 as today's MATLAB, in floating point."""
    return 255 * resizing.imresize(picture / 255, scale)


def rounded(picture: np.ndarray) -> np.ndarray:
    return picture.round().clip(0, 255).astype(np.uint8)


def bicubic_row(picture: np.ndarray) -> dict[str, float]:
    """PSNR, SSIM and NIQE of a picture that was reduced to a quarter and enlarged; 4 pixels of the border are cut."""
    height, width = (side // 12 * 12 for side in picture.shape[:2])
    truth = picture[:height, :width]
    restored = rounded(resized(rounded(resized(truth, 1 / 4)), 4))
    planes = [np.floor(rgb2ycbcr(shown)[..., 0] + 0.5)[4:-4, 4:-4] for shown in (truth, restored)]
    wangs = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return {
        "psnr_rgb": metrics.calculate_psnr(restored, truth, 4),
        "ssim_rgb": metrics.calculate_ssim(restored, truth, 4),
        "psnr_y": peak_signal_noise_ratio(*planes, data_range=255),
        "ssim_y": structural_similarity(*planes, win_size=11, **wangs),
        "niqe": metrics.calculate_niqe(restored[..., ::-1], 4),
    }


def selected(picture: np.ndarray) -> list[float]:
    """Per cent of values that a weight map selects: Zhou et al., eqs. 4 to 7, a value at a time by whole shifts."""
    padded = np.pad(picture.astype(float), ((1, 1), (1, 1), (0, 0)), mode="edge")
    centre = padded[1:-1, 1:-1]
    shifts = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    differences = np.stack([centre - shift for shift in shifts])
    chosen = np.take_along_axis(differences, np.abs(differences).argmax(0)[None], 0)[0]
    return [100 * float(np.mean(np.abs(chosen - chosen.mean()) >= alpha * chosen.std())) for alpha in ALPHAS]


def check(folder: Path) -> None:
    """Compare `older` with the LR files of a folder of benchmarks."""
    for name in ("Set5", "Set14", "BSD100"):
        for scale in (2, 4):
            files = sorted((folder / name / f"LRx{scale}").glob("*.png"))
            equal = 0
            for file in files:
                other = folder / name / f"HRx{scale}" / file.name
                truth = other if other.exists() else folder / name / "HR" / file.name
                made, there = (np.asarray(Image.open(path).convert("RGB")) for path in (truth, file))
                equal += np.array_equal(older(made, 1 / scale), there)
            print(f"{name} x{scale}: {equal} of {len(files)} equal")


def main() -> None:
    if sys.argv[1:2] == ["--check"]:
        check(Path(sys.argv[2]))
        return
    arrays = {f"{name}_older_{s}": older(crop, 1 / s) for name, crop in CROPS.items() for s in (2, 4)}
    arrays |= {f"coffee_reduced_{s}": resized(CROPS["coffee"], 1 / s).astype(np.float32) for s in (2, 4)}
    arrays["coffee_enlarged_4"] = resized(CROPS["coffee"][:12, :14], 4).astype(np.float32)
    np.savez_compressed(HERE / "free_pictures.npz", **arrays)
    values = {
        name: {
            "bicubic": bicubic_row(picture),
            "niqe": metrics.calculate_niqe(picture[..., ::-1], 0),
            "selected_percent": selected(picture),
        }
        for name, picture in PICTURES.items()
    }
    (HERE / "free_pictures.json").write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
