"""The high-pass network and its features."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from acutance.errors import ConfigError
from acutance.models.highpass import HighPassNet


@pytest.mark.parametrize(("kernel", "parameters"), [(5, 112_131), (3, 40_451)])
def test_parameter_count(kernel: int, parameters: int) -> None:
    assert sum(p.numel() for p in HighPassNet(kernel=kernel).parameters()) == parameters


def test_forward_is_three_reflected_convolutions() -> None:
    network = HighPassNet(channels=4)
    picture = torch.rand(2, 3, 6, 9)
    x = picture
    for index, layer in enumerate((network.conv0, network.conv1, network.conv2)):
        x = F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), layer.weight, layer.bias)
        x = x.clamp(min=0) if index < 2 else x
    torch.testing.assert_close(network(picture)["highpass"], x)


def test_features_are_after_relu_and_in_the_asked_order() -> None:
    network = HighPassNet(channels=4, kernel=3)
    picture = torch.rand(1, 3, 5, 5)
    features = network.features(picture, ("conv1", "conv0"))
    assert list(features) == ["conv1", "conv0"]
    assert min(value.min().item() for value in features.values()) == 0
    torch.testing.assert_close(network(picture)["highpass"], network.conv2(features["conv1"]))
    assert list(network.features(picture, ("conv0",))) == ["conv0"]


def test_learns_a_high_pass_filter() -> None:
    torch.manual_seed(0)
    network = HighPassNet(channels=8, kernel=3)
    picture = torch.rand(4, 3, 16, 16)
    target = picture - F.avg_pool2d(F.pad(picture, (1, 1, 1, 1), mode="reflect"), 3, 1)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss = (network(picture)["highpass"] - target).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.35 * losses[0]
    assert all(p.grad.any() for p in network.parameters())


def test_unknown_features_are_refused() -> None:
    with pytest.raises(ConfigError, match="conv7"):
        HighPassNet(channels=2).features(torch.rand(1, 3, 5, 5), ("conv0", "conv7"))
