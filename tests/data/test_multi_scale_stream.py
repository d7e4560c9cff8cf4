"""Which scale a step sees, and what of it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch

from acutance.data.multi_scale_stream import MultiScaleStream
from acutance.data.stream import Stream


def pixels(side: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (5, side, side, 3), dtype=np.uint8)


def stream(key: int = 0) -> MultiScaleStream:
    hr = pixels(64, 0)
    lr = {scale: hr[:, ::scale, ::scale] for scale in (2, 4, 8)}  # so that LR says where HR was cut
    streams = {
        scale: Stream(
            {"hr": hr, "lr": lr[scale]},
            divisors={"hr": 1, "lr": scale},
            codings={"hr": "pixels", "lr": "pixels"},
            patch=4 * scale,
            batch=4,
            key=key,
            augment="none",
        )
        for scale in (8, 2, 4)
    }
    return MultiScaleStream(streams, key)


def test_lr_patches_are_of_one_size_and_hr_patches_fit_them() -> None:
    seen = Counter()
    for step in range(60):
        batch = stream().batch(step)
        scale = int(batch["scale"][0])
        seen[scale] += 1
        assert batch["scale"].tolist() == [scale] * 4
        assert batch["lr"].shape == (4, 3, 4, 4)
        assert batch["hr"].shape == (4, 3, 4 * scale, 4 * scale)
        assert torch.equal(batch["lr"], batch["hr"][..., ::scale, ::scale])
    assert seen.keys() == {2, 4, 8}
    assert min(seen.values()) > 10


def test_the_scale_is_a_function_of_key_and_step() -> None:
    scales = [stream().scale(step) for step in range(30)]
    assert scales == [stream().scale(step) for step in range(30)]
    assert scales != [stream(1).scale(step) for step in range(30)]


def test_workers_share_a_step() -> None:
    for step in range(5):
        halves = [stream().batch(step, rank, 2) for rank in range(2)]
        whole = stream().batch(step)
        assert all(torch.equal(torch.cat([half[name] for half in halves]), whole[name]) for name in whole)
        rows = [row for rank in range(2) for row in stream().samples(step, rank, 2)]
        assert rows == stream().samples(step)
