"""ResNet-164: its numbers, what stands before what, standardisation."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acutance.errors import ConfigError
from acutance.models.resnet import Bottleneck, ResNet, standardised


def pictures(count: int = 3, side: int = 16) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def small() -> ResNet:
    torch.manual_seed(0)
    return ResNet(depth=11)


@pytest.mark.parametrize(("classes", "parameters"), [(10, 1_703_258), (100, 1_726_388)])
def test_parameter_count(classes: int, parameters: int) -> None:
    with torch.device("meta"):
        network = ResNet(classes=classes)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    layers = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert sum("project" not in name for name in layers) == 164


def test_only_some_depths_can_be_built() -> None:
    for depth in (2, 100):
        with pytest.raises(ConfigError, match=f"depth is {depth}"):
            ResNet(depth=depth)


@pytest.mark.parametrize("side", [32, 64])
def test_it_takes_pictures_of_any_size(side: int) -> None:
    network = small().eval()
    sides: list[int] = []
    for stage in network.stages:
        stage.register_forward_hook(lambda *seen: sides.append(seen[2].shape[-1]))
    assert network(pictures(2, side))["logits"].shape == (2, 10)
    assert sides == [side, side // 2, side // 4]


def bottleneck(unit: Bottleneck, x: Tensor, *, shared: bool) -> Tensor:
    """The unit in eval mode from its parameters, one operation at a time."""
    weights = unit.state_dict()

    def active(number: int, x: Tensor) -> Tensor:
        norm = f"norm{number}"
        mean, variance = (weights[f"{norm}.running_{name}"].view(-1, 1, 1) for name in ("mean", "var"))
        gain, bias = (weights[f"{norm}.{name}"].view(-1, 1, 1) for name in ("weight", "bias"))
        x = (x - mean) / (variance + 1e-3).sqrt() * gain + bias
        return torch.where(x > 0, x, 0.1 * x)

    first = active(1, x)
    stride = unit.conv1.stride[0]
    inner = F.conv2d(first, weights["conv1.weight"], stride=stride)
    inner = F.conv2d(active(2, inner), weights["conv2.weight"], padding=1)
    inner = F.conv2d(active(3, inner), weights["conv3.weight"])
    shortcut = first if shared else x
    if "project.weight" in weights:
        shortcut = F.conv2d(shortcut, weights["project.weight"], stride=stride)
    return shortcut + inner


@pytest.mark.parametrize(
    ("inputs", "outputs", "stride", "shared"), [(16, 64, 1, True), (64, 128, 2, False), (64, 64, 1, False)]
)
def test_a_unit_normalises_and_activates_before_each_convolution(
    inputs: int, outputs: int, stride: int, shared: bool
) -> None:
    torch.manual_seed(0)
    unit = Bottleneck(inputs, outputs, stride, shared=shared)
    unit(torch.randn(2, inputs, 8, 8))  # moves the running statistics
    for parameter in unit.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, inputs, 8, 8)
    torch.testing.assert_close(unit.eval()(x), bottleneck(unit, x, shared=shared), rtol=1e-4, atol=1e-5)


def test_the_first_unit_alone_shares_its_activation_and_widths_change_where_a_stage_starts() -> None:
    with torch.device("meta"):
        units = [unit for stage in ResNet().stages for unit in stage]
    assert [n for n, unit in enumerate(units) if unit.shared] == [0]
    assert [n for n, unit in enumerate(units) if isinstance(unit.project, nn.Conv2d)] == [0, 18, 36]
    assert [unit.conv1.stride[0] for unit in (units[0], units[18], units[36])] == [1, 2, 2]


def test_it_starts_as_the_released_code_does() -> None:
    network = small()
    layer = network.stages[2][0].conv2
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.02)
    assert network.linear.weight.abs().max().item() == pytest.approx(math.sqrt(3 / 256), rel=0.02)
    assert not network.linear.bias.any()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.1)}


def test_each_picture_is_standardised_on_its_own() -> None:
    seen = pictures() * torch.tensor([0.1, 0.5, 1.0]).view(3, 1, 1, 1)
    found = standardised(seen)
    torch.testing.assert_close(found.mean((1, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.flatten(1).std(1, correction=0), torch.ones(3))
    torch.testing.assert_close(found[:1], standardised(seen[:1]))
    torch.testing.assert_close(standardised(seen / 2 + 0.3), found, rtol=1e-3, atol=1e-4)


def test_a_flat_picture_becomes_nothing_and_a_nearly_flat_one_is_not_blown_up() -> None:
    assert not standardised(torch.full((1, 3, 4, 4), 0.5)).any()
    faint = torch.full((1, 3, 4, 4), 0.5)
    faint[0, 0, 0, 0] += 1e-3 / 255
    assert standardised(faint).abs().max().item() < 1e-3 * math.sqrt(48)


def test_brightness_and_contrast_do_not_matter_and_every_parameter_learns() -> None:
    network = small()
    network(pictures())["logits"].square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())
    network.eval()
    brighter = network(pictures() / 2 + 0.4)["logits"]
    torch.testing.assert_close(brighter, network(pictures())["logits"], rtol=1e-3, atol=1e-3)
