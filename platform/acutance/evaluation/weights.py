"""Finds parameter and weight files that are published elsewhere. Nothing is downloaded from here."""

from __future__ import annotations

import os
from pathlib import Path

from acutance.errors import WeightsError

KNOWN: dict[str, str] = {
    "niqe_pris_params.npz": "basicsr/metrics/niqe_pris_params.npz of github.com/XPixelGroup/BasicSR (12 kB)",
    "squeezenet1_1-b8a52dc0.pth": "torchvision's SqueezeNet 1.1 (5 MB, download.pytorch.org/models)",
    "alexnet-owt-7be5be79.pth": "torchvision's AlexNet (233 MB, download.pytorch.org/models)",
    "vgg16-397923af.pth": "torchvision's VGG16 (528 MB, download.pytorch.org/models)",
    "vgg19-dcbb9e9d.pth": "torchvision's VGG19 (548 MB, download.pytorch.org/models)",
}
"""File name -> where it is published."""


def folders() -> list[Path]:
    """Return where files are looked for, in order: ACUTANCE_WEIGHTS, torch's hub cache, our own cache."""
    named = [Path(part) for part in os.environ.get("ACUTANCE_WEIGHTS", "").split(os.pathsep) if part]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    torch_home = Path(os.environ.get("TORCH_HOME") or cache / "torch")
    return [*named, torch_home / "hub" / "checkpoints", Path.home() / ".cache" / "acutance" / "weights"]


def find_weights(name: str) -> Path:
    """Return the path of a parameter or weights file, looked for in `folders()` and their direct subfolders.

    Raises:
        WeightsError: when it is nowhere; names the file, where to put it and where it is published.
    """
    for folder in folders():
        for candidate in (folder / name, *sorted(folder.glob(f"*/{name}"))):
            if candidate.is_file():
                return candidate
    published = f" (published as {KNOWN[name]})" if name in KNOWN else ""
    raise WeightsError(
        f"the file {name} is not here",
        where=os.pathsep.join(str(folder) for folder in folders()),
        fix=f"put it{published} into a folder and set ACUTANCE_WEIGHTS to that folder",
    )
