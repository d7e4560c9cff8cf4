"""Model files to register."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from acutance.models.model_file import save_model
from acutance.models.rrdbnet import RRDBNet

NETWORK = {"blocks": 1, "channels": 8, "growth": 4, "scale": 2}


def model_files_in(folder: Path) -> Callable[[int], Path]:
    """Return what writes model files; another seed is another model with another fingerprint."""

    def write(seed: int) -> Path:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = RRDBNet(**NETWORK)
        path = folder / f"stage {seed}" / "weights.safetensors"
        description = {
            "network": {"type": "rrdbnet", **NETWORK},
            "scale": 2,
            "stage": "gan",
            "fingerprint": f"{seed:016x}",
            "title": "A test's restorer",
            "notes": ["trained on nothing"],
        }
        save_model(str(path), network, description)
        return path

    return write
