"""RRDBNet against a reference written from its description, and its numbers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from acutance.errors import ConfigError
from acutance.imaging.resize import imresize
from acutance.models.rrdbnet import RRDBNet


def small(**changes: object) -> RRDBNet:
    torch.manual_seed(0)
    return RRDBNet(**{"blocks": 2, "channels": 8, "growth": 4, **changes})


def reference(weights: dict[str, Tensor], lr: Tensor, blocks: int) -> Tensor:
    """The x4 network from its parameters by name, one operation at a time."""

    def conv(name: str, x: Tensor) -> Tensor:
        return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    def leaky(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.2 * x)

    def dense(name: str, x0: Tensor) -> Tensor:
        x1 = leaky(conv(f"{name}.conv1", x0))
        x2 = leaky(conv(f"{name}.conv2", torch.cat((x0, x1), 1)))
        x3 = leaky(conv(f"{name}.conv3", torch.cat((x0, x1, x2), 1)))
        x4 = leaky(conv(f"{name}.conv4", torch.cat((x0, x1, x2, x3), 1)))
        return x0 + 0.2 * conv(f"{name}.conv5", torch.cat((x0, x1, x2, x3, x4), 1))

    first = x = conv("conv_first", lr)
    for i in range(blocks):
        inside = x
        for j in (1, 2, 3):
            inside = dense(f"body.{i}.rdb{j}", inside)
        x = x + 0.2 * inside
    x = first + conv("conv_body", x)
    for name in ("conv_up1", "conv_up2"):
        x = leaky(conv(name, x.repeat_interleave(2, -1).repeat_interleave(2, -2)))
    return conv("conv_last", leaky(conv("conv_hr", x)))


@pytest.mark.parametrize(("blocks", "parameters"), [(23, 16_697_987), (27, 19_575_683)])
def test_parameter_count(blocks: int, parameters: int) -> None:
    with torch.device("meta"):
        network = RRDBNet(blocks=blocks)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_names_of_all_702_tensors() -> None:
    layers = ["conv_first", "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]
    layers += [f"body.{i}.rdb{j}.conv{k}" for i in range(23) for j in range(1, 4) for k in range(1, 6)]
    with torch.device("meta"):
        names = set(RRDBNet().state_dict())
    assert len(names) == 702
    assert names == {f"{layer}.{leaf}" for layer in layers for leaf in ("weight", "bias")}


def test_forward_is_the_described_computation() -> None:
    network = small()
    for parameter in network.parameters():  # initial values are too weak to show a wrong connection
        torch.nn.init.normal_(parameter, std=0.2)
    lr = torch.rand(2, 3, 5, 7)
    expected = reference(network.state_dict(), lr, blocks=2)
    torch.testing.assert_close(network(lr)["image"], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("size", [(1, 1), (5, 8), (7, 3)])
def test_output_size(scale: int, size: tuple[int, int]) -> None:
    image = small(scale=scale)(torch.rand(1, 3, *size))["image"]
    assert image.shape == (1, 3, size[0] * scale, size[1] * scale)


def test_scale_2_is_the_fourfold_network_behind_a_fold() -> None:
    network = small(scale=2)
    assert network.conv_first.in_channels == 12  # as RealESRGAN_x2plus
    lr = torch.rand(1, 3, 6, 4)
    folded = lr.reshape(1, 3, 3, 2, 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(1, 12, 3, 2)
    expected = reference(network.state_dict(), folded, blocks=2)
    torch.testing.assert_close(network(lr)["image"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [2, 4])
def test_bicubic_skip_starts_from_bicubic(scale: int) -> None:
    lr = torch.rand(2, 3, 9, 14)
    network = small(skip="bicubic", scale=scale)
    assert (network(lr)["image"] - imresize(lr, scale)).abs().max() < 0.02
    assert small(scale=scale).state_dict().keys() == network.state_dict().keys()


def test_residual_blocks_start_a_tenth_as_strong_as_kaiming() -> None:
    weight = RRDBNet(blocks=1, channels=64, growth=32).body[0].rdb1.conv3.weight
    assert weight.std().item() == pytest.approx(0.1 * (2 / (128 * 9)) ** 0.5, rel=0.02)


def test_taps_are_features_after_the_numbered_blocks() -> None:
    network = small(blocks=3)
    lr = torch.rand(1, 3, 4, 4)
    _, (third, first) = network.trunk(lr, (3, 1))
    expected = network.body[0](network.conv_first(lr))
    torch.testing.assert_close(first, expected)
    torch.testing.assert_close(third, network.body[2](network.body[1](expected)))


@pytest.mark.parametrize("settings", [{"scale": 3}, {"blocks": 0}, {"channels": -1}])
def test_impossible_settings_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=str(next(iter(settings.values())))):
        RRDBNet(**settings)
