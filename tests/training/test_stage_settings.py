"""Each setting of a stage against the plain float32 step, or against numbers worked out by hand."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from made_for_training import learner_of
from torch import Tensor, nn

from acutance.config.pipeline import OptimiserChoice, Stage
from acutance.training.learner import Learner
from acutance.training.state import state_of
from acutance.training.trained_module import TrainedModule

PLAIN: dict[str, Any] = {
    "network": {"type": "rrdbnet", "blocks": 1, "channels": 8, "growth": 4},
    "discriminators": {"image": {"network": {"type": "vgg", "channels": 4, "size": 32, "norm": False}}},
    "objective": [{"type": "pixel"}, {"type": "adversarial", "weight": 0.1}],
    "steps": 3,
    "patch": 32,
    "channels_last": False,
}
VANILLA = {"image": {**PLAIN["discriminators"]["image"], "form": "vanilla"}}


def batch(step: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(step)
    return {"lr": torch.rand(4, 3, 8, 8, generator=random), "hr": torch.rand(4, 3, 32, 32, generator=random)}


def gradients(learner: Learner) -> dict[str, Tensor]:
    learner.train_step(batch())
    modules = learner.trained_modules().items()
    return {
        f"{name}/{key}": weight.grad for name, trained in modules for key, weight in trained.module.named_parameters()
    }


def length(network: nn.Module) -> float:
    return float(torch.cat([weight.grad.flatten() for weight in network.parameters()]).norm())


def apart(mine: dict[str, Tensor], plain: dict[str, Tensor], player: str) -> float:
    """The length of the difference of two gradients, by the length of the plain one."""
    mine, plain = (torch.cat([g.flatten() for n, g in each.items() if n.startswith(player)]) for each in (mine, plain))
    return float((mine - plain).norm() / plain.norm())


@pytest.mark.parametrize("setting", [{"channels_last": True}, {"tf32": False}], ids=str)
def test_these_leave_the_gradients_as_they_are(setting: dict[str, Any]) -> None:
    mine, plain = gradients(learner_of(PLAIN | setting)), gradients(learner_of(PLAIN))
    torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-6)


def test_bf16_is_near_and_keeps_weights_and_losses_in_float32() -> None:
    learner = learner_of(PLAIN | {"precision": "bf16"})
    mine, plain = gradients(learner), gradients(learner_of(PLAIN))
    for player in ("generator", "discriminator"):
        assert 1e-6 < apart(mine, plain, player) < 0.05, "8 bits of mantissa, and not by chance the very same"
    assert {gradient.dtype for gradient in mine.values()} == {torch.float32}
    values, wanted = learner.train_step(batch(1)), learner_of(PLAIN).train_step(batch(1))
    assert {value.dtype for value in values.values()} == {torch.float32}
    assert values.keys() == wanted.keys()


def test_bf16_learns_as_float32_does() -> None:
    ends = []
    for precision in ("float32", "bf16"):
        learner = learner_of(PLAIN | {"precision": precision, "optimiser": {"learning_rate": 1e-3}})
        losses = [float(learner.train_step(batch())["pixel"]) for _ in range(30)]
        assert losses[-1] < 0.7 * losses[0]
        ends.append(losses[-1])
    assert ends[1] == pytest.approx(ends[0], rel=0.05)


def test_tf32_is_set_for_the_step_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    switches = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before, seen = [switch.allow_tf32 for switch in switches], []
    for allowed in (True, False):
        learner = learner_of(PLAIN | {"tf32": allowed})
        weight = learner.generator.module.conv_last.weight
        weight.register_hook(lambda _: seen.append([switch.allow_tf32 for switch in switches]))
        learner.train_step(batch())
    assert seen == [[True, True], [False, False]]
    assert [switch.allow_tf32 for switch in switches] == before


def test_compiled_networks_give_the_same_gradients_under_the_same_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the C++ at its end, which is torch's own and takes a compiler half a minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    small = {
        "network": {"type": "highpass", "channels": 16},
        "derive": {"highpass": {"type": "highpass", "of": "hr", "cutoff": 0.25}},
        "objective": [{"type": "pixel", "on": "highpass"}],
        "steps": 1,
        "ema": 0.9,
    }
    compiled, plain = learner_of(small | {"compile": True}), learner_of(small)
    assert compiled.generator.forward is not compiled.generator.module
    torch.testing.assert_close(gradients(compiled), gradients(plain), rtol=1e-4, atol=1e-6)
    assert state_of(compiled)[0].keys() == state_of(plain)[0].keys()
    assert compiled.final_network.state_dict().keys() == plain.final_network.state_dict().keys()


def test_parts_give_the_gradients_of_the_whole() -> None:
    """Of an objective of means; relativistic means would be those of each part."""
    whole = PLAIN | {"discriminators": VANILLA}
    torch.testing.assert_close(
        gradients(learner_of(whole | {"accumulate": 2})), gradients(learner_of(whole)), rtol=1e-4, atol=1e-6
    )
    values, wanted = learner_of(whole | {"accumulate": 4}).train_step(batch()), learner_of(whole).train_step(batch())
    torch.testing.assert_close(values, wanted, rtol=1e-5, atol=1e-6)


def test_relativistic_means_are_those_of_a_part() -> None:
    halves = [{name: column[half] for name, column in batch().items()} for half in (slice(0, 2), slice(2, 4))]
    each = [learner_of(PLAIN).train_step(half)["adversarial"] for half in halves]
    found = learner_of(PLAIN | {"accumulate": 2}).train_step(batch())["adversarial"]
    torch.testing.assert_close(found, (each[0] + each[1]) / 2)
    assert not torch.equal(found, learner_of(PLAIN).train_step(batch())["adversarial"])


def test_long_gradients_are_cut_each_players_on_its_own() -> None:
    free = learner_of(PLAIN)
    free.train_step(batch())
    lengths = {name: length(trained.module) for name, trained in free.trained_modules().items()}
    limit = sum(lengths.values()) / 2
    cut = learner_of(PLAIN | {"optimiser": {"clip": limit}})
    cut.train_step(batch())
    assert min(lengths.values()) < limit < max(lengths.values())
    for name, trained in cut.trained_modules().items():
        assert length(trained.module) == pytest.approx(min(lengths[name], limit), rel=1e-4)
        before = lengths[name] / length(trained.module)
        for mine, plain in zip(
            trained.module.parameters(), free.trained_modules()[name].module.parameters(), strict=True
        ):
            torch.testing.assert_close(mine.grad * before, plain.grad, rtol=1e-4, atol=1e-7)


def test_averaged_weights_are_those_computed_by_hand() -> None:
    """The first step's weights, then 0.9 of what there was and 0.1 of what there is."""
    learner = learner_of(PLAIN | {"ema": 0.9, "optimiser": {"learning_rate": 1e-2}})
    wanted: dict[str, Tensor] = {}
    for step in range(4):
        learner.train_step(batch(step))
        now = copy.deepcopy(learner.generator.module.state_dict())
        wanted = {name: 0.9 * wanted[name] + 0.1 * now[name] for name in now} if wanted else now
    torch.testing.assert_close(dict(learner.final_network.state_dict()), wanted, rtol=1e-5, atol=1e-7)


def moved(optimiser: dict[str, Any], steps: int = 3) -> Iterator[tuple[int, list[nn.Parameter], list[Tensor]]]:
    """Yield the weights and a copy of them, then of each step the gradients with a kernel's decay of 0.1."""
    learner = learner_of(PLAIN | {"optimiser": optimiser, "channels_last": True})
    weights = list(learner.generator.module.parameters())
    before = [weight.detach().clone() for weight in weights]
    yield 0, weights, before
    for step in range(1, steps + 1):
        before = [weight.detach().clone() for weight in weights]
        learner.train_step(batch(step))
        yield step, weights, [w.grad + 0.1 * b if w.ndim >= 2 else w.grad for w, b in zip(weights, before, strict=True)]


@pytest.mark.parametrize("eps", [1e-8, 1e-3])
def test_the_fused_optimiser_is_adam_as_it_is_written(eps: float) -> None:
    """Kingma and Ba, algorithm 1, in whatever order the weights lie in memory; kernels alone decay."""
    taken = moved({"learning_rate": 1e-2, "betas": [0.8, 0.9], "weight_decay": 0.1, "eps": eps})
    _, weights, wanted = next(taken)
    first, second = ([torch.zeros_like(weight) for weight in wanted] for _ in range(2))
    for step, _, gradients in taken:
        for w, m, v, gradient in zip(wanted, first, second, gradients, strict=True):
            m.mul_(0.8).add_(0.2 * gradient)
            v.mul_(0.9).add_(0.1 * gradient**2)
            w.sub_(1e-2 * (m / (1 - 0.8**step)) / ((v / (1 - 0.9**step)).sqrt() + eps))
    for weight, w in zip(weights, wanted, strict=True):
        torch.testing.assert_close(weight.detach(), w, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_moves_by_its_velocity(momentum: float) -> None:
    taken = moved({"type": "sgd", "learning_rate": 0.02, "momentum": momentum, "weight_decay": 0.1})
    _, weights, wanted = next(taken)
    velocity = [torch.zeros_like(weight) for weight in wanted]
    for _, _, gradients in taken:
        for w, v, gradient in zip(wanted, velocity, gradients, strict=True):
            v.mul_(momentum).add_(gradient)
            w.sub_(0.02 * v)
    for weight, w in zip(weights, wanted, strict=True):
        torch.testing.assert_close(weight.detach(), w, rtol=1e-5, atol=1e-6)


def test_a_network_of_kernels_alone_and_its_opposite_learn() -> None:
    for network in (nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2)):
        for settings in map(OptimiserChoice.chosen, ({}, {"type": "sgd"})):
            trained = TrainedModule(network, settings)
            before = [weight.detach().clone() for weight in trained.weights]
            network(torch.rand(4, 2)).square().sum().backward()
            trained.update(1e-2, torch.tensor(1.0))
            assert not any(torch.equal(a, b) for a, b in zip(before, trained.weights, strict=True))


def test_impossible_settings_are_refused() -> None:
    judge = PLAIN["discriminators"]["image"]
    for wrong in ({"precision": "fp16"}, {"accumulate": 0}, {"optimiser": {"clip": 0}}, {"skips": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Stage.model_validate(PLAIN | wrong)
    with pytest.raises(ValueError, match="vanilla form has no means"):
        Stage.model_validate(PLAIN | {"discriminators": {"image": {**judge, "form": "vanilla", "sync_mean": True}}})
