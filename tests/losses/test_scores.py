"""Earth mover's distance against values by hand, and the hinge on predicted scores."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from acutance.losses.scores import EarthMover, Score


def shares(*rows: list[float]) -> Tensor:
    return torch.tensor(rows)


def test_earth_mover_by_hand() -> None:
    """All weight one bin further: one of ten cumulated shares differs, by 1."""
    first, second = torch.zeros(1, 10), torch.zeros(1, 10)
    first[0, 3] = second[0, 4] = 1
    value, forms = EarthMover()(first, second)
    assert value.item() == pytest.approx((1 / 10) ** 0.5, rel=1e-6)
    assert forms["sum"].item() == pytest.approx(1)
    second = torch.zeros(1, 10)
    second[0, 7] = 1
    value, forms = EarthMover(form="sum")(first, second)
    assert value.item() == forms["sum"].item() == pytest.approx(4)
    assert forms["root"].item() == pytest.approx(0.4**0.5, rel=1e-6)


def test_earth_mover_is_a_mean_over_the_batch() -> None:
    first = shares([0.5, 0.5, 0, 0], [0.25, 0.25, 0.25, 0.25])
    second = shares([0, 0.5, 0.5, 0], [0.25, 0.25, 0.25, 0.25])
    # cumulated: (.5, 1, 1, 1) and (0, .5, 1, 1); nothing differs in the second row
    value, forms = EarthMover()(first, second)
    assert forms["sum"].item() == pytest.approx((0.25 + 0.25) / 2)
    assert value.item() == pytest.approx((0.5 / 4) ** 0.5 / 2, rel=1e-5)


def test_equal_distributions_have_a_gradient() -> None:
    logits = torch.zeros(2, 10, requires_grad=True)
    value, _ = EarthMover()(logits.softmax(1), torch.full((2, 10), 0.1))
    value.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert value.item() < 1e-5


class Brightness(nn.Module):
    """Scores a picture from 0 to 10 by its mean."""

    def features(self, picture: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        assert layers == ("score",)
        return {"score": 10 * picture.mean((1, 2, 3))}


def flat(*levels: float) -> Tensor:
    return torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).clone().requires_grad_()


@pytest.mark.parametrize(
    ("restored", "true", "value"),
    [
        (0.6, 0.6, 0.2 * 4),  # equal pictures still cost: the hinge pulls above the truth
        (0.7, 0.6, 3 - 0.8 * 4 if 3 > 0.8 * 4 else 0.0),
        (0.2, 0.6, 8 - 0.8 * 4),
        (0.9, 0.2, 0.0),
    ],
)
def test_the_hinge(restored: float, true: float, value: float) -> None:
    loss, parts = Score(network=Brightness())(flat(restored), flat(true))
    assert loss.item() == pytest.approx(value, abs=1e-5)
    assert parts["restored"].item() == pytest.approx(10 * restored, rel=1e-6)
    assert parts["true"].item() == pytest.approx(10 * true, rel=1e-6)


def test_the_hinge_is_a_mean_and_moves_the_restored_picture_alone() -> None:
    prediction, target = flat(0.2, 0.9), flat(0.6, 0.2)
    loss, _ = Score(network=Brightness(), factor=1.0)(prediction, target)
    assert loss.item() == pytest.approx((8 - 4) / 2, rel=1e-5)
    loss.backward()
    assert target.grad is None
    assert prediction.grad is not None
    assert (prediction.grad[0] < 0).all()
    assert (prediction.grad[1] == 0).all()
