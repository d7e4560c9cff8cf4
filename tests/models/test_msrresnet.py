"""MSRResNet against a reference written from its description, and its numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from acutance.errors import ConfigError, WeightsError
from acutance.models.model_file import load_model, save_model
from acutance.models.msrresnet import MSRResNet
from acutance.models.public_weights import load_public_weights, public_state_dict


def small(**changes: object) -> MSRResNet:
    torch.manual_seed(0)
    return MSRResNet(**{"blocks": 2, "channels": 8, **changes})


def strong(network: MSRResNet) -> MSRResNet:
    """Initial values are too weak to show a wrong connection."""
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


def reference(weights: dict[str, Tensor], lr: Tensor, blocks: int, upsamplings: int) -> Tensor:
    """The network without a skip from its parameters by name, one operation at a time."""

    def conv(name: str, x: Tensor) -> Tensor:
        return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    def leaky(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.1 * x)

    def shuffle(x: Tensor) -> Tensor:
        """Channel 4c + 2i + j becomes row i, column j of a 2 x 2 square of channel c."""
        count, channels, height, width = x.shape
        x = x.reshape(count, channels // 4, 2, 2, height, width)
        return x.permute(0, 1, 4, 2, 5, 3).reshape(count, channels // 4, 2 * height, 2 * width)

    x = leaky(conv("conv_first", lr))
    for i in range(blocks):
        x = x + conv(f"body.{i}.conv2", conv(f"body.{i}.conv1", x).clamp(min=0))
    for number in range(upsamplings):
        x = leaky(shuffle(conv(f"upconv{number + 1}", x)))
    return conv("conv_last", leaky(conv("conv_hr", x)))


@pytest.mark.parametrize(("scale", "parameters"), [(4, 1_517_571), (2, 1_369_859)])
def test_parameter_count(scale: int, parameters: int) -> None:
    with torch.device("meta"):
        network = MSRResNet(scale=scale)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize(("scale", "upsamplings"), [(4, 2), (2, 1)])
def test_names_are_those_of_basicsr(scale: int, upsamplings: int) -> None:
    layers = ["conv_first", "conv_hr", "conv_last", *(f"upconv{n + 1}" for n in range(upsamplings))]
    layers += [f"body.{i}.conv{k}" for i in range(16) for k in (1, 2)]
    with torch.device("meta"):
        names = set(MSRResNet(scale=scale, skip="bilinear").state_dict())
    assert names == {f"{layer}.{leaf}" for layer in layers for leaf in ("weight", "bias")}


@pytest.mark.parametrize(("scale", "upsamplings"), [(4, 2), (2, 1)])
def test_forward_is_the_described_computation(scale: int, upsamplings: int) -> None:
    network, lr = strong(small(scale=scale)), torch.rand(2, 3, 5, 7)
    expected = reference(network.state_dict(), lr, 2, upsamplings)
    torch.testing.assert_close(network(lr)["image"], expected, rtol=1e-4, atol=1e-4)
    skipped = small(scale=scale, skip="bilinear")
    skipped.load_state_dict(network.state_dict())
    bilinear = F.interpolate(lr, scale_factor=scale, mode="bilinear", align_corners=False)
    torch.testing.assert_close(skipped(lr)["image"], expected + bilinear, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("size", [(1, 1), (5, 8), (7, 3)])
def test_output_size(scale: int, size: tuple[int, int]) -> None:
    image = small(scale=scale)(torch.rand(1, 3, *size))["image"]
    assert image.shape == (1, 3, size[0] * scale, size[1] * scale)


def test_blocks_start_near_the_identity_and_the_picture_near_nothing() -> None:
    network = MSRResNet()
    weight = network.body[0].conv1.weight
    assert weight.std().item() == pytest.approx(0.1 * (2 / (64 * 9)) ** 0.5, rel=0.02)
    features = torch.rand(1, 64, 6, 6)
    apart = (network.body(features) - features).abs().mean()
    assert 0 < apart < 0.5 * features.mean()  # 16 residuals of a hundredth each
    assert network(torch.rand(1, 3, 8, 8))["image"].abs().max() < 1e-3
    assert all(parameter.abs().max() == 0 for name, parameter in network.named_parameters() if name.endswith("bias"))


@pytest.mark.parametrize("settings", [{}, {"scale": 2}, {"skip": "bilinear"}])
def test_a_gradient_reaches_every_parameter(settings: dict[str, object]) -> None:
    network = small(**settings)
    (network(torch.rand(2, 3, 6, 6))["image"] - torch.rand(2, 3, 1, 1)).abs().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


def test_a_public_file_fills_every_tensor(tmp_path: Path) -> None:
    source, network = strong(small()), small()
    torch.save({"params": public_state_dict(source)}, tmp_path / "net.pth")
    load_public_weights(network, str(tmp_path / "net.pth"))
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in source.state_dict().items())
    with pytest.raises(WeightsError, match="missing"):
        load_public_weights(small(blocks=3), str(tmp_path / "net.pth"))


def test_a_model_file_gives_the_same_picture(tmp_path: Path) -> None:
    network, lr = strong(small(skip="bilinear")), torch.rand(1, 3, 4, 5)
    settings = {"type": "msrresnet", "blocks": 2, "channels": 8, "skip": "bilinear"}
    save_model(str(tmp_path / "m.safetensors"), network, {"network": settings, "scale": 4})
    assert torch.equal(load_model(str(tmp_path / "m.safetensors"))[0](lr)["image"], network(lr)["image"])


@pytest.mark.parametrize("settings", [{"scale": 3}, {"blocks": 0}, {"channels": -1}])
def test_impossible_settings_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=str(next(iter(settings.values())))):
        MSRResNet(**settings)
