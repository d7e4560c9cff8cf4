"""Cross-entropy of classes against its formula, in the forms that labels come in."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from acutance.losses.classes import CrossEntropy
from acutance.losses.objective import Objective

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 3.0], [1.0, 2.0, 0.0], [5.0, 0.0, 0.0]])
LABELS = torch.tensor([0, 1, 1, 0])


@pytest.mark.parametrize("label", [LABELS, LABELS[:, None], LABELS[:, None].float()], ids=["(B,)", "(B,1)", "float"])
def test_it_is_the_mean_of_minus_the_logarithm_of_the_true_classs_share(label: Tensor) -> None:
    shares = LOGITS.exp() / LOGITS.exp().sum(1, keepdim=True)
    expected = -torch.stack([row[true] for row, true in zip(shares, LABELS, strict=True)]).log().mean()
    loss, parts = CrossEntropy()(LOGITS, label)
    torch.testing.assert_close(loss, expected)
    assert parts["accuracy"].item() == 0.75


def test_logits_are_compared_with_the_class_and_half_precision_costs_nothing() -> None:
    logits = LOGITS.bfloat16().requires_grad_()
    total, values = Objective([("class", CrossEntropy(), "logits", 2.0)])({"logits": logits}, {"class": LABELS})
    assert total.dtype == torch.float32
    torch.testing.assert_close(total, 2 * CrossEntropy()(LOGITS, LABELS)[0])
    assert values.keys() == {"class", "class.accuracy"}
    total.backward()
    assert logits.grad is not None
    assert logits.grad.any()
