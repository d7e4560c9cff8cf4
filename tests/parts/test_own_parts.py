"""Every part of our own passes the suite of `acutance check`."""

from __future__ import annotations

from typing import Any

import pytest

from acutance import parts
from acutance.commands.check import CHECKS, check_part
from acutance.errors import WeightsError
from acutance.parts.names import PARTS
from acutance.weights import require_weights

SMALL: dict[tuple[str, str], dict[str, Any]] = {
    ("network", "rrdbnet"): {"blocks": 1, "channels": 4, "growth": 2},
    ("network", "msrresnet"): {"blocks": 1, "channels": 4},
    ("network", "dsrgan"): {"blocks": 2, "channels": 4, "growth": 2, "detail_blocks": 1},
    ("network", "eusr"): {"blocks": 1, "channels": 4},
    ("network", "highpass"): {"channels": 4},
    ("network", "wdsr"): {"blocks": 1, "channels": 4},
    ("network", "resnet"): {"depth": 20},
    ("network", "hfa"): {"blocks": [1, 1, 1], "channels": 4},
    ("network", "dncnn"): {"layers": 3, "channels": 4},
    ("network", "nima"): {"weights": "none"},
    ("discriminator", "vgg"): {"channels": 2, "size": 32},
    ("discriminator", "eusr"): {"channels": 2, "size": 32},
    ("schedule", "multi_step"): {"milestones": [1]},
    ("schedule", "step"): {"every": 10},
    ("schedule", "cosine_restarts"): {"periods": [10]},
    ("loss", "perceptual"): {"network": {"type": "squeezenet", "weights": "none"}, "layers": ["fire3"]},
    ("loss", "dual_perceptual"): {"network": "squeezenet", "second": "resnet50"},
    ("loss", "score"): {"network": "a-stage"},
    ("loss", "cross_entropy"): {"on": "logits"},
    ("loss", "earth_mover"): {"on": "distribution"},
    ("mask", "column"): {"column": "weight"},
    ("degradation", "awgn"): {"sigma": 10.0},
    ("degradation", "blur"): {"sigma": 1.0},
    ("degradation", "jpeg"): {"quality": 30},
    ("degradation", "paired"): {"scale": 1},
    ("derivation", "bicubic"): {"scale": 2},
    ("derivation", "weight_map"): {"of": ["lr", "statistics"]},
}
"""Settings that make a part small, or that it needs."""

OWN = [(kind, name) for kind in CHECKS for name in PARTS[kind]]


@pytest.mark.parametrize(("kind", "name"), OWN)
def test_it_passes(kind: str, name: str) -> None:
    if kind == "metric":
        try:
            require_weights(parts.find(kind, name).requires)
        except WeightsError as error:
            pytest.skip(error.what)
    results = check_part(kind, name, SMALL.get((kind, name)))
    assert results
    assert not [f"{result.check}: {result.problem}" for result in results if result.problem]
