"""Adversarial losses against BCE written out, against numbers, and against finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from acutance.losses.adversarial import Adversarial, Form, discriminator_loss, generator_loss, means_of_logits

BCE = nn.BCEWithLogitsLoss()


def logits(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(6, 1, generator=generator) + 1, 2 * torch.randn(6, 1, generator=generator) - 1


def log_sigmoid(value: float) -> float:
    return -math.log1p(math.exp(-value))


def test_golden_values() -> None:
    # r = 3, 1 and f = 0, -2: means 2 and -1, so r - mean f = 4, 2 and f - mean r = -2, -4.
    real, fake = torch.tensor([[3.0], [1.0]]), torch.tensor([[0.0], [-2.0]])
    good = -(log_sigmoid(4) + log_sigmoid(2)) / 2
    bad = -(log_sigmoid(-4) + log_sigmoid(-2)) / 2
    assert discriminator_loss("relativistic_average", real, fake).item() == pytest.approx(good)
    assert generator_loss("relativistic_average", real, fake).item() == pytest.approx(bad)
    assert generator_loss("vanilla", real, fake).item() == pytest.approx(-(log_sigmoid(0) + log_sigmoid(-2)) / 2)
    assert discriminator_loss("vanilla", real, fake).item() == pytest.approx(
        -(log_sigmoid(3) + log_sigmoid(1)) / 2 - (log_sigmoid(0) + log_sigmoid(2)) / 2
    )


def reference(step: str, form: Form, real: Tensor, fake: Tensor) -> Tensor:
    """BasicSR's two steps, term by term."""
    one, zero = torch.ones_like(real), torch.zeros_like(real)
    if form == "vanilla":
        return BCE(fake, one) if step == "generator" else BCE(real, one) + BCE(fake, zero)
    if step == "generator":
        real = real.detach()
        return (BCE(real - torch.mean(fake), zero) + BCE(fake - torch.mean(real), one)) / 2
    return BCE(real - fake.mean().detach(), one) * 0.5 + BCE(fake - real.mean().detach(), zero) * 0.5


@pytest.mark.parametrize("form", ["relativistic_average", "vanilla"])
@pytest.mark.parametrize("step", ["generator", "discriminator"])
def test_values_and_gradients_are_those_of_the_reference(step: str, form: Form) -> None:
    function = {"generator": generator_loss, "discriminator": discriminator_loss}[step]
    found, expected = ([part.requires_grad_() for part in logits()] for _ in range(2))
    loss, wanted = function(form, *found), reference(step, form, *expected)
    torch.testing.assert_close(loss, wanted)
    loss.backward()
    wanted.backward()
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine.grad is None) == (theirs.grad is None)
        if mine.grad is not None:
            torch.testing.assert_close(mine.grad, theirs.grad)


@pytest.mark.parametrize("form", ["relativistic_average", "vanilla"])
def test_generator_gradient_is_the_finite_difference(form: Form) -> None:
    real, fake = logits(1)
    fake.requires_grad_()
    generator_loss(form, real, fake).backward()
    for index in range(len(fake)):
        step = torch.zeros_like(fake)
        step[index] = 1e-2
        ahead, behind = (generator_loss(form, real, fake.detach() + s) for s in (step, -step))
        assert fake.grad[index].item() == pytest.approx((ahead - behind).item() / 2e-2, abs=2e-4)


def test_relativistic_generator_pushes_fakes_up_and_leaves_reals_alone() -> None:
    real, fake = (part.requires_grad_() for part in logits())
    generator_loss("relativistic_average", real, fake).backward()
    assert (fake.grad < 0).all()
    assert real.grad is None


def test_the_means_in_the_discriminator_step_are_constants() -> None:
    real, fake = (part.requires_grad_() for part in logits())
    discriminator_loss("relativistic_average", real, fake).backward()
    expected = -torch.sigmoid(-(real - fake.mean())) / len(real) / 2
    torch.testing.assert_close(real.grad, expected.detach())


def test_extreme_and_half_precision_logits_stay_finite() -> None:
    real, fake = torch.full((2, 1), 2e4).half(), torch.full((2, 1), -2e4).half()
    for form in ("relativistic_average", "vanilla"):
        for function in (generator_loss, discriminator_loss):
            assert torch.isfinite(function(form, real, fake))
            assert function(form, real, fake).dtype == torch.float32


def test_the_term_is_the_generator_loss() -> None:
    real, fake = logits()
    for form in ("relativistic_average", "vanilla"):
        assert Adversarial()(real, fake, form) == generator_loss(form, real, fake)


def test_means_given_are_those_taken() -> None:
    real, fake = logits()
    own = means_of_logits(real, fake)
    for function in (generator_loss, discriminator_loss):
        alone = function("relativistic_average", real, fake)
        torch.testing.assert_close(function("relativistic_average", real, fake, own), alone)
        others = (own[0] + 1, own[1] + 1)
        shifted = function("relativistic_average", real, fake, others)
        assert not torch.isclose(shifted, alone)
        assert function("vanilla", real, fake, others) == function("vanilla", real, fake)
