"""A sixth paper: a network that reads LR and an edge map of it, a Charbonnier loss, Poisson noise, a metric."""

import math

import numpy as np
import torch
from torch import nn

from acutance.evaluation.metrics import Metric


class EdgeSR(nn.Module):
    """Three convolutions over the picture and its edges, x2."""

    inputs = ("lr", "lr_edges")
    outputs = ("image",)

    def __init__(self, *, width: int = 16, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.body = nn.Sequential(
            nn.Conv2d(4, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 3 * scale**2, 3, padding=1),
            nn.PixelShuffle(scale),
        )

    def forward(self, lr: torch.Tensor, lr_edges: torch.Tensor) -> dict[str, torch.Tensor]:
        larger = nn.functional.interpolate(lr, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return {"image": larger + self.body(torch.cat([lr, lr_edges], dim=1))}


def edges(picture: torch.Tensor, *, gain: float = 1.0) -> torch.Tensor:
    """How much the brightness changes from pixel to pixel."""
    grey = picture.mean(dim=1, keepdim=True)
    padded = nn.functional.pad(grey, (0, 1, 0, 1), mode="replicate")
    across, down = padded[..., :-1, 1:] - grey, padded[..., 1:, :-1] - grey
    return gain * (across.abs() + down.abs())


class Charbonnier(nn.Module):
    """mean sqrt(difference^2 + eps^2)."""

    reads = "outputs"

    def __init__(self, *, eps: float = 1e-3) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return ((prediction - target).square() + self.eps**2).sqrt().mean()


def poisson(picture: torch.Tensor, *, seed: int, peak: float = 200.0) -> torch.Tensor:
    """Shot noise of a sensor that counts `peak` photons at white."""
    pixels = picture.float() / 255 if picture.dtype == torch.uint8 else picture
    flat = pixels.reshape(-1, *pixels.shape[-3:])
    noisy = [
        torch.from_numpy(np.random.default_rng([seed, i]).poisson(one.clamp(0, 1).numpy() * peak) / peak).float()
        for i, one in enumerate(flat)
    ]
    return torch.stack(noisy).reshape(pixels.shape)


def _psnr_of_red(restored: np.ndarray, truth: np.ndarray) -> float:
    error = np.mean((restored[..., 0].astype(float) - truth[..., 0]) ** 2)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


psnr_red = Metric(_psnr_of_red, "PSNR-R", "cropped rgb", True, "maximize", 2, unit="dB")
