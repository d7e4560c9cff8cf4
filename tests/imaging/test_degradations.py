import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML
from torch import Tensor

from acutance.config.data import DegradationChoice
from acutance.config.mistakes import validate
from acutance.config.schema import Strict
from acutance.errors import ConfigError
from acutance.imaging.blurs import blur, random_blur, random_kernel
from acutance.imaging.colour import rgb_to_y
from acutance.imaging.degradations import awgn, bicubic_reduction, degrade, jpeg
from acutance.imaging.draws import step_seed
from acutance.imaging.resize import imresize, imresize_uint8
from free_pictures import PICTURES, tensor


def random_picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def random_bytes(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def psnr(a: Tensor, b: Tensor) -> float:
    return 10 * math.log10(255**2 / (a.double() - b.double()).square().mean().item())


def correlation(a: Tensor, b: Tensor) -> float:
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()


@pytest.mark.parametrize("sigma", [10, 30])
def test_noise_has_the_published_psnr_on_y(sigma: int) -> None:
    picture = random_picture(4, 3, 256, 256)
    noisy = awgn(picture, sigma=sigma, seed=1)
    expected = 20 * math.log10(255 / sigma) + 4.82
    assert psnr(rgb_to_y(noisy * 255), rgb_to_y(picture * 255)) == pytest.approx(expected, abs=0.05)


def test_noise_of_white_and_black_is_not_clipped_unless_asked() -> None:
    for value in (0.0, 1.0):
        picture = torch.full((3, 128, 128), value)
        noisy, clipped = (awgn(picture, sigma=30, seed=2, clip=clip) for clip in (False, True))
        assert (noisy - value).mean().item() == pytest.approx(0, abs=0.003)
        assert noisy.std().item() == pytest.approx(30 / 255, rel=0.02)
        assert noisy.min() < 0 or noisy.max() > 1
        assert torch.equal(clipped, noisy.clamp(0, 1))


def test_noises_of_two_seeds_or_two_places_are_unrelated() -> None:
    nothing = torch.zeros(2, 3, 64, 64)
    (a, b), (c, _) = awgn(nothing, sigma=255, seed=4), awgn(nothing, sigma=255, seed=5)
    for one, other in ((a, b), (a, c), (b, c), (a[0], a[1])):
        assert abs(correlation(one, other)) < 0.06
    torch.manual_seed(99)
    assert torch.equal(awgn(nothing, sigma=255, seed=4), torch.stack([a, b]))
    assert awgn(nothing, sigma=255, seed=2**64 - 1).shape == nothing.shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_noise_keeps_the_dtype(dtype: torch.dtype) -> None:
    picture = torch.zeros(3, 9, 9, dtype=dtype)
    noisy = awgn(picture, sigma=20, seed=6)
    assert noisy.dtype == dtype
    assert torch.allclose(noisy.float(), awgn(picture.float(), sigma=20, seed=6), atol=2e-3)


def test_every_picture_gets_one_of_several_noise_levels() -> None:
    nothing = torch.zeros(300, 3, 8, 8)
    noisy = awgn(nothing, sigma=[10, 30], seed=8)
    weak, strong = awgn(nothing, sigma=10, seed=8), awgn(nothing, sigma=30, seed=8)
    is_strong = torch.tensor([torch.equal(a, b) for a, b in zip(noisy, strong, strict=True)])
    assert torch.equal(noisy[~is_strong], weak[~is_strong])
    assert 120 < is_strong.sum() < 180  # 150 +- 9
    levels = noisy.std((1, 2, 3))
    again = awgn(nothing, sigma=[10, 30], seed=9).std((1, 2, 3))
    assert abs(correlation(levels, again)) < 0.2  # another seed chooses anew


@pytest.mark.parametrize(("height", "width"), [(64, 48), (17, 31), (1, 1)])
def test_jpeg_is_pillows(height: int, width: int) -> None:
    picture = random_bytes(2, 3, height, width)
    compressed = jpeg(picture, quality=25)
    for before, after in zip(picture, compressed, strict=True):
        file = io.BytesIO()
        Image.fromarray(before.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=25)
        assert np.array_equal(after.permute(1, 2, 0).numpy(), np.asarray(Image.open(file)))


def test_better_quality_has_better_psnr() -> None:
    picture = tensor(PICTURES["coffee"])
    levels = [psnr(jpeg(picture, quality=quality), picture) for quality in (5, 10, 25, 50, 75, 95)]
    assert levels == sorted(set(levels))


def test_jpeg_of_floats_is_that_of_their_levels() -> None:
    levels = random_bytes(3, 20, 31)
    noisy = levels.float() / 255 + 0.4 / 255
    noisy[:, 0], levels[:, 0] = 1.3, 255
    assert torch.equal(jpeg(noisy, quality=40), jpeg(levels, quality=40).float() / 255)


def test_reduction_is_matlabs() -> None:
    levels = random_bytes(2, 3, 25, 30)
    assert torch.equal(bicubic_reduction(levels, scale=3), imresize_uint8(levels, 1 / 3))
    assert torch.equal(bicubic_reduction(levels / 255), imresize(levels / 255, 1 / 4))


SEQUENCE = """
steps:
  - {type: blur_random, scale: 4}
  - {type: bicubic}
  - {type: awgn, sigma: [10, 30]}
  - {type: jpeg, quality: 40}
"""


class Settings(Strict):
    steps: list[DegradationChoice]


def test_a_pipelines_sequence_is_its_steps_one_after_another() -> None:
    content = YAML(typ="safe", pure=True).load(SEQUENCE)
    steps = [step.model_dump() for step in validate(Settings, content, "a test").steps]
    picture = random_bytes(2, 3, 40, 48)
    expected = random_blur(picture, seed=step_seed(9, 0), scale=4)
    expected = imresize(expected, 1 / 4)
    expected = awgn(expected, sigma=[10, 30], seed=step_seed(9, 2))
    assert torch.equal(degrade(picture, steps, 9), jpeg(expected, quality=40))
    assert torch.equal(degrade(picture, content["steps"], 9), jpeg(expected, quality=40))


def test_steps_share_no_noise_and_neither_do_sequences() -> None:
    nothing, noise = torch.zeros(3, 64, 64), {"type": "awgn", "sigma": 255}
    first = degrade(nothing, [noise], 1)
    second = degrade(nothing, [noise, noise], 1) - first
    others = degrade(nothing, [noise], 2), awgn(nothing, sigma=255, seed=1)
    for a, b in ((first, second), (first, others[0]), (second, others[0]), (first, others[1]), (second, others[1])):
        assert abs(correlation(a, b)) < 0.06
    assert second.std().item() == pytest.approx(1, rel=0.05)


def test_bytes_stay_bytes_until_noise_or_blur() -> None:
    picture = random_bytes(3, 16, 20)
    assert torch.equal(degrade(picture, [], 0), picture)
    whole = [{"type": "bicubic", "scale": 2}, {"type": "jpeg", "quality": 80}]
    assert degrade(picture, whole, 0).dtype == torch.uint8
    assert degrade(picture, [*whole, {"type": "blur", "sigma": 1}], 0).dtype == torch.float32


@pytest.mark.parametrize(
    ("step", "where", "message"),
    [
        ({"type": "agwn", "sigma": 1}, "steps[1].type", "did you mean 'awgn'"),
        ({"sigma": 1}, "steps[1].type", "unknown type 'None'; valid are awgn"),
        ({"type": "awgn"}, "steps[1].sigma", "needs this setting"),
        ({"type": "awgn", "sigma": 1, "clamp": True}, "steps[1].clamp", "no setting 'clamp'"),
        ({"type": "awgn", "sigma": 1, "seed": 3}, "steps[1].seed", "no setting 'seed'"),
        ({"type": "awgn", "sigma": [10, 0]}, "awgn.sigma", "sigma is"),
    ],
)
def test_steps_that_make_no_sense_are_named(step: dict, where: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        degrade(random_picture(3, 8, 8), [{"type": "bicubic"}, step], 0)
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("call", "parameter"),
    [
        (lambda p: awgn(p, sigma=0, seed=0), "awgn.sigma"),
        (lambda p: awgn(p, sigma=[], seed=0), "awgn.sigma"),
        (lambda p: awgn(p, sigma=math.nan, seed=0), "awgn.sigma"),
        (lambda p: awgn(p, sigma=1, seed=-1), "awgn.seed"),
        (lambda p: awgn(p, sigma=1, seed=2**64), "awgn.seed"),
        (lambda p: bicubic_reduction(p, scale=0), "bicubic_reduction.scale"),
        (lambda p: jpeg(p, quality=0), "jpeg.quality"),
        (lambda p: jpeg(p, quality=101), "jpeg.quality"),
        (lambda p: degrade(p, [{"type": "bicubic"}], -1), "seed"),
    ],
)
def test_parameters_out_of_range_are_named(call, parameter: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call(random_bytes(3, 8, 8))
    assert caught.value.where == parameter


@pytest.mark.parametrize("picture", [torch.zeros(8, 8), torch.zeros(1, 8, 8), torch.zeros(3, 8, 8, dtype=torch.int64)])
def test_other_tensors_are_refused(picture: Tensor) -> None:
    for call in (
        lambda: awgn(picture, sigma=1, seed=0),
        lambda: blur(picture, random_kernel(0)),
        lambda: random_blur(picture, seed=0),
        lambda: jpeg(picture, quality=50),
    ):
        with pytest.raises(ValueError, match="picture must be"):
            call()
