"""What spoils a sample is drawn in the stream, and is a pure function of (key, sample) as all else there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from acutance.data.prefetch import Prefetcher
from acutance.data.stream import Stream
from acutance.errors import ConfigError
from acutance.imaging.resize import imresize_uint8

AWGN = [{"type": "awgn", "sigma": [10.0, 30.0]}]
BLUR_NOISE_JPEG = [{"type": "blur_random"}, *AWGN, {"type": "jpeg", "quality": 25}]


def stream(degrade: list[dict[str, object]], **changes: object) -> Stream:
    hr = np.random.default_rng(0).integers(0, 256, (7, 40, 40, 3), dtype=np.uint8)
    options = {"patch": 24, "batch": 8, "key": 5, "degrade": degrade, **changes}
    return Stream({"hr": hr}, divisors={"hr": 1}, codings={"hr": "pixels"}, **options)


@pytest.mark.parametrize("steps", [AWGN, BLUR_NOISE_JPEG])
@pytest.mark.parametrize("world", [2, 4])
def test_the_workers_together_see_the_degraded_batch_of_one(steps: list[dict[str, object]], world: int) -> None:
    whole = stream(steps).batch(9)
    shares = [stream(steps).batch(9, rank, world) for rank in range(world)]
    for name in ("hr", "lr"):
        assert torch.equal(torch.cat([share[name] for share in shares]), whole[name])


def test_steps_may_be_asked_for_in_any_order_and_again() -> None:
    one, other = stream(BLUR_NOISE_JPEG), stream(BLUR_NOISE_JPEG)
    forwards = [one.batch(step)["lr"] for step in range(5)]
    backwards = [other.batch(step)["lr"] for step in reversed(range(5))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert torch.equal(one.batch(2)["lr"], forwards[2])


def test_every_sample_of_every_step_has_noise_of_its_own() -> None:
    """Rows come back after an epoch of 7; their noise must not. Either sigma is drawn about as often."""
    one = stream(AWGN, augment="none", patch=40)
    noise = torch.cat([(batch["lr"] - batch["hr"]) * 255 for batch in map(one.batch, range(14))]).flatten(1)
    assert len(torch.unique(noise[:, 0])) == len(noise)
    levels = noise.std(dim=1)
    loud = levels > 20
    assert 35 <= int(loud.sum()) <= 77  # of 112, sigma 5.3
    assert levels[loud].mean() == pytest.approx(30, abs=0.3)
    assert levels[~loud].mean() == pytest.approx(10, abs=0.1)
    assert torch.corrcoef(noise).fill_diagonal_(0).abs().max() < 0.08


def test_another_key_draws_other_noise() -> None:
    one, other = (stream(AWGN, key=key, augment="none", patch=40).batch(0) for key in (5, 6))
    assert not set((one["lr"] - one["hr"])[:, 0, 0, 0].tolist()) & set((other["lr"] - other["hr"])[:, 0, 0, 0].tolist())


def test_noise_is_neither_clipped_nor_rounded() -> None:
    lr = stream(AWGN).batch(0)["lr"]
    assert lr.dtype == torch.float32
    assert lr.min() < 0
    assert lr.max() > 1
    assert not torch.equal((lr * 255).round(), lr * 255)


def test_a_reduction_is_that_of_the_benchmarks() -> None:
    batch = stream([{"type": "bicubic", "scale": 4}]).batch(3)
    hr = (batch["hr"] * 255).round().to(torch.uint8)
    assert batch["lr"].shape == (8, 3, 6, 6)
    assert torch.equal((batch["lr"] * 255).round().to(torch.uint8), imresize_uint8(hr, 1 / 4))


def test_degrading_changes_nothing_else() -> None:
    assert torch.equal(stream(AWGN).batch(4)["hr"], stream([]).batch(4)["hr"])
    assert list(stream([]).batch(4)) == ["hr"]


def test_a_stream_that_is_ahead_gives_the_same_in_whatever_order() -> None:
    plain, ahead = stream(AWGN), Prefetcher(stream(AWGN))
    for step in (0, 1, 2, 7, 8, 3, 3, 4):  # a run that goes back asks again for what it has seen
        for name, tensor in plain.batch(step, 1, 2).items():
            assert torch.equal(ahead.batch(step, 1, 2)[name], tensor)
        assert ahead.samples(step, 1, 2) == plain.samples(step, 1, 2)
    assert torch.equal(ahead.batch(5)["lr"], plain.batch(5)["lr"])
    with pytest.raises(ConfigError, match="cannot be shared by 3 workers"):
        ahead.batch(6, 0, 3)


def test_the_next_batch_is_made_meanwhile() -> None:
    made: list[int] = []

    class Noted(Stream):
        def batch(self, step: int, rank: int = 0, world: int = 1) -> dict[str, torch.Tensor]:
            made.append(step)
            return super().batch(step, rank, world)

    hr = np.zeros((1, 24, 24, 3), np.uint8)
    ahead = Prefetcher(Noted({"hr": hr}, divisors={"hr": 1}, codings={"hr": "pixels"}, patch=24, batch=1, key=0))
    for step in range(3):
        ahead.batch(step)
    ahead.samples(0)  # waits for what was begun
    assert made == [0, 1, 2, 3]
