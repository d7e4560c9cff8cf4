"""The perceptual term: its value, and that its network is nobody's parameter."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from acutance.errors import ConfigError
from acutance.losses.perceptual import Perceptual
from acutance.models.highpass import HighPassNet


class Doubling(nn.Module):
    """Features with values that can be written down."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def features(self, picture: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        found = {"twice": picture * self.factor, "square": (picture * self.factor) ** 2}
        return {layer: found[layer] for layer in layers}


def pictures() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 8, 9, generator=generator), torch.rand(2, 3, 8, 9, generator=generator)


@pytest.mark.parametrize(
    ("layers", "criterion", "value"),
    [
        (("twice",), "l1", 1.0),
        (("twice", "square"), "l1", 1.0 + 3.0),
        (("square", "twice"), "l2", 9.0 + 1.0),
    ],
)
def test_golden_values(layers: tuple[str, ...], criterion: str, value: float) -> None:
    term = Perceptual(network=Doubling(), layers=layers, criterion=criterion)
    loss = term(torch.full((1, 1, 2, 2), 1.0), torch.full((1, 1, 2, 2), 0.5))
    assert loss.shape == ()
    assert loss.item() == pytest.approx(value)


def test_high_pass_loss_is_the_sum_over_both_hidden_layers() -> None:
    network = HighPassNet(channels=4)
    prediction, target = pictures()
    first = [torch.relu(network.conv0(x)) for x in (prediction, target)]
    second = [torch.relu(network.conv1(x)) for x in first]
    expected = (first[0] - first[1]).abs().mean() + (second[0] - second[1]).abs().mean()
    torch.testing.assert_close(Perceptual(network=network)(prediction, target), expected)
    assert Perceptual(network=network)(target, target).item() == 0


def test_gradient_reaches_the_prediction_alone() -> None:
    network = HighPassNet(channels=4)
    prediction, target = (picture.requires_grad_() for picture in pictures())
    Perceptual(network=network)(prediction, target).backward()
    assert prediction.grad is not None
    assert prediction.grad.any()
    assert target.grad is None
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_network_is_frozen_and_unregistered() -> None:
    term = Perceptual(network=HighPassNet(channels=2).train())
    assert list(term.parameters()) == []
    assert list(term.state_dict()) == []
    assert list(term.children()) == []
    assert not any(parameter.requires_grad for parameter in term.network.parameters())
    assert not term.train().network.training


def test_the_network_follows_device_and_type() -> None:
    outer = nn.Sequential(Perceptual(network=HighPassNet(channels=2)))
    assert outer.to(torch.float64)[0].network.conv0.weight.dtype == torch.float64
    assert outer.to("meta")[0].network.conv0.weight.is_meta


def test_copies_do_not_share_the_network() -> None:
    term = Perceptual(network=Doubling(), layers=("twice",))
    twin = copy.deepcopy(term)
    term.network.factor.data.fill_(10)
    assert twin(torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)).item() == 2


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="at least one layer"):
        Perceptual(network=Doubling(), layers=())
    with pytest.raises(ConfigError, match="Linear has no features"):
        Perceptual(network=nn.Linear(1, 1))
    with pytest.raises(ConfigError, match="conv9"):
        Perceptual(network=HighPassNet(channels=2), layers=("conv9",))(*pictures())
