"""EUSR: parameters, TensorFlow's order of sub-pixels, the three paths, the start of training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from acutance.errors import ConfigError
from acutance.imaging.resize import imresize
from acutance.models.eusr import EUSR, MEAN, PATHS, SCALES, Doubling, Path


def small(**settings: bool) -> EUSR:
    torch.manual_seed(0)
    return EUSR(blocks=1, channels=4, **settings)  # type: ignore[arg-type]


def picture(*shape: int) -> Tensor:
    return torch.rand(shape or (2, 3, 6, 8), generator=torch.Generator().manual_seed(1))


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_are_those_of_the_released_code() -> None:
    with torch.device("meta"):
        network = EUSR()
    assert count(network) == 6_295_689
    assert count(network.conv_first) == 1_792
    assert count(network.heads) == 1_229_568
    assert count(network.body) == 2_400_320
    assert count(network.tails["x2"]) == 443_136
    assert [count(network.tails[f"x{s}"]) + count(network.conv_last[f"x{s}"]) for s in SCALES] == [
        444_867,
        888_003,
        1_331_139,
    ]


def depth_to_space(features: np.ndarray) -> np.ndarray:
    """TensorFlow's, block 2, from (B,h,w,4C) to (B,2h,2w,C): channels of one output pixel lie together."""
    b, h, w, c = features.shape
    return features.reshape(b, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, c // 4)


def test_sub_pixels_are_in_tensorflows_order() -> None:
    doubling = Doubling(4, 0.1)
    features = picture(2, 4, 3, 5)
    found, chain = [], features
    for module in doubling.chain:
        chain = module(chain)
        found.append(chain)
    joined = torch.cat(found, 1).permute(0, 2, 3, 1).detach().numpy()
    expected = torch.from_numpy(depth_to_space(joined)).permute(0, 3, 1, 2)
    torch.testing.assert_close(doubling(features).detach(), expected)


def test_it_enlarges_by_every_scale() -> None:
    network = small()
    for scale in SCALES:
        image = network(picture(), torch.tensor([scale, scale]))["image"]
        assert image.shape == (2, 3, 6 * scale, 8 * scale)
    assert network(picture())["image"].shape == (2, 3, 24, 32)
    with pytest.raises(ConfigError, match="no scale 3"):
        network(picture(), torch.tensor([3, 3]))


def test_all_paths_are_one_after_another_on_the_batch_axis() -> None:
    network = small(multipass=True)
    stacked = network(picture())["image"]
    assert stacked.shape == (6, 3, 24, 32)
    for path, image in zip(PATHS, stacked.chunk(3), strict=True):
        torch.testing.assert_close(image, network.along(path, picture()))
    torch.testing.assert_close(network.eval()(picture())["image"], stacked[:2])


def test_what_the_paths_are() -> None:
    network = small()
    twice = network.enlarged(network.enlarged(picture(), 2), 2)
    torch.testing.assert_close(network.along("x2x2", picture()), twice)
    large = network.enlarged(picture(), 8)
    torch.testing.assert_close(network.along("x8down", picture()), imresize(large, 0.5))
    network.halving = "subsample"
    torch.testing.assert_close(network.along("x8down", picture()), large[..., ::2, ::2])


@pytest.mark.parametrize("path", PATHS)
def test_the_path_outside_of_training_can_be_chosen(path: Path) -> None:
    torch.manual_seed(0)
    network = EUSR(blocks=1, channels=4, path=path).eval()
    torch.testing.assert_close(network(picture())["image"], network.along(path, picture()))


def test_the_mean_is_taken_away_and_comes_back() -> None:
    """Without anything to add, what comes out is DIV2K's mean colour; the network itself sees 0..255."""
    network = small()
    seen: list[Tensor] = []
    network.conv_first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for layer in network.conv_last.values():
        nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
    mean = torch.tensor(MEAN).view(1, 3, 1, 1)
    torch.testing.assert_close(network(picture())["image"], (mean / 255).expand(2, 3, 24, 32))
    torch.testing.assert_close(seen[0] + mean, 255 * picture())
    assert "mean" not in network.state_dict()


def test_every_parameter_learns_along_the_paths() -> None:
    network = small(multipass=True)
    network(picture())["image"].square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_residual_blocks_start_near_nothing() -> None:
    torch.manual_seed(0)
    network = EUSR()
    narrow, wide = network.body.blocks[0].conv1.weight, network.heads["x2"][0].conv1.weight
    for weight, parameter in ((narrow, 6.03e-5), (wide, 3.62e-5)):
        assert weight.abs().max() <= 2.01 * parameter
        assert weight.std().item() == pytest.approx(0.8796 * parameter, rel=0.02)  # cut at two deviations
    bound = (6 / (9 * (64 + 64))) ** 0.5
    assert 0.99 * bound < network.body.conv.weight.abs().max() <= bound
