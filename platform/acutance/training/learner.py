"""The training step. Every stage of every paper is trained by this one.

A learner holds the generator, its averaged weights, and the discriminators, each with its optimiser. `train_step` reads
from the batch to the optimisers:

1. derived columns are made (`with_derived`);
2. the generator makes its outputs, the discriminators judge real and restored pictures, the losses are taken;
3. backward passes: the discriminators' losses into their weights, the generator's loss into its outputs and from there
   into its weights;
4. gradients are averaged over the workers, checked, clipped, and every optimiser takes its step.

Generator and discriminators share the passes of step 2: all gradients are taken before any weight changes. With
`first: discriminator` the discriminators take their steps first, and judge the same pictures again.

Gradients are averaged by one all-reduce of our own. DistributedDataParallel's hooks allow neither several passes
through a network nor gradients of a part of the graph, and a fixed order of summation keeps a resumed run equal to an
undisturbed one bit by bit. The transfer is small beside the step (67 MB for RRDBNet-23).

When a loss or a gradient is not finite on any worker, no worker changes its weights: the step is skipped, and
`nonfinite` says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from acutance.config.pipeline import Stage
from acutance.config.pipeline.columns import target_of
from acutance.losses.adversarial import accuracies, discriminator_loss, means_of_logits
from acutance.losses.objective import Logits, Objective
from acutance.training import distributed
from acutance.training.derived import Batch, with_derived
from acutance.training.trained_module import TrainedModule

Losses = dict[str, Tensor]

ROLLBACK_FACTOR = 0.5
"""The learning rates are multiplied by it at each rollback."""


class Learner:
    """All that changes while a stage is trained.

    Args:
        stage: its settings.
        network: the generator, classifier or predictor, on its device.
        objective: the generator's loss, on the same device.
        discriminators: name -> network; the names of `stage.discriminators`.
        margin: HR pixels around the patches that derived columns need.

    Attributes:
        steps_done: how many steps were taken, skipped ones included.
        skipped_steps: how many of them were skipped.
        consecutive_skips: how many of the newest steps were skipped without a good one between them.
        rollbacks: how often the run went back to a checkpoint.
        diagnostics: of the newest step, scalars on the device: the gradients' norms, averaged over the workers, and how
            often each discriminator was right about this worker's real and restored pictures.
        nonfinite: of the newest step: worker -> the losses and gradients that were not finite; empty for a good step.
    """

    def __init__(
        self,
        stage: Stage,
        network: nn.Module,
        objective: Objective,
        discriminators: dict[str, nn.Module],
        *,
        margin: int = 0,
    ) -> None:
        self.stage, self.objective, self.margin = stage, objective, margin
        if stage.channels_last:
            for module in (network, objective, *discriminators.values()):
                module.to(memory_format=torch.channels_last)
        self.generator = TrainedModule(network, stage.optimiser)
        self.discriminators = {
            name: TrainedModule(discriminators[name], settings.optimiser or stage.optimiser)
            for name, settings in stage.discriminators.items()
        }
        if stage.compile:
            # Discriminators stay as they are: their gradients are taken in parts, and a compiled graph gives only all.
            self.generator.forward = torch.compile(network)
        average = get_ema_multi_avg_fn(stage.ema) if stage.ema else None
        self.ema = AveragedModel(network, multi_avg_fn=average, use_buffers=True) if average else None
        self.steps_done = self.skipped_steps = self.consecutive_skips = self.rollbacks = 0
        self.nonfinite: dict[int, list[str]] = {}
        self.diagnostics: Losses = {}

    @property
    def final_network(self) -> nn.Module:
        """The network that the stage's model file gets: the averaged one, if the stage averages."""
        return self.ema.module if self.ema else self.generator.module

    def trained_modules(self) -> dict[str, TrainedModule]:
        """Return the generator and all discriminators by name."""
        return {"generator": self.generator, **{f"discriminator.{k}": v for k, v in self.discriminators.items()}}

    def train_step(self, batch: Batch) -> Losses:
        """Take one step of the generator and of each discriminator, or skip it (see `nonfinite`).

        Args:
            batch: this worker's share: column -> (B, C, H, W) on the device, labels (B, n).

        Returns:
            Each term's value before weighting, the generator's total, and each discriminator's loss; scalars without
            gradient, on the device.
        """
        self.nonfinite, self.diagnostics = {}, {}
        buffers_before = [buffer.clone() for buffer in self._buffers()]
        for trained in self.trained_modules().values():
            trained.module.train()
            trained.optimiser.zero_grad(set_to_none=True)
        for part in self.stage.frozen:
            self.generator.module.get_submodule(part).eval()
        with _tf32(self.stage.tf32):
            batch = with_derived(self.stage, self.margin, batch)
            if self.stage.first == "discriminator":
                losses = self._discriminators_first(batch, buffers_before)
            else:
                losses = self._all_at_once(batch, buffers_before)
        self.consecutive_skips = self.consecutive_skips + 1 if self.nonfinite else 0
        self.steps_done += 1
        return losses

    def _all_at_once(self, batch: Batch, buffers_before: list[Tensor]) -> Losses:
        """Take all gradients with the same weights, then change all weights."""
        share = 1 / self.stage.accumulate
        each: list[Losses] = []
        for chunk in zip(*(tensor.chunk(self.stage.accumulate) for tensor in batch.values()), strict=True):
            part = dict(zip(batch, chunk, strict=True))
            outputs, leaves = self._generate(part)
            with self._autocast(part):
                logits = {name: self._judge(name, leaves, part) for name in self.discriminators}
                total, values = self.objective(leaves, part, logits, self.steps_done)
            values |= self._backward_discriminators(logits, share)
            torch.autograd.backward(share * total, inputs=list(leaves.values()))
            _backward_generator(outputs, leaves)
            each.append({**values, "total": total.detach()})
        losses = {name: torch.stack([one[name] for one in each]).mean() for name in each[0]}
        self._update_if_finite(losses, self.trained_modules(), buffers_before)
        return losses

    def _discriminators_first(self, batch: Batch, buffers_before: list[Tensor]) -> Losses:
        """Update the discriminators, then the generator by what they then say of the same pictures.

        When the generator's half is skipped, the discriminators' half stands.
        """
        outputs, leaves = self._generate(batch)
        with self._autocast(batch):
            fakes = {name: leaf.detach() for name, leaf in leaves.items()}
            logits = {name: self._judge(name, fakes, batch) for name in self.discriminators}
        discriminator_losses = self._backward_discriminators(logits)
        discriminators = {name: m for name, m in self.trained_modules().items() if m is not self.generator}
        self._update_if_finite(discriminator_losses, discriminators, buffers_before)
        with self._autocast(batch):
            logits = {name: self._judge_again(name, before, leaves, batch) for name, before in logits.items()}
            total, losses = self.objective(leaves, batch, logits, self.steps_done)
        torch.autograd.backward(total, inputs=list(leaves.values()))
        _backward_generator(outputs, leaves)
        losses |= {**discriminator_losses, "total": total.detach()}
        if not self.nonfinite:
            self._update_if_finite(losses, {"generator": self.generator}, buffers_before)
        return losses

    def _generate(self, batch: Batch) -> tuple[Batch, Batch]:
        """Return the generator's outputs, and the same as leaves of a new graph for losses and discriminators.

        With the graph cut here, the discriminators' part of it is freed before the generator's backward pass.
        """
        network = self.generator.module
        optional = {name: batch[name] for name in getattr(network, "options", ()) if name in batch}
        with self._autocast(batch):
            outputs = self.generator.forward(*(batch[name] for name in network.inputs), **optional)  # type: ignore[union-attr]
        leaves = {name: _in_full_precision(output.detach()).requires_grad_() for name, output in outputs.items()}
        return outputs, leaves

    def _judge(self, name: str, outputs: Batch, batch: Batch) -> Logits:
        """Return a discriminator's logits of real and restored pictures; its running statistics see both."""
        settings, forward = self.stage.discriminators[name], self.discriminators[name].forward
        real, fake = forward(batch[target_of(settings.on)]), forward(outputs[settings.on])
        return Logits(real, fake, settings.form, means_of_logits(real, fake) if settings.sync_mean else None)

    def _judge_again(self, name: str, before: Logits, outputs: Batch, batch: Batch) -> Logits:
        """Return the logits of a discriminator after its update; the vanilla form needs those of fakes alone."""
        settings = self.stage.discriminators[name]
        if settings.form == "vanilla":
            fake = self.discriminators[name].forward(outputs[settings.on])
            return Logits(before.real.detach(), fake, settings.form)
        return self._judge(name, outputs, batch)

    def _backward_discriminators(self, logits: dict[str, Logits], share: float = 1.0) -> Losses:
        """Add `share` of the gradients of each discriminator's loss to its weights; return the losses."""
        losses = {}
        for name, (real, fake, form, means) in logits.items():
            loss = discriminator_loss(form, real, fake, means)
            # The generator's loss needs the same graph afterwards.
            torch.autograd.backward(share * loss, inputs=self.discriminators[name].weights, retain_graph=True)
            losses[f"discriminator_{name}"] = loss.detach()
            right_real, right_fake = accuracies(form, real, fake, means)
            self.diagnostics |= {f"accuracy_real.{name}": right_real, f"accuracy_fake.{name}": right_fake}
        return losses

    @torch.no_grad()
    def _update_if_finite(
        self, losses: Losses, modules: dict[str, TrainedModule], buffers_before: list[Tensor]
    ) -> None:
        """Average the gradients over the workers and take the optimisers' steps, or skip them on every worker.

        Buffers (running statistics) are averaged as well. A skipped step gives them back as they were.
        """
        gradients = {name: trained.gradients for name, trained in modules.items()}
        statistics = [buffer for buffer in self._buffers() if buffer.is_floating_point()]
        values = torch.stack([value.float() for value in losses.values()])
        own = [*(g for each in gradients.values() for g in each), *statistics, values]
        means = distributed.all_reduce_mean(own)
        rest = iter(means)
        norms = {name: get_total_norm([next(rest) for _ in each]) for name, each in gradients.items()}
        self.diagnostics |= {f"gradient_norm.{name}": norm for name, norm in norms.items()}
        # A mean over the workers is finite only where each worker's value is, so that all workers decide alike.
        finite = torch.cat([means[-1], torch.stack(list(norms.values())).float()]).isfinite().all()
        if bool(finite):  # the only place in a step where the host waits for the device
            if means is not own:
                torch._foreach_copy_(own[:-1], means[:-1])
            for name, trained in modules.items():
                rate = trained.settings.rate(self.steps_done, self.stage.steps) * ROLLBACK_FACTOR**self.rollbacks
                trained.update(rate, norms[name])
            if self.ema and "generator" in modules:
                self.ema.update_parameters(self.generator.module)
        else:
            for buffer, before in zip(self._buffers(), buffers_before, strict=True):
                buffer.copy_(before)
            self.skipped_steps += 1
            self.nonfinite = _nonfinite(losses, values, gradients)

    def _autocast(self, batch: Batch) -> torch.autocast:
        device = next(iter(batch.values())).device.type
        return torch.autocast(device, dtype=torch.bfloat16, enabled=self.stage.precision == "bf16")

    def _buffers(self) -> list[Tensor]:
        return [buffer for trained in self.trained_modules().values() for buffer in trained.module.buffers()]


def _backward_generator(outputs: Batch, leaves: Batch) -> None:
    """Carry the gradients of the leaves on, from the generator's outputs into its weights."""
    used = [name for name, leaf in leaves.items() if leaf.grad is not None]
    torch.autograd.backward(
        [outputs[name] for name in used],
        [leaves[name].grad.to(outputs[name].dtype) for name in used],  # type: ignore[union-attr]
    )


def _in_full_precision(tensor: Tensor) -> Tensor:
    """Losses are taken in float32, also of outputs that were made under autocast."""
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


def _nonfinite(losses: Losses, values: Tensor, gradients: dict[str, list[Tensor]]) -> dict[int, list[str]]:
    """Return worker -> the names of its losses and gradients that are not finite; the same on every worker."""
    names = [*losses, *(f"the gradient of {name}" for name in gradients)]
    norms = torch.stack([get_total_norm(each).float() for each in gradients.values()])
    rows = distributed.all_gather_rows(torch.cat([values, norms]).isfinite().float())
    found = {
        rank: [name for name, finite in zip(names, row, strict=True) if not finite] for rank, row in enumerate(rows)
    }
    return {rank: names for rank, names in found.items() if names}


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """Allow, or forbid, that products of float32 are rounded to TF32 in this block, forward and backward."""
    switches: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    try:
        for switch in switches:
            switch.allow_tf32 = allowed
        yield
    finally:
        for switch, was in zip(switches, before, strict=True):
            switch.allow_tf32 = was
