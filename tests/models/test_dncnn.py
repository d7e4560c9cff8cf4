"""DnCNN: parameters, what it starts from, gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from acutance.errors import ConfigError
from acutance.models.dncnn import DnCNN


def test_parameters_and_layers() -> None:
    with torch.device("meta"):
        network = DnCNN()
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert (len(convolutions), len(norms)) == (17, 15)
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_792 + 15 * (36_864 + 128) + 1_731


def test_it_takes_away_the_noise_that_it_finds() -> None:
    torch.manual_seed(0)
    network, lr = DnCNN(layers=3, channels=4), torch.rand(2, 3, 7, 9)
    nn.init.zeros_(network.conv_last.weight)
    nn.init.constant_(network.conv_last.bias, 0.25)  # type: ignore[arg-type]
    torch.testing.assert_close(network(lr)["image"], lr - 0.25)


def test_it_starts_as_in_the_authors_code() -> None:
    """cszn/DnCNN, DnCNN_init_model_64_25_Res_Bnorm_Adam.m: deviations of sqrt(2 / (9 * 64)), gains of 0.025 or more."""
    torch.manual_seed(0)
    network, deviation = DnCNN(), (2 / (9 * 64)) ** 0.5
    kernels = [layer.weight.detach() for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert [float(k.std()) for k in kernels] == pytest.approx([deviation] * 17, rel=0.1)
    gains = torch.stack([layer.weight for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]).detach()
    assert float(gains.abs().min()) == pytest.approx(0.025)
    assert float(gains.square().mean().sqrt()) == pytest.approx(deviation, rel=0.1)
    assert 0.4 < float((gains > 0).float().mean()) < 0.6
    assert not any(p.any() for name, p in network.named_parameters() if name.endswith("bias"))


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    network = DnCNN(layers=4, channels=4)
    network(torch.rand(2, 3, 7, 9))["image"].square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_it_needs_two_layers() -> None:
    with pytest.raises(ConfigError, match="layers is 1"):
        DnCNN(layers=1)
