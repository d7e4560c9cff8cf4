"""The one training step: five papers, one function.

A learner holds a network, its averaged copy, its discriminators and one optimiser each. All gradients of a step are
taken before anything moves: the generator and a discriminator look at the same pictures through the same weights, so
they share the two passes of the discriminator. Gradients are averaged over the workers by one all-reduce instead of by
DistributedDataParallel, whose hooks allow neither several passes through a network nor gradients of a part of the
graph; a fixed order of summation keeps a resumed run equal to an undisturbed one bit by bit. The transfer is small
beside the step (67 MB for RRDBNet-23).

Where a loss or a gradient is not finite on any worker, no worker moves: the step is skipped and says why. Where the
discriminators are to move first, their half of the step stands even if the generator's is skipped.
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
from acutance.losses.adversarial import discriminator_loss, means_of_logits
from acutance.losses.objective import Logits, Objective
from acutance.training import distributed
from acutance.training.derived import Batch, with_derived
from acutance.training.optim import Adversary, Player

COUNTED = ("taken", "skipped", "in_a_row", "returns")

BACK_OFF = 0.5
"""The learning rate is multiplied by it each time a run goes back."""


class Learner:
    """Everything that changes during a stage; `step` changes it."""

    def __init__(
        self,
        stage: Stage,
        network: nn.Module,
        objective: Objective,
        discriminators: dict[str, nn.Module],
        *,
        margin: int = 0,
    ) -> None:
        self.stage, self.margin = stage, margin
        self.objective = objective
        if stage.channels_last:
            for module in (network, objective, *discriminators.values()):
                module.to(memory_format=torch.channels_last)
        self.generator = Player(network, stage.optimiser)
        self.adversaries = {
            name: Adversary(discriminators[name], d.optimiser or stage.optimiser, d.on, d.form, d.sync_mean)
            for name, d in stage.discriminators.items()
        }
        if stage.compile:
            # Of a discriminator parts of the gradient are taken at a time; a compiled graph only gives all of it.
            self.generator.call = torch.compile(network)
        average = get_ema_multi_avg_fn(stage.ema) if stage.ema else None
        self.ema = AveragedModel(network, multi_avg_fn=average, use_buffers=True) if average else None
        self.taken = 0
        """Steps taken so far, skipped ones included."""
        self.skipped = 0
        """Steps skipped so far."""
        self.in_a_row = 0
        """How many of the newest steps were skipped, without one between them."""
        self.returns = 0
        """How often the run went back to a checkpoint."""
        self.blamed: dict[int, list[str]] = {}
        """Of the newest step: by worker, which losses and gradients were not finite; empty when it was taken."""

    @property
    def kept(self) -> nn.Module:
        """The network a finished stage hands on: the averaged one where there is one."""
        return self.ema.module if self.ema else self.generator.network

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Take one step of the generator and of each discriminator, or skip it (see `blamed`).

        Args:
            batch: column -> (B, C, H, W) on the device; this worker's share.

        Returns:
            Each term's value, unweighted, the generator's total, and each discriminator's loss; scalars without
            gradient, left on the device.
        """
        before = [buffer.clone() for buffer in self._buffers()]
        self.blamed = {}
        with _tf32(self.stage.tf32):
            values = self._look(with_derived(self.stage, self.margin, batch), before)
        self.in_a_row = self.in_a_row + 1 if self.blamed else 0
        self.taken += 1
        return values

    def _look(self, batch: Batch, before: list[Tensor]) -> dict[str, Tensor]:
        """Take every player's gradient on this worker's share of the batch, and move; return the losses."""
        for player in self.players().values():
            player.network.train()
            player.optimiser.zero_grad(set_to_none=True)
        for part in self.stage.frozen:
            self.generator.network.get_submodule(part).eval()
        return (self._in_turn if self.stage.first == "discriminator" else self._together)(batch, before)

    def _together(self, batch: Batch, before: list[Tensor]) -> dict[str, Tensor]:
        """Take all gradients, then move."""
        count = self.stage.accumulate
        parts = [
            dict(zip(batch, part, strict=True)) for part in zip(*(t.chunk(count) for t in batch.values()), strict=True)
        ]
        losses = []
        for part in parts:
            outputs, seen = self._generated(part)
            losses.append(self._judge(seen, part, 1 / count))
            _walk_on(outputs, seen)
        values = {name: torch.stack([each[name] for each in losses]).mean() for name in losses[0]}
        self._move_if_finite(values, self.players(), before)
        return values

    def _in_turn(self, batch: Batch, before: list[Tensor]) -> dict[str, Tensor]:
        """Move the discriminators, then the generator by what they say of the same pictures now."""
        outputs, seen = self._generated(batch)
        verdicts = self._verdicts({name: picture.detach() for name, picture in seen.items()}, batch)
        judged = self._teach(verdicts, 1.0)
        rivals = {name: player for name, player in self.players().items() if name != "generator"}
        self._move_if_finite(judged, rivals, before)
        with self._precision(batch):
            again = {name: _again(self.adversaries[name], verdict, seen, batch) for name, verdict in verdicts.items()}
            total, values = self.objective(seen, batch, again, self.taken)
        torch.autograd.backward(total, inputs=list(seen.values()))
        _walk_on(outputs, seen)
        values |= {**judged, "total": total.detach()}
        if not self.blamed:
            self._move_if_finite(values, {"generator": self.generator}, before)
        return values

    def _generated(self, batch: Batch) -> tuple[Batch, Batch]:
        """Return the generator's outputs, and them as the judges see them.

        The graph is cut there, so that the judges' part of it is gone before the generator's is walked.
        """
        network = self.generator.network
        with self._precision(batch):
            outputs = self.generator.call(*(batch[name] for name in network.inputs), **_options(network, batch))  # type: ignore[union-attr]
        seen = {name: output.detach().to(_full(output.dtype)).requires_grad_() for name, output in outputs.items()}
        return outputs, seen

    def _verdicts(self, seen: Batch, batch: Batch) -> dict[str, Logits]:
        with self._precision(batch):
            return {name: _verdict(adversary, seen, batch) for name, adversary in self.adversaries.items()}

    def _judge(self, seen: Batch, batch: Batch, share: float) -> dict[str, Tensor]:
        """Leave the gradients of the objective by the pictures, and those of the discriminators by their weights."""
        verdicts = self._verdicts(seen, batch)
        with self._precision(batch):
            total, values = self.objective(seen, batch, verdicts, self.taken)
        values |= self._teach(verdicts, share)
        torch.autograd.backward(share * total, inputs=list(seen.values()))
        return {**values, "total": total.detach()}

    def _teach(self, verdicts: dict[str, Logits], share: float) -> dict[str, Tensor]:
        """Leave the gradients of the discriminators by their weights; return their losses."""
        losses = {}
        for name, verdict in verdicts.items():
            loss = discriminator_loss(verdict.form, verdict.real, verdict.fake, verdict.means)
            weights = self.adversaries[name].weights
            torch.autograd.backward(share * loss, inputs=weights, retain_graph=True)
            losses[f"discriminator_{name}"] = loss.detach()
        return losses

    def _precision(self, batch: Batch) -> torch.autocast:
        device = next(iter(batch.values())).device.type
        return torch.autocast(device, dtype=torch.bfloat16, enabled=self.stage.precision == "bf16")

    @torch.no_grad()
    def _move_if_finite(self, values: dict[str, Tensor], players: dict[str, Player], before: list[Tensor]) -> None:
        gradients = {name: player.gradients for name, player in players.items()}
        statistics = [buffer for buffer in self._buffers() if buffer.is_floating_point()]
        losses = torch.stack([value.float() for value in values.values()])
        mine = [*(g for each in gradients.values() for g in each), *statistics, losses]
        means = distributed.all_reduce_mean(mine)
        parts = iter(means)
        lengths = {name: get_total_norm([next(parts) for _ in each]) for name, each in gradients.items()}
        told = torch.cat([means[-1], torch.stack(list(lengths.values())).float()])
        if bool(told.isfinite().all()):  # the one word that the host waits for in a step
            if means is not mine:
                torch._foreach_copy_(mine[:-1], means[:-1])
            self._move(players, lengths)
        else:
            for buffer, old in zip(self._buffers(), before, strict=True):
                buffer.copy_(old)
            self._blame(losses, values, gradients)

    def _move(self, players: dict[str, Player], lengths: dict[str, Tensor]) -> None:
        for name, player in players.items():
            player.move(player.settings.rate(self.taken) * BACK_OFF**self.returns, lengths[name])
        if self.ema and "generator" in players:
            self.ema.update_parameters(self.generator.network)

    def _blame(self, losses: Tensor, values: dict[str, Tensor], gradients: dict[str, list[Tensor]]) -> None:
        names = [*values, *(f"the gradient of {player}" for player in gradients)]
        lengths = torch.stack([get_total_norm(each).float() for each in gradients.values()])
        finite = torch.cat([losses, lengths]).isfinite().float()
        rows = enumerate(distributed.all_gather_rows(finite))
        blamed = {rank: [n for n, good in zip(names, row, strict=True) if not good] for rank, row in rows}
        self.blamed = {rank: bad for rank, bad in blamed.items() if bad}
        self.skipped += 1

    def _buffers(self) -> list[Tensor]:
        return [buffer for player in self.players().values() for buffer in player.network.buffers()]

    def players(self) -> dict[str, Player]:
        """Return all that learns, by name."""
        return {"generator": self.generator, **{f"discriminator.{k}": v for k, v in self.adversaries.items()}}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that changes as named tensors and plain values."""
        tensors: dict[str, Tensor] = {}
        groups: dict[str, Any] = {}
        for name, player in self.players().items():
            tensors |= _prefixed(f"{name}/weights", player.network.state_dict())
            state = player.optimiser.state_dict()
            for index, entry in state["state"].items():
                tensors |= _prefixed(f"{name}/optimiser/{index}", entry)
            groups[name] = state["param_groups"]
        if self.ema:
            tensors |= _prefixed("ema/weights", self.ema.state_dict())
        counted = {name: getattr(self, name) for name in COUNTED}
        return tensors, {**counted, "optimisers": groups}

    @torch.no_grad()
    def load_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Take up where `state` was taken."""
        for name, player in self.players().items():
            player.network.load_state_dict(_under(f"{name}/weights", tensors))
            entries: dict[int, dict[str, Tensor]] = {}
            for key, tensor in _under(f"{name}/optimiser", tensors).items():
                index, entry = key.split("/")
                entries.setdefault(int(index), {})[entry] = _laid_out_as(player.weights[int(index)], tensor)
            player.optimiser.load_state_dict({"state": entries, "param_groups": values["optimisers"][name]})
        if self.ema:
            self.ema.load_state_dict(_under("ema/weights", tensors))
        for name in COUNTED:
            setattr(self, name, values[name])


def _walk_on(outputs: Batch, seen: Batch) -> None:
    """Carry the gradients by the pictures on to the generator's weights."""
    read = [name for name, picture in seen.items() if picture.grad is not None]
    torch.autograd.backward(
        [outputs[name] for name in read],
        [seen[name].grad.to(outputs[name].dtype) for name in read],  # type: ignore[union-attr]
    )


def _options(network: nn.Module, batch: Batch) -> Batch:
    """Return what the batch holds of the columns that the network can do without."""
    return {name: batch[name] for name in getattr(network, "options", ()) if name in batch}


def _verdict(adversary: Adversary, seen: Batch, batch: Batch) -> Logits:
    """Return a discriminator's logits; its running statistics move with both passes."""
    real, fake = adversary.call(batch[target_of(adversary.on)]), adversary.call(seen[adversary.on])
    return Logits(real, fake, adversary.form, means_of_logits(real, fake) if adversary.sync_mean else None)


def _again(adversary: Adversary, before: Logits, seen: Batch, batch: Batch) -> Logits:
    """Return the verdict of a discriminator that has moved; the vanilla form asks it of fakes alone."""
    if adversary.form == "vanilla":
        return Logits(before.real.detach(), adversary.call(seen[adversary.on]), adversary.form)
    return _verdict(adversary, seen, batch)


def _full(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype == torch.bfloat16 else dtype


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """Set, for a block, whether products of float32 may be rounded to TF32, forwards and backwards."""
    switches: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    try:
        for switch in switches:
            switch.allow_tf32 = allowed
        yield
    finally:
        for switch, was in zip(switches, before, strict=True):
            switch.allow_tf32 = was


def _laid_out_as(weight: Tensor, tensor: Tensor) -> Tensor:
    """Bring an optimiser's state to its weight's order in memory: a fused optimiser walks through both side by side."""
    return torch.empty_like(weight).copy_(tensor) if tensor.shape == weight.shape else tensor


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = len(prefix) + 1
    return {name[start:]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}/")}
