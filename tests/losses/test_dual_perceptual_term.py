"""The dual perceptual loss: value, gradient, parts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from acutance.errors import ConfigError
from acutance.losses.dual_perceptual import DualPerceptual
from acutance.losses.objective import Objective
from acutance.losses.perceptual import Perceptual


class Powers(nn.Module):
    """Features with derivatives that can be written down."""

    def __init__(self, power: int) -> None:
        super().__init__()
        self.power = power

    def features(self, picture: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        found = {"once": picture**self.power, "twice": 2 * picture**self.power}
        return {layer: found[layer] for layer in layers}


def pictures() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    made = torch.rand(2, 2, 3, 8, 8, generator=random, dtype=torch.float64)
    return made[0].requires_grad_(), made[1]


def dual(**settings: Any) -> DualPerceptual:
    return DualPerceptual(**{"network": Powers(2), "layer": "once", "second": Powers(3), "taps": ("once",)} | settings)


def gradient(term: nn.Module) -> Tensor:
    prediction, target = pictures()
    value = term(prediction, target)
    (value[0] if isinstance(value, tuple) else value).backward()
    assert prediction.grad is not None
    return prediction.grad


FIRST = Perceptual(network=Powers(2), layers=("once",))
SECOND = Perceptual(network=Powers(3), layers=("once",))


@pytest.mark.parametrize(("mu", "times"), [(0.2, 6), (0.5, 3), (1, 2), (5, 1.2), (10, 1.1), (20, 1.05), (math.inf, 1)])
def test_its_value_is_a_multiple_of_the_first(mu: float, times: float) -> None:
    value, parts = dual(mu=mu)(*pictures())
    torch.testing.assert_close(value, times * FIRST(*pictures()), rtol=1e-6, atol=0, check_dtype=False)
    assert parts["first"] == FIRST(*pictures())


@pytest.mark.parametrize("mu", [0.2, 0.5, 20])
def test_its_gradient_is_the_firsts_and_the_seconds_made_as_large(mu: float) -> None:
    first, second = (term(*pictures()).item() for term in (FIRST, SECOND))
    expected = gradient(FIRST) + first / second / mu * gradient(SECOND)
    torch.testing.assert_close(gradient(dual(mu=mu)), expected, rtol=1e-5, atol=0)


def test_static_weighting_has_no_ratio() -> None:
    first, second = FIRST(*pictures()), SECOND(*pictures())
    value, parts = dual(mu=0.5, weighting="static")(*pictures())
    torch.testing.assert_close(value, first + 2 * second)
    torch.testing.assert_close(gradient(dual(mu=0.5, weighting="static")), gradient(FIRST) + 2 * gradient(SECOND))
    torch.testing.assert_close(parts["ratio"], first / second)


def test_several_taps_are_added() -> None:
    _, single = dual(taps=("once",))(*pictures())
    _, cumulative = dual(taps=("once", "twice"))(*pictures())
    torch.testing.assert_close(cumulative["second"], 3 * single["second"])


def test_infinite_mu_needs_no_second_network() -> None:
    value, parts = dual(mu=math.inf, second=None)(*pictures())
    assert set(parts) == {"first"}
    assert value == parts["first"]
    torch.testing.assert_close(gradient(dual(mu=math.inf, second=None)), gradient(FIRST))


def test_equal_pictures_cost_nothing_and_break_nothing() -> None:
    prediction, _ = pictures()
    value, parts = dual()(prediction, prediction.detach())
    value.backward()
    assert value == 0
    assert parts["ratio"] == 1
    assert prediction.grad is not None
    assert (prediction.grad == 0).all()


def test_the_objective_records_its_parts() -> None:
    prediction, target = pictures()
    objective = Objective([("dual", dual(), "image", 2.0)])
    total, values = objective({"image": prediction}, {"hr": target})
    assert list(values) == ["dual", "dual.first", "dual.second", "dual.ratio"]
    torch.testing.assert_close(total.detach(), 2 * values["dual"])
    assert not any(value.requires_grad for value in values.values())


@pytest.mark.parametrize("settings", [{"mu": 0}, {"mu": math.nan}, {"second": None}])
def test_what_cannot_be(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        dual(**settings)


def test_what_it_looks_at() -> None:
    arguments = {"layer": "conv5_4", "taps": ["b13", "b24"], "mu": 0.5}
    assert DualPerceptual.feature_taps(arguments) == {"network": ("conv5_4",), "second": ("b13", "b24")}
    assert DualPerceptual.feature_taps({**arguments, "mu": math.inf}) == {"network": ("conv5_4",)}
