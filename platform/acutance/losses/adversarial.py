"""Adversarial losses on logits, for the generator's step and for the discriminator's.

r and f are the logits of a batch of real and of fake pictures, s the sigmoid; means are over the
batch at hand (each worker's own).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Form = Literal["relativistic_average", "vanilla"]


def generator_loss(form: Form, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return what the generator minimises; no gradient goes through the real logits.

    relativistic_average (ESRGAN): -1/2 [mean log(1 - s(r - mean f)) + mean log s(f - mean r)].
    vanilla: -mean log s(f), the non-saturating form.
    """
    real, fake = real_logits.detach().float(), fake_logits.float()
    if form == "vanilla":
        return _is_real(fake)
    return (_is_fake(real - fake.mean()) + _is_real(fake - real.mean())) / 2


def discriminator_loss(form: Form, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return what the discriminator minimises; the caller detaches the fake pictures.

    relativistic_average: -1/2 [mean log s(r - mean f) + mean log(1 - s(f - mean r))]. As in BasicSR the two
        means are constants: no logit is pushed by way of the other side's mean.
    vanilla: -mean log s(r) - mean log(1 - s(f)), without a half.
    """
    real, fake = real_logits.float(), fake_logits.float()
    if form == "vanilla":
        return _is_real(real) + _is_fake(fake)
    return (_is_real(real - fake.mean().detach()) + _is_fake(fake - real.mean().detach())) / 2


class Adversarial(nn.Module):
    """The generator's adversarial term; its `on` names a discriminator, whose form it takes."""

    reads: ClassVar[Literal["outputs", "logits"]] = "logits"

    def __init__(self) -> None:
        super().__init__()

    def forward(self, real_logits: Tensor, fake_logits: Tensor, form: Form) -> Tensor:
        """Return the scalar generator loss."""
        return generator_loss(form, real_logits, fake_logits)


def _is_real(logits: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))


def _is_fake(logits: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits))
