"""Adversarial losses on logits, for the generator and for the discriminator.

r and f are the logits of a batch of real and of fake pictures, s is the sigmoid. The means in the relativistic form are
those of each worker's batch, as in BasicSR, or of the batches of all workers.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from acutance.config.pipeline.stage import Form

Means = tuple[Tensor, Tensor]
"""mean r and mean f"""


def means_of_logits(real_logits: Tensor, fake_logits: Tensor) -> Means:
    """Return mean r and mean f over the batches of all workers, which have equal sizes.

    A gradient through them reaches every worker's logits: with these means, gradients averaged over the workers are
    those of one worker with the joint batch.
    """
    means = torch.stack([_precise(real_logits).mean(), _precise(fake_logits).mean()])
    if dist.is_initialized() and dist.get_world_size() > 1:
        means = _MeanOverWorkers.apply(means)
    real, fake = means.unbind()
    return real, fake


def generator_loss(form: Form, real_logits: Tensor, fake_logits: Tensor, means: Means | None = None) -> Tensor:
    """Return the generator's loss; no gradient goes through the real logits.

    relativistic_average (ESRGAN): -1/2 [mean log(1 - s(r - mean f)) + mean log s(f - mean r)].
    vanilla: -mean log s(f), the non-saturating form.

    Args:
        means: mean r and mean f for the relativistic form; None for those of the given logits.
    """
    real, fake = _precise(real_logits.detach()), _precise(fake_logits)
    if form == "vanilla":
        return _is_real(fake)
    mean_real, mean_fake = means or (real.mean(), fake.mean())
    return (_is_fake(real - mean_fake) + _is_real(fake - mean_real.detach())) / 2


def discriminator_loss(form: Form, real_logits: Tensor, fake_logits: Tensor, means: Means | None = None) -> Tensor:
    """Return the discriminator's loss; the caller detaches the generator's pictures.

    relativistic_average: -1/2 [mean log s(r - mean f) + mean log(1 - s(f - mean r))]. As in BasicSR no
        gradient goes through the two means.
    vanilla: -mean log s(r) - mean log(1 - s(f)), without a half.

    Args:
        means: as for `generator_loss`.
    """
    real, fake = _precise(real_logits), _precise(fake_logits)
    if form == "vanilla":
        return _is_real(real) + _is_fake(fake)
    mean_real, mean_fake = means or (real.mean(), fake.mean())
    return (_is_real(real - mean_fake.detach()) + _is_fake(fake - mean_real.detach())) / 2


@torch.no_grad()
def accuracies(
    form: Form, real_logits: Tensor, fake_logits: Tensor, means: Means | None = None
) -> tuple[Tensor, Tensor]:
    """Return which share of real and of fake pictures, 0 to 1, a discriminator takes for what they are.

    In the relativistic form a picture counts as real where its logit is above the mean of the other kind.

    Args:
        means: as for `generator_loss`.
    """
    real, fake = _precise(real_logits), _precise(fake_logits)
    if form == "relativistic_average":
        mean_real, mean_fake = means or (real.mean(), fake.mean())
        real, fake = real - mean_fake, fake - mean_real
    return (real > 0).float().mean(), (fake < 0).float().mean()


class Adversarial(nn.Module):
    """The generator's adversarial loss; `on` names a discriminator, which decides the form."""

    reads: ClassVar[Literal["outputs", "logits"]] = "logits"

    def __init__(self) -> None:
        super().__init__()

    def forward(self, real_logits: Tensor, fake_logits: Tensor, form: Form, means: Means | None = None) -> Tensor:
        """Return the scalar generator loss."""
        return generator_loss(form, real_logits, fake_logits, means)


class _MeanOverWorkers(torch.autograd.Function):
    """The mean over the workers in both passes: gradients too are averaged over the workers."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _averaged(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _averaged(gradient)


def _averaged(values: Tensor) -> Tensor:
    values = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(values)
    return values / dist.get_world_size()


def _precise(logits: Tensor) -> Tensor:
    """Return logits in float32 or float64."""
    return logits if logits.dtype == torch.float64 else logits.float()


def _is_real(logits: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))


def _is_fake(logits: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits))
