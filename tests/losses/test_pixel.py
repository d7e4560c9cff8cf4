"""Pixel terms on numbers small enough for the head."""

from __future__ import annotations

import pytest
import torch

from acutance.errors import ConfigError
from acutance.losses.pixel import Pixel

PREDICTION = torch.tensor([[[[0.0, 0.5, 1.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.5]]]])
TARGET = torch.tensor([[[[0.0, 0.0, 0.0], [0.0, 0.25, 0.0], [0.5, 0.5, 1.5]]]])


@pytest.mark.parametrize(
    ("criterion", "border", "value"),
    [("l1", 0, 3.75 / 9), ("l2", 0, 3.3125 / 9), ("l1", 1, 0.25), ("l2", 1, 0.0625)],
)
def test_golden_values(criterion: str, border: int, value: float) -> None:
    loss = Pixel(criterion=criterion, border=border)(PREDICTION, TARGET)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(value)


def test_gradient_is_that_of_a_mean() -> None:
    prediction = PREDICTION.clone().requires_grad_()
    Pixel()(prediction, TARGET).backward()
    torch.testing.assert_close(prediction.grad, (PREDICTION - TARGET).sign() / 9)


def test_half_precision_is_summed_in_float32() -> None:
    prediction, target = torch.full((1, 3, 64, 64), 300.0).half(), torch.zeros(1, 3, 64, 64).half()
    assert Pixel(criterion="l2")(prediction, target).item() == 90_000


def test_shapes_that_would_broadcast_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"\(2, 1, 8, 8\) meets a target of shape \(2, 3, 8, 8\)"):
        Pixel()(torch.zeros(2, 1, 8, 8), torch.zeros(2, 3, 8, 8))


def test_borders_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="border of 4 leaves nothing"):
        Pixel(border=4)(torch.zeros(1, 1, 8, 9), torch.zeros(1, 1, 8, 9))
    with pytest.raises(ConfigError, match="border is -1"):
        Pixel(border=-1)
