"""Benchmark pictures, small made pictures, and a small model file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torchvision
from scipy.ndimage import gaussian_filter
from torch import nn

from acutance.data.datasets import Source
from acutance.data.pictures import write_picture
from acutance.models.model_file import build_network, save_model


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 (H, W, 3) with structure at several scales."""
    noise = np.random.default_rng(seed).standard_normal((height, width, 3))
    layers = [gaussian_filter(noise, (s, s, 0), mode="wrap") * s for s in (0.7, 2, 6)]
    return (128 + 55 * sum(layers)).clip(0, 255).astype(np.uint8)


def benchmark(data_root: Path, name: str) -> list[Source]:
    """The pictures of a benchmark with their LR."""
    folder = data_root / "benchmarks" / name
    files = sorted((folder / "HR").glob("*.png"))
    return [Source(file.stem, str(file), {4: str(folder / "LRx4" / file.name)}) for file in files]


def made_sources(folder: Path, sizes: list[tuple[int, int]]) -> list[Source]:
    """Made pictures of these sizes, as files."""
    for index, (height, width) in enumerate(sizes):
        write_picture(folder / f"made_{index}.png", picture(height, width, index))
    return [Source(f"made_{i}", str(folder / f"made_{i}.png")) for i in range(len(sizes))]


def model_file(path: Path, *, scale: int = 4) -> str:
    """A DSRGAN of a few thousand parameters whose weights are not quite zero."""
    settings = {
        "type": "dsrgan",
        "blocks": 1,
        "channels": 8,
        "growth": 4,
        "detail_blocks": 1,
        "skip": "bicubic",
    }
    torch.manual_seed(0)
    network = build_network(settings)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    description = {
        "network": settings,
        "scale": scale,
        "derive": {"lr_detail": {"type": "lgs", "of": "lr"}},
        "stage": "gan",
        "title": "made",
    }
    save_model(str(path), network, description)
    return str(path)


def build_backbone(name: str) -> nn.Module:
    """The features of a classifier with random weights, as torchvision numbers them; nothing else of it is built."""
    models = torchvision.models
    with torch.device("meta"):
        classifier = {"squeeze": models.squeezenet1_1, "alex": models.alexnet, "vgg": models.vgg16}[name]()
    features = classifier.features.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in features.parameters():
            fan_in = parameter[0].numel()
            parameter.normal_(0, (2 / fan_in) ** 0.5 if parameter.ndim > 1 else 0.05, generator=generator)
    return features
