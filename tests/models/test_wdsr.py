"""WDSR-A against a reference written from its description; weight normalisation against its formula."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from acutance.models.model_file import load_model, save_model
from acutance.models.wdsr import WDSR, NormedConvolution


def small(**changes: object) -> WDSR:
    torch.manual_seed(0)
    return WDSR(**{"blocks": 2, "channels": 4, **changes})


def picture(side: int = 7) -> Tensor:
    return torch.rand(2, 3, side, side + 2, generator=torch.Generator().manual_seed(1))


def stirred(network: WDSR) -> WDSR:
    """Gains of 1 and biases of 0 would hide where they belong."""
    for name, parameter in network.named_parameters():
        if name.endswith(("gain", "bias")):
            torch.nn.init.normal_(parameter)
    return network


def reference(weights: dict[str, Tensor], lr: Tensor, blocks: int, scale: int) -> Tensor:
    """The network from its parameters by name; each kernel explicitly as g v / |v|."""

    def conv(name: str, x: Tensor) -> Tensor:
        gain, direction = weights[f"{name}.gain"], weights[f"{name}.direction"]
        kernels = [g * v / v.square().sum().sqrt() for g, v in zip(gain, direction, strict=True)]
        return F.conv2d(x, torch.stack(kernels), weights[f"{name}.bias"], padding=direction.shape[-1] // 2)

    x = conv("head", lr - 0.5)
    for i in range(blocks):
        x = x + conv(f"body.{i}.conv2", conv(f"body.{i}.conv1", x).clamp(min=0))
    found = F.pixel_shuffle(conv("tail", x), scale) + F.pixel_shuffle(conv("skip", lr - 0.5), scale)
    return found + 0.5


@pytest.mark.parametrize(
    ("settings", "parameters"), [({}, 597_716), ({"weight_norm": False}, 596_380), ({"blocks": 16}, 1_190_100)]
)
def test_parameter_count(settings: dict[str, object], parameters: int) -> None:
    with torch.device("meta"):
        network = WDSR(**settings)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize("scale", [2, 3])
def test_it_is_what_its_description_says(scale: int) -> None:
    network = stirred(small(scale=scale))
    found = network(picture())["image"]
    assert found.shape == (2, 3, 7 * scale, 9 * scale)
    torch.testing.assert_close(found, reference(network.state_dict(), picture(), 2, scale))


def test_a_kernel_is_as_long_as_its_gain_and_does_not_depend_on_its_directions_length() -> None:
    torch.manual_seed(0)
    layer = NormedConvolution(3, 5, 3)
    torch.testing.assert_close(layer.weight.flatten(1).norm(dim=1), torch.ones(5))
    before = layer.weight.detach()
    with torch.no_grad():
        layer.direction.mul_(7)
        layer.gain.mul_(2)
    torch.testing.assert_close(layer.weight, 2 * before)


def test_without_weight_normalisation_it_is_the_same_network() -> None:
    normed, plain = stirred(small()), small(weight_norm=False)
    for name, layer in plain.named_modules():
        if isinstance(layer, torch.nn.Conv2d):
            donor = normed.get_submodule(name)
            layer.load_state_dict({"weight": donor.weight, "bias": donor.bias})
    torch.testing.assert_close(plain(picture())["image"], normed(picture())["image"])


def test_every_parameter_learns_in_any_memory_order_and_precision() -> None:
    plain = small()
    moved = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    torch.testing.assert_close(moved(picture())["image"], plain(picture())["image"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = moved(picture())["image"]
    torch.testing.assert_close(found.float(), plain(picture())["image"], rtol=0.05, atol=0.05)
    found.float().square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in moved.parameters())


def test_its_file_holds_gains_and_directions(tmp_path: Path) -> None:
    network = stirred(small())
    settings = {"type": "wdsr", "blocks": 2, "channels": 4}
    save_model(str(tmp_path / "wdsr.safetensors"), network, {"network": settings, "scale": 2})
    loaded, _ = load_model(str(tmp_path / "wdsr.safetensors"))
    assert {"head.gain", "head.direction", "head.bias"} <= loaded.state_dict().keys()
    assert torch.equal(loaded(picture())["image"], network(picture())["image"])
